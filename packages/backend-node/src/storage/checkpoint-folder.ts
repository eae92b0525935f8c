/** Checkpoints in a folder of this machine, and the start of a run in it. */
import { DimoError, cleanCheckpoints, type CheckpointStore } from '@dimo/core';
import { readdir, rename, rm } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import { makeFolders, openFileChecked, readFileChecked, syncFolder, writeFileDurably } from './files.js';
import { errorCode, withIoError } from './io-error.js';
import { pathInside } from './path-inside.js';
import { isProcessAlive } from './processes.js';
import { acquireRunLock } from './run-lock.js';
import { sha256 } from './sha256.js';

/**
 * A checkpoint store in a folder, which is made when first written to.
 *
 * @param folder - usually `runs/<name>/checkpoints`.
 * @param boundary - folder that no symbolic link may lead out of: the run. @default the folder itself
 */
export function folderCheckpointStore(folder: string, boundary = folder): CheckpointStore {
  const root = resolve(folder);
  const limit = resolve(boundary);
  const name = (path: string): string => join(root, path);
  const at = (path: string): Promise<string> => pathInside(limit, relative(limit, name(path)));
  return {
    location: folder,
    processId: process.pid,
    isProcessAlive,
    list: (path) =>
      withIoError('list', name(path), async () => {
        try {
          return (await readdir(await at(path))).sort();
        } catch (error) {
          if (errorCode(error) === 'ENOENT') return [];
          throw error;
        }
      }),
    makeFolder: async (path) => makeFolders(await at(path)),
    writeFile: async (path, content) => writeFileDurably(await at(path), content),
    readFile: (path, maximumBytes) => readFileChecked(name(path), maximumBytes, limit),
    openFile: (path) => openFileChecked(name(path), limit),
    sha256,
    syncFolder: async (path) => syncFolder(await at(path)),
    rename: (from, to) =>
      withIoError('rename', name(from), async () => {
        // Of a link at the end itself, not of what it leads to.
        for (const path of [from, to]) await at(join(path, '..'));
        await rename(name(from), name(to));
      }),
    remove: (path) =>
      withIoError('remove', name(path), async () => {
        await at(path === '' ? '' : join(path, '..'));
        await rm(name(path), { recursive: true, force: true });
      }),
  };
}

/** A run folder that this process owns. */
export interface RunFolder {
  readonly path: string;
  /** `<path>/checkpoints`. */
  readonly checkpoints: CheckpointStore;
  /** Gives the folder up. */
  release(): Promise<void>;
}

/**
 * Starts a run in a folder: makes it, locks it, proves that files can be written, flushed and renamed there, and removes
 * what killed processes left behind.
 *
 * @throws DimoError with code `locked` if another process owns it, or `io` if it cannot be written.
 */
export async function openRunFolder(path: string): Promise<RunFolder> {
  if (path.includes('\0'))
    throw new DimoError('io', 'a path cannot hold a NUL character', { hint: 'choose another folder' });
  await makeFolders(path);
  await makeFolders(await pathInside(path, 'checkpoints'));
  const lock = await acquireRunLock(path);
  try {
    const checkpoints = folderCheckpointStore(join(path, 'checkpoints'), path);
    await cleanCheckpoints(checkpoints);
    await probe(checkpoints);
    return { path, checkpoints, release: () => lock.release() };
  } catch (error) {
    await lock.release().catch(() => undefined);
    throw error;
  }
}

/** Does once what saving does, so that a folder without permission or space fails before any training. */
async function probe(store: CheckpointStore): Promise<void> {
  const [from, to] = [`tmp-probe-${store.processId}`, `tmp-probed-${store.processId}`];
  await store.makeFolder(from);
  await store.writeFile(`${from}/probe`, new Uint8Array(4096));
  await store.syncFolder(from);
  await store.rename(from, to);
  await store.syncFolder('');
  await store.remove(to);
}
