/** Is a file on the disk what the hub promised? */
import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { DimoError } from '@dimo/core';
import { openRegular } from '../storage/files.js';
import { errorCode, ioError, withIoError } from '../storage/io-error.js';
import type { HubFile } from './api.js';

/** SHA-256 of a file as hexadecimal digits. */
export async function sha256OfFile(path: string): Promise<string> {
  const file = await withIoError('read', path, () => openRegular(path));
  try {
    return await digest(path, file, createHash('sha256'));
  } finally {
    await file.close();
  }
}

/**
 * True if the file has the length and, where the hub gives one, the hash of its content.
 *
 * @param boundary - folder that a symbolic link must not lead out of.
 * @throws DimoError with code `io` if it cannot be read; an absent file, and what is no file, is false.
 */
export async function hasContent(path: string, { bytes, hash }: HubFile, boundary?: string): Promise<boolean> {
  let file: FileHandle;
  try {
    file = await openRegular(path, boundary);
  } catch (error) {
    if (DimoError.isInstance(error) && error.cause === undefined) return false;
    const cause = DimoError.isInstance(error) ? error.cause : error;
    if (['ENOENT', 'ENOTDIR', 'ELOOP'].includes(errorCode(cause) ?? '')) return false;
    throw ioError(error, 'read', path);
  }
  try {
    if ((await withIoError('read', path, () => file.stat())).size !== bytes) return false;
    if (!hash) return true;
    // Git hashes a header before the content.
    const hasher = hash.kind === 'sha256' ? createHash('sha256') : createHash('sha1').update(`blob ${bytes}\0`);
    return (await digest(path, file, hasher)) === hash.hex;
  } finally {
    await file.close();
  }
}

function digest(path: string, file: FileHandle, hasher: ReturnType<typeof createHash>): Promise<string> {
  return withIoError('read', path, async () => {
    const stream = file.createReadStream({ highWaterMark: 2 ** 20, autoClose: false });
    for await (const chunk of stream) hasher.update(chunk as Uint8Array);
    return hasher.digest('hex');
  });
}
