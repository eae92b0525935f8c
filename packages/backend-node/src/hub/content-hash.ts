/** Is a file on the disk what the hub promised? */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { errorCode, ioError, withIoError } from '../storage/io-error.js';
import type { HubFile } from './api.js';

/** SHA-256 of a file as hexadecimal digits. */
export function sha256OfFile(path: string): Promise<string> {
  return digest(path, createHash('sha256'));
}

/**
 * True if the file has the length and, where the hub gives one, the hash of its content.
 *
 * @throws DimoError with code `io` if it cannot be read; an absent file is false.
 */
export async function hasContent(path: string, { bytes, hash }: HubFile): Promise<boolean> {
  try {
    const { size } = await stat(path);
    if (size !== bytes) return false;
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ELOOP'].includes(errorCode(error) ?? '')) return false;
    throw await ioError(error, 'read', path);
  }
  if (!hash) return true;
  // Git hashes a header before the content.
  const hasher = hash.kind === 'sha256' ? createHash('sha256') : createHash('sha1').update(`blob ${bytes}\0`);
  return (await digest(path, hasher)) === hash.hex;
}

function digest(path: string, hasher: ReturnType<typeof createHash>): Promise<string> {
  return withIoError('read', path, async () => {
    for await (const chunk of createReadStream(path, { highWaterMark: 2 ** 20 })) hasher.update(chunk as Uint8Array);
    return hasher.digest('hex');
  });
}
