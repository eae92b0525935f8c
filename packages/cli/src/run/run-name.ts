/** Names of runs: each is one folder in the folder of runs, on every system that the run may be copied to. */
import { escapeText, OptionError } from '@dimo/core';

/** Bytes of a name that every file system takes. */
const maximumBytes = 255;

/** Names of devices on Windows, with any ending; opening such a file opens the device. */
const deviceName = /^(?:con|prn|aux|nul|com[0-9\u00b9\u00b2\u00b3]|lpt[0-9\u00b9\u00b2\u00b3])(?:\..*)?$/i;

/** True for names that Windows gives to devices. */
export function isReservedName(name: string): boolean {
  return deviceName.test(name);
}

/**
 * Checks the name of a new run.
 *
 * @throws OptionError if it is not the name of one folder, or of one that some systems cannot have.
 */
export function checkRunName(name: string): void {
  const why = problemOf(name);
  if (why === undefined) return;
  throw new OptionError(`run.name (--name): "${escapeText(name, 100)}" ${why}`, {
    hint: 'a name such as cats-2; where runs are kept is set by run.folder',
  });
}

function problemOf(name: string): string | undefined {
  if (name.trim() === '') return 'is empty';
  if (/[/\\]/.test(name)) return 'holds a separator of paths: it would not be a folder in the folder of runs';
  if (/[\p{Cc}\p{Surrogate}\u2028-\u202e\u2066-\u2069]/u.test(name)) return 'holds a control character';
  if (/^[.-]/.test(name)) return `begins with "${name[0]}"`;
  if (/[. ]$/.test(name) || name.startsWith(' ')) return 'begins or ends with a space or ends with a dot';
  if (isReservedName(name)) return 'is the name of a device on Windows';
  if (process.platform === 'win32' && /[<>:"|?*]/.test(name)) return 'holds a character that Windows does not allow';
  const bytes = new TextEncoder().encode(name).length;
  return bytes > maximumBytes ? `has ${bytes} bytes, at most ${maximumBytes} are possible` : undefined;
}
