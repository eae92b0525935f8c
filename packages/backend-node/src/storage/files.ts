/** Reading and writing whole files, durably and with checked sizes. */
import { DimoError, escapeText, contentParts, type FileContent, type WeightFile } from '@dimo/core';
import { closeSync, constants, fstatSync, fsync, openSync, writeFileSync } from 'node:fs';
import { mkdir, open, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { promisify } from 'node:util';
import { errorCode, ioError, withIoError } from './io-error.js';
import { realPathInside } from './path-inside.js';

/** Largest single read; Node refuses more than 2 GiB at once. */
const chunkBytes = 2 ** 30;

/** Neither follows a link at the end of the path nor waits for the other end of a named pipe. */
const noSurprise = (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);

const flushDescriptor = promisify(fsync);

/**
 * Returns when what was written to an open file, or the names in an open folder, are on the disk. The handles that Yarn
 * puts in the place of Node's (Plug'n'Play) have no `sync`.
 */
export async function flush(file: FileHandle): Promise<void> {
  await (process.versions['pnp'] ? flushDescriptor(file.fd) : file.sync());
}

/**
 * Writes a file, part by part, and returns when its bytes are on the disk. An existing file is overwritten in place: write
 * under a temporary name and rename. A file that could not be written whole is removed.
 *
 * @throws DimoError with code `io`, also if there is a symbolic link or anything but a regular file at the path; what the
 *   content throws while it is made.
 */
export async function writeFileDurably(path: string, content: FileContent): Promise<void> {
  await withIoError(
    'write',
    path,
    async () => {
      const file = await open(path, constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | noSurprise);
      let isOurs = false;
      try {
        if (!(await file.stat()).isFile()) throw notRegular('write', path);
        isOurs = true;
        for await (const bytes of contentParts(content))
          for (let written = 0; written < bytes.length;)
            written += (await file.write(bytes, written, Math.min(bytes.length - written, chunkBytes))).bytesWritten;
        await flush(file);
      } catch (error) {
        if (isOurs) await rm(path, { force: true }).catch(() => undefined);
        throw error;
      } finally {
        await file.close();
      }
    },
    content.length,
  );
}

/**
 * Writes a file under a temporary name beside it, flushed, then renames it. If that fails nothing of it is left, and a
 * file that was there stays as it was.
 *
 * @throws DimoError with code `io`, also if there is something at the path that is no file, such as a folder or a device.
 */
export async function writeFileAtomically(path: string, content: string | FileContent): Promise<void> {
  const bytes = typeof content === 'string' ? new TextEncoder().encode(content) : content;
  const temporary = `${path}.tmp-${process.pid}`;
  await withIoError(
    'write',
    path,
    async () => {
      const there = await stat(path).catch(() => undefined);
      if ((there && !there.isFile()) || isSystemPath(path)) throw notRegular('write', path);
      // Of a killed process of this number, or put there by somebody.
      await rm(temporary, { force: true });
      try {
        await writeFileDurably(temporary, bytes);
        await rename(temporary, path);
      } catch (error) {
        await rm(temporary, { force: true }).catch(() => undefined);
        // Of the temporary name; what made the content fails with its own words.
        const isOfDisk = DimoError.isInstance(error) && error.code === 'io' && error.cause !== undefined;
        throw isOfDisk ? error.cause : error;
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
 * @param boundary - folder that a symbolic link must not lead out of. @default links are followed anywhere
 * @throws DimoError with code `io` if the file is absent, longer than `maximumBytes`, or changes while it is read.
 */
export async function readFileChecked(
  path: string,
  maximumBytes = Number.MAX_SAFE_INTEGER,
  boundary?: string,
): Promise<Uint8Array> {
  const file = await openFileChecked(path, boundary);
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
 * @param boundary - folder that a symbolic link must not lead out of. @default links are followed anywhere
 * @throws DimoError with code `io` if the file is absent, no regular file or out of bounds; its `read` and `close` if it
 *   was cut or has changed since.
 */
export async function openFileChecked(path: string, boundary?: string): Promise<WeightFile> {
  return withIoError('read', path, async () => {
    const file = await openRegular(path, boundary);
    try {
      const before = await file.stat();
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

/**
 * Opens a regular file for reading. What was looked at is what is opened, even if somebody exchanges the path meanwhile.
 *
 * @throws Error of Node if it is absent; DimoError with code `io` if it is no regular file or out of bounds.
 */
export async function openRegular(path: string, boundary?: string): Promise<FileHandle> {
  const real = boundary === undefined ? path : ((await realPathInside(boundary, path)) ?? path);
  // Looked at first: opening a device can set it in motion.
  const seen = await stat(real);
  if (!seen.isFile()) throw notRegular('read', path);
  const flags = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0) | (boundary === undefined ? 0 : noSurprise);
  const file = await open(real, flags);
  try {
    const opened = await file.stat();
    const isSame = process.platform === 'win32' || (opened.ino === seen.ino && opened.dev === seen.dev);
    if (!opened.isFile()) throw notRegular('read', path);
    if (!isSame && boundary !== undefined) throw readError(path, 'it was exchanged while being opened');
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

/**
 * Opens a regular file for reading and writing; it is made if it is absent.
 *
 * @throws Error of Node, also for a symbolic link; DimoError with code `io` for anything but a regular file.
 */
export async function openForUpdate(path: string): Promise<FileHandle> {
  const file = await open(path, constants.O_RDWR | constants.O_CREAT | noSurprise, 0o666);
  if ((await file.stat()).isFile()) return file;
  await file.close();
  throw notRegular('write', path);
}

/**
 * Appends text to a regular file, which is made if it is absent; at once, for logs of a few lines a second.
 *
 * @throws DimoError with code `io`, also if there is a symbolic link or anything but a regular file at the path.
 */
export function appendText(path: string, text: string): void {
  try {
    const file = openSync(path, constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | noSurprise, 0o666);
    try {
      if (!fstatSync(file).isFile()) throw notRegular('write', path);
      writeFileSync(file, text);
    } finally {
      closeSync(file);
    }
  } catch (error) {
    throw ioError(error, 'write', path);
  }
}

/** Names of the system: renaming a file over `/dev/stdout` would take it away from everybody. */
function isSystemPath(path: string): boolean {
  return process.platform !== 'win32' && /^\/(?:dev(?!\/shm\/)|proc|sys)\//.test(resolve(path));
}

function notRegular(action: string, path: string): DimoError {
  return new DimoError('io', `cannot ${action} ${escapeText(path)}: it is not a regular file`, {
    path,
    hint: 'folders, devices and named pipes are not used as files; name a file',
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
