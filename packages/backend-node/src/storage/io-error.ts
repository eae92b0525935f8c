/** File system errors of Node as `DimoError`s that say what to do. */
import { DimoError, escapeText } from '@dimo/core';
import { statfsSync } from 'node:fs';
import { dirname } from 'node:path';

/** What to do about the usual error codes. */
const hints: Readonly<Record<string, string>> = {
  ENOENT: 'check the path',
  EACCES: 'choose a folder that this user may write, or change its permissions',
  EPERM: 'choose a folder that this user may write, or change its permissions',
  EROFS: 'the file system is mounted read-only; choose another folder',
  ENOTDIR: 'a part of the path is a file; choose another folder',
  EISDIR: 'this is a folder; name a file',
  ENOTEMPTY: 'there is a folder with files in the way; choose another name',
  EEXIST: 'something is in the way; choose another name',
  ELOOP: 'a symbolic link is in the way, or links go in a circle; name the place that it stands for, or another',
  ENAMETOOLONG: 'choose a shorter name',
  EINVAL: 'this file system does not take the name; choose another',
  EILSEQ: 'this file system does not take the name; choose another',
  EMFILE: 'this process has too many files open; raise the limit (ulimit -n)',
  ENFILE: 'the system has too many files open; end other programs or raise its limit (fs.file-max)',
  EIO: 'the disk reports an error; save to another disk',
  ENXIO: 'this is a named pipe or a device, not a file; name a file',
  ENODEV: 'this is a device, not a file; name a file',
  EBUSY: 'another program uses it; end that program, or choose another name',
  ETXTBSY: 'another program runs from this file; choose another name',
  EFBIG: 'the file system does not take files of this size; save to another disk',
  ESTALE: 'the network file system was mounted anew meanwhile; run the command again',
  EADDRINUSE: 'another program uses the address; choose another port',
};

/** What to do where there is no space: the disk is full, or this user's part of it. */
const spaceHints: Readonly<Record<string, string>> = {
  ENOSPC: 'free space, or save to another disk; with fewer checkpoints (checkpoint.keep) less is needed',
  EDQUOT: 'free space of this user, or have the quota raised; with fewer checkpoints (checkpoint.keep) less is needed',
};

/** The code of a Node error: `ENOENT`. */
export function errorCode(error: unknown): string | undefined {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
  return typeof code === 'string' ? code : undefined;
}

/** True for the error of a file or folder that is not there. */
export function isAbsentFile(error: unknown): boolean {
  return errorCode(DimoError.isInstance(error) ? error.cause : error) === 'ENOENT';
}

/**
 * A `DimoError` of code `io` for a failed operation; errors that are of this family already stay as they are.
 *
 * @param action - what was tried: `write`.
 * @param bytesNeeded - for a full disk.
 */
export function ioError(error: unknown, action: string, path: string, bytesNeeded?: number): DimoError {
  if (DimoError.isInstance(error)) return error;
  const code = errorCode(error) ?? String(error);
  const message = `cannot ${action} ${escapeText(path)}: ${escapeText(code)}`;
  const spaceHint = spaceHints[code];
  if (spaceHint === undefined) return new DimoError('io', message, { path, hint: hints[code], cause: error });
  const need = bytesNeeded === undefined ? [] : [`${bytesNeeded} bytes are needed`];
  // The free bytes of a disk say nothing of a quota.
  const free = code === 'ENOSPC' ? freeSpace(path) : undefined;
  const facts = [...need, ...(free === undefined ? [] : [free])];
  return new DimoError('io', `${message}: ${facts.join(', ') || 'there is no space'}`, {
    path,
    hint: spaceHint,
    cause: error,
  });
}

/** Runs an operation, turning a Node error into a `DimoError`. */
export async function withIoError<T>(
  action: string,
  path: string,
  run: () => Promise<T>,
  bytesNeeded?: number,
): Promise<T> {
  try {
    return await run();
  } catch (error) {
    throw ioError(error, action, path, bytesNeeded);
  }
}

/** Free bytes, or where bytes are free but no more names: that. */
function freeSpace(path: string): string | undefined {
  for (let folder = dirname(path); ; folder = dirname(folder)) {
    try {
      const { bavail, bsize, files, ffree } = statfsSync(folder);
      return files > 0 && ffree === 0 ? 'no more files can be made (inodes)' : `${bavail * bsize} are free`;
    } catch {
      if (dirname(folder) === folder) return undefined;
    }
  }
}
