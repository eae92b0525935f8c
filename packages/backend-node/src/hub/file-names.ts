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
 * Why a name must not become part of a path, or undefined if it may: it is relative, stays in its folder, and is a file
 * name on every system.
 */
export function hubPathProblem(name: string): string | undefined {
  if (Buffer.byteLength(name) > 1024) return 'is longer than 1024 bytes';
  for (const part of name.split('/')) {
    if (part === '' || part === '.' || part === '..') return 'is absolute or has an empty, "." or ".." part';
    if (refusedCharacters.test(part)) return 'holds a character that file names may not have';
    if (Buffer.byteLength(part) > 255) return 'has a part that is longer than 255 bytes';
    if (/[. ]$/.test(part) || deviceName.test(part)) return 'is not a name that every system allows';
  }
  return undefined;
}

/**
 * Checks a name that came from a hub.
 *
 * @param name - `transformer/config.json`.
 * @param where - the repository, for messages.
 * @throws DimoError with code `network` if `hubPathProblem` finds one.
 */
export function checkHubPath(name: string, where: string): void {
  const problem = hubPathProblem(name);
  if (problem !== undefined)
    throw new DimoError('network', `${escapeText(where, 200)}: the file name "${escapeText(name, 200)}" ${problem}`, {
      hint: 'the repository is broken or hostile, or was made on another system; rename the file there',
    });
}

/** True for files that may be fetched: JSON, plain text and safetensors. */
export function isDataFile(name: string): boolean {
  return dataEndings.some((ending) => name.endsWith(ending));
}
