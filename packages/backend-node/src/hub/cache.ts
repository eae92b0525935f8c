/**
 * The cache on disk, in the layout that all tools of Hugging Face share, so that each finds what another has fetched:
 *
 *   models--owner--repository/blobs/<hash>                   content, by its hash
 *   models--owner--repository/snapshots/<commit>/<path>      symbolic links to blobs
 *   models--owner--repository/refs/<revision>                the commit that a branch or tag stood for
 *   models--owner--repository/.partial/<hash>/               what has arrived of a file so far: ours alone
 */
import { randomUUID } from 'node:crypto';
import { DimoError } from '@dimo/core';
import { copyFile, link, readlink, rename, stat, symlink } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { makeFolders, readFileChecked, syncFolder, writeFileDurably } from '../storage/files.js';
import { errorCode, withIoError } from '../storage/io-error.js';
import { pathInside } from '../storage/path-inside.js';
import { isCommit, type HubReference } from './reference.js';
import type { HubSettings } from './settings.js';

/** Folder of one repository in the cache; it need not exist. */
export function repositoryFolder(
  { cacheFolder }: Pick<HubSettings, 'cacheFolder'>,
  { owner, repository }: Pick<HubReference, 'owner' | 'repository'>,
): string {
  return join(cacheFolder, `models--${owner}--${repository}`);
}

/** Folder with the files of a commit under their own names. */
export function snapshotFolder(repository: string, commit: string): string {
  return join(repository, 'snapshots', commit);
}

/** Where content lies. */
export function blobPath(repository: string, name: string): string {
  return join(repository, 'blobs', name);
}

/** Folder of an unfinished file. */
export function partialFolder(repository: string, name: string): string {
  return join(repository, '.partial', name);
}

/** The commit that a revision stood for when it was last asked, or undefined. */
export async function cachedCommit(repository: string, revision: string): Promise<string | undefined> {
  if (isCommit(revision)) return (await isFolder(snapshotFolder(repository, revision))) ? revision : undefined;
  try {
    const bytes = await readFileChecked(join(repository, 'refs', revision), 1000, repository);
    const commit = new TextDecoder().decode(bytes).trim();
    return isCommit(commit) ? commit : undefined;
  } catch (error) {
    // What is no file says nothing of a commit; a disk that fails does.
    const cause = DimoError.isInstance(error) ? error.cause : error;
    if (cause === undefined || ['ENOENT', 'ENOTDIR'].includes(errorCode(cause) ?? '')) return undefined;
    throw error;
  }
}

/** Records the commit of a revision. */
export async function writeRevision(repository: string, revision: string, commit: string): Promise<void> {
  const path = join(repository, 'refs', revision);
  if (isCommit(revision) || (await cachedCommit(repository, revision)) === commit) return;
  const temporary = await temporaryName(repository);
  await writeFileDurably(temporary, new TextEncoder().encode(commit));
  await place(repository, temporary, path);
}

/** Makes a finished file a blob and flushes it to the disk's catalogue. */
export async function keepBlob(repository: string, from: string, name: string): Promise<void> {
  const blob = blobPath(repository, name);
  await place(repository, from, blob);
  await syncFolder(dirname(blob));
}

/**
 * Gives a blob its name in a snapshot: by a symbolic link, or where the file system has none by a hard link or a copy.
 *
 * @returns the path in the snapshot.
 */
export async function linkSnapshot(repository: string, commit: string, path: string, blob: string): Promise<string> {
  const pointer = join(snapshotFolder(repository, commit), ...path.split('/'));
  const target = relative(dirname(pointer), blobPath(repository, blob));
  if ((await readlink(pointer).catch(() => undefined)) === target) return pointer;
  const temporary = await temporaryName(repository);
  await withIoError('link', pointer, async () => {
    try {
      await symlink(target, temporary);
    } catch (error) {
      if (!['EPERM', 'ENOSYS', 'ENOTSUP', 'EINVAL'].includes(errorCode(error) ?? '')) throw error;
      await link(blobPath(repository, blob), temporary).catch(() => copyFile(blobPath(repository, blob), temporary));
    }
  });
  await place(repository, temporary, pointer);
  return pointer;
}

/** True if the path is a folder. */
export async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (stats) => stats.isDirectory(),
    () => false,
  );
}

async function temporaryName(repository: string): Promise<string> {
  await makeFolders(repository);
  const folder = await pathInside(repository, '.partial');
  await makeFolders(folder);
  return join(folder, `new-${process.pid}-${randomUUID()}`);
}

async function place(repository: string, from: string, to: string): Promise<void> {
  await makeFolders(await pathInside(repository, relative(repository, dirname(to))));
  await withIoError('write', to, () => rename(from, to));
}
