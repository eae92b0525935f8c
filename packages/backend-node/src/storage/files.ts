/** Reading and writing whole files, durably and with checked sizes. */
import { DimoError, escapeText, type WeightFile } from '@dimo/core';
import { constants, fsync } from 'node:fs';
import { mkdir, open, stat, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { errorCode, withIoError } from './io-error.js';

/** Largest single read; Node refuses more than 2 GiB at once. */
const chunkBytes = 2 ** 30;

const flushDescriptor = promisify(fsync);

/**
 * Returns when what was written to an open file, or the names in an open folder, are on the disk. The handles that Yarn
 * puts in the place of Node's (Plug'n'Play) have no `sync`.
 */
export async function flush(file: FileHandle): Promise<void> {
  await (process.versions['pnp'] ? flushDescriptor(file.fd) : file.sync());
}

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
        await flush(file);
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
      await flush(folder);
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
  const file = await openFileChecked(path);
  try {
    if (file.length > maximumBytes)
      throw readError(path, `it has ${file.length} bytes, at most ${maximumBytes} are allowed`);
    return await file.read(0, file.length);
  } finally {
    await file.close();
  }
}

/**
 * Opens a regular file to read parts of it.
 *
 * @throws DimoError with code `io` if the file is absent or no regular file; its `read` and `close` if it was cut or has
 *   changed since.
 */
export async function openFileChecked(path: string): Promise<WeightFile> {
  return withIoError('read', path, async () => {
    // Not blocking: a named pipe must not hang the program before it is seen to be no file.
    const file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    try {
      const before = await file.stat();
      if (!before.isFile()) throw readError(path, 'it is not a regular file');
      let isWhole = true;
      return {
        length: before.size,
        read: (begin, end) =>
          withIoError('read', path, async () => {
            isWhole = false; // until this part has been read
            const bytes = await readPart(file, path, begin, end);
            isWhole = true;
            return bytes;
          }),
        close: () =>
          withIoError('read', path, async () => {
            try {
              const after = await file.stat();
              const hasChanged = after.size !== before.size || after.mtimeMs !== before.mtimeMs;
              // A failed read has said what was wrong.
              if (isWhole && hasChanged) throw readError(path, 'it changed while being read');
            } finally {
              await file.close();
            }
          }),
      };
    } catch (error) {
      await file.close();
      throw error;
    }
  });
}

function readError(path: string, message: string): DimoError {
  return new DimoError('io', `cannot read ${escapeText(path)}: ${message}`, { path });
}

async function readPart(file: FileHandle, path: string, begin: number, end: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(end - begin);
  for (let done = 0; done < bytes.length;) {
    const length = Math.min(bytes.length - done, chunkBytes);
    const { bytesRead } = await file.read(bytes, done, length, begin + done);
    if (bytesRead === 0) throw readError(path, `it was cut at ${begin + done} of ${end} bytes while being read`);
    done += bytesRead;
  }
  return bytes;
}
