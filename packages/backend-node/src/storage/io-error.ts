/** File system errors of Node as `DimoError`s that say what to do. */
import { DimoError, escapeText } from '@dimo/core';
import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';

/** What to do about the usual error codes. */
const hints: Readonly<Record<string, string>> = {
  ENOENT: 'check the path',
  EACCES: 'choose a folder that this user may write, or change its permissions',
  EPERM: 'choose a folder that this user may write, or change its permissions',
  EROFS: 'the file system is mounted read-only; choose another folder',
  ENOTDIR: 'a part of the path is a file; choose another folder',
  EISDIR: 'this is a folder; name a file',
  EEXIST: 'something is in the way; choose another name',
  ELOOP: 'the path goes in a circle of symbolic links; choose another folder',
  ENAMETOOLONG: 'choose a shorter name',
  EMFILE: 'too many files are open; raise the limit (ulimit -n)',
  EIO: 'the disk reports an error; save to another disk',
};

/** The code of a Node error: `ENOENT`. */
export function errorCode(error: unknown): string | undefined {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
  return typeof code === 'string' ? code : undefined;
}

/**
 * A `DimoError` of code `io` for a failed operation; errors that are of this family already stay as they are.
 *
 * @param action - what was tried: `write`.
 * @param bytesNeeded - for a full disk.
 */
export async function ioError(error: unknown, action: string, path: string, bytesNeeded?: number): Promise<DimoError> {
  if (DimoError.isInstance(error)) return error;
  const code = errorCode(error) ?? String(error);
  const message = `cannot ${action} ${escapeText(path)}: ${escapeText(code)}`;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    const free = await freeBytes(path);
    const need = bytesNeeded === undefined ? '' : `${bytesNeeded} bytes are needed, `;
    return new DimoError('io', `${message}: ${need}${free === undefined ? 'the disk is full' : `${free} are free`}`, {
      path,
      hint: 'free space or save fewer checkpoints, then resume',
      cause: error,
    });
  }
  return new DimoError('io', message, { path, hint: hints[code], cause: error });
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
    throw await ioError(error, action, path, bytesNeeded);
  }
}

async function freeBytes(path: string): Promise<number | undefined> {
  try {
    const { bavail, bsize } = await statfs(dirname(path));
    return bavail * bsize;
  } catch {
    return undefined;
  }
}
