/**
 * Large files that several generators have alike, such as a text encoder: stored once, as hard links. Every folder stays
 * complete, whatever happens to the others; copying one copies the content.
 */
import { makeFolders, pathInside, sha256OfContent, sha256OfFile } from '@dimo/backend-node';
import type { FileContent } from '@dimo/core';
import { link, lstat, readdir, rename, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { writeFileAtomically } from './folder.js';

/** Name of the folder of shared files, beside the runs. */
export const sharedFolderName = '.shared';

/** Smaller files are written out: they are not worth a second name. */
export const sharedFileBytes = 2 ** 24;

/**
 * Writes a file as a link to the one of the same content in `store`, which is made if it is not there. Where the file
 * system has no hard links, an ordinary file is written.
 *
 * @param store - folder of files by the SHA-256 of their content. Those that no folder has any more are removed.
 * @returns whether the file shares its content.
 */
export async function writeSharedFile(path: string, content: FileContent, store: string): Promise<boolean> {
  const hash = await sha256OfContent(content);
  const shared = join(store, hash);
  const temporary = `${path}.tmp-${process.pid}`;
  try {
    // Whoever sends a folder of runs may have put a link there.
    await makeFolders(await pathInside(dirname(store), basename(store)));
    if (!(await holds(shared, content.length, hash))) await writeFileAtomically(shared, content);
    await unlink(temporary).catch(() => {});
    await link(shared, temporary);
    await rename(temporary, path);
    // Renaming one name of a file to another name of it does nothing, and leaves both.
    await unlink(temporary).catch(() => {});
  } catch {
    // No hard links here, no rights, another file system, or the store was tidied this moment.
    await writeFileAtomically(path, content);
    return false;
  }
  await removeUnused(store, hash).catch(() => {});
  return true;
}

/** True if the file has this content: anything may have happened to it since it was written. */
async function holds(path: string, length: number, hash: string): Promise<boolean> {
  const size = await lstat(path).then(
    (stats) => (stats.isFile() ? stats.size : -1),
    () => -1,
  );
  return size === length && (await sha256OfFile(path)) === hash;
}

/** Removes files of the store that have no other name. */
async function removeUnused(store: string, kept: string): Promise<void> {
  for (const name of await readdir(store)) {
    if (name === kept || !/^[0-9a-f]{64}$/.test(name)) continue;
    const { nlink } = await lstat(join(store, name));
    if (nlink === 1) await unlink(join(store, name));
  }
}
