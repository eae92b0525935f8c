/** Which file names of a hub are accepted, and which files are ever fetched. */
import { DimoError, escapeText } from '@dimo/core';

/**
 * Endings of files that are data and nothing else. Pickles (`.bin`, `.ckpt`, `.pt`, `.pth`), archives, code and
 * everything unknown stay on the hub.
 */
const dataEndings = ['.json', '.safetensors', '.txt'];

/** Names that Windows gives to devices, with any ending. */
const deviceName = /^(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\.|$)/i;

/** What no part of a name may hold: controls, separators of other systems, characters that Windows refuses. */
const refusedCharacters =
  /[\u0000-\u001f\u007f-\u009f\\:*?"<>|\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]/u;

/**
 * Checks a name that came from a hub before it becomes part of a path.
 *
 * @param name - `transformer/config.json`.
 * @param where - the repository, for messages.
 * @throws DimoError with code `network` if the name is absolute, leads out of its folder, or is no portable file name.
 */
export function checkHubPath(name: string, where: string): void {
  const refuse = (why: string): DimoError =>
    new DimoError('network', `${escapeText(where, 200)}: the file name "${escapeText(name, 200)}" ${why}`, {
      hint: 'the repository is broken or hostile; nothing of it was written',
    });
  if (Buffer.byteLength(name) > 1024) throw refuse('is longer than 1024 bytes');
  for (const part of name.split('/')) {
    if (part === '' || part === '.' || part === '..') throw refuse('is absolute or has an empty, "." or ".." part');
    if (refusedCharacters.test(part)) throw refuse('holds a character that file names may not have');
    if (Buffer.byteLength(part) > 255) throw refuse('has a part that is longer than 255 bytes');
    if (/[. ]$/.test(part) || deviceName.test(part)) throw refuse('is not a name that every system allows');
  }
}

/** True for files that may be fetched: JSON, plain text and safetensors. */
export function isDataFile(name: string): boolean {
  return dataEndings.some((ending) => name.endsWith(ending));
}
