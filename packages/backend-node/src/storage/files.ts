/** Reading and writing whole files, durably and with checked sizes. */
import { DimoError, escapeText } from '@dimo/core';
import { constants } from 'node:fs';
import { mkdir, open, stat, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errorCode, withIoError } from './io-error.js';

/** Largest single read; Node refuses more than 2 GiB at once. */
const chunkBytes = 2 ** 30;

/**
 * Writes a file and returns when its bytes are on the disk. An existing file is overwritten in place: write under a
 * temporary name and rename.
 */
export async function writeFileDurably(path: string, bytes: Uint8Array): Promise<void> {
  await withIoError(
    'write',
    path,
    async () => {
      const file = await open(path, 'w');
      try {
        for (let written = 0; written < bytes.length;)
          written += (await file.write(bytes, written, Math.min(bytes.length - written, chunkBytes))).bytesWritten;
        await file.sync();
      } finally {
        await file.close();
      }
    },
    bytes.length,
  );
}

/** Returns when the names in a folder are on the disk. Windows has no such operation and needs none. */
export async function syncFolder(path: string): Promise<void> {
  if (process.platform === 'win32') return;
  await withIoError('flush the folder', path, async () => {
    const folder = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  });
}

/**
 * Makes a folder and its parents; no error if it exists. Node's own recursive `mkdir` never returns where a file system
 * answers ENOENT although the parent exists (`/proc`).
 */
export async function makeFolders(path: string): Promise<void> {
  await withIoError('make the folder', path, async () => {
    const missing = [path];
    // Upwards until a folder can be made or is there, then down again.
    for (;;) {
      const top = missing.at(-1) as string;
      try {
        await makeFolder(top);
        break;
      } catch (error) {
        if (errorCode(error) !== 'ENOENT' || dirname(top) === top) throw error;
        missing.push(dirname(top));
      }
    }
    for (const folder of missing.reverse().slice(1)) await makeFolder(folder);
  });
}

async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path);
  } catch (error) {
    const isThere = errorCode(error) === 'EEXIST' && (await stat(path)).isDirectory();
    if (!isThere) throw error;
  }
}

/**
 * Reads a regular file whole.
 *
 * @param maximumBytes - a longer file is refused before memory is allocated.
 * @throws DimoError with code `io` if the file is absent, longer than `maximumBytes`, or changes while it is read.
 */
export async function readFileChecked(path: string, maximumBytes = Number.MAX_SAFE_INTEGER): Promise<Uint8Array> {
  return withIoError('read', path, async () => {
    // Not blocking: a named pipe must not hang the program before it is seen to be no file.
    const file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    try {
      return await readWhole(file, path, maximumBytes);
    } finally {
      await file.close();
    }
  });
}

async function readWhole(file: FileHandle, path: string, maximumBytes: number): Promise<Uint8Array> {
  const fail = (message: string): DimoError =>
    new DimoError('io', `cannot read ${escapeText(path)}: ${message}`, { path });
  const before = await file.stat();
  if (!before.isFile()) throw fail('it is not a regular file');
  if (before.size > maximumBytes) throw fail(`it has ${before.size} bytes, at most ${maximumBytes} are allowed`);
  const bytes = new Uint8Array(before.size);
  for (let position = 0; position < bytes.length;) {
    const length = Math.min(bytes.length - position, chunkBytes);
    const { bytesRead } = await file.read(bytes, position, length, position);
    if (bytesRead === 0) throw fail(`it was cut at ${position} of ${bytes.length} bytes while being read`);
    position += bytesRead;
  }
  const after = await file.stat();
  if (after.size !== before.size || after.mtimeMs !== before.mtimeMs) throw fail('it changed while being read');
  return bytes;
}
