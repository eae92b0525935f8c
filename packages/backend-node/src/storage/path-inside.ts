/**
 * Entries of folders that somebody else may have filled. A run or model that was received is data: a symbolic link in it
 * must not make a command read or change what lies elsewhere. The folder itself is the user's word and may be a link.
 */
import { DimoError, escapeText } from '@dimo/core';
import { lstat, realpath } from 'node:fs/promises';
import { dirname, isAbsolute, join, relative, resolve, sep } from 'node:path';
import { errorCode, withIoError } from './io-error.js';

/**
 * The path of an entry of a folder, which need not exist yet.
 *
 * @param boundary - the folder; of its own path, links are followed.
 * @param parts - names below it.
 * @returns `join(boundary, ...parts)`.
 * @throws DimoError with code `io` if the path leads out of the folder, by `..` or through a symbolic link, or if a link
 *   on it leads nowhere.
 */
export async function pathInside(boundary: string, ...parts: readonly string[]): Promise<string> {
  const path = join(boundary, ...parts);
  await realPathInside(boundary, path);
  return path;
}

/**
 * Where a path in a folder leads to after symbolic links; undefined if it does not exist yet.
 *
 * @throws DimoError with code `io` as `pathInside`.
 */
export async function realPathInside(boundary: string, path: string): Promise<string | undefined> {
  if (!isInside(resolve(boundary), resolve(path))) throw leadsOut(path, boundary);
  return withIoError('open', path, async () => {
    const root = await existing(boundary);
    // Nothing can be in a folder that is not there.
    if (root === undefined) return undefined;
    for (let current = path; ; current = dirname(current)) {
      const real = await existing(current, boundary);
      if (real === undefined) continue;
      if (!isInside(root, real)) throw leadsOut(path, boundary);
      return current === path ? real : undefined;
    }
  });
}

/** The real path; undefined if there is nothing. A link that leads nowhere would be followed when something is written. */
async function existing(path: string, boundary?: string): Promise<string | undefined> {
  try {
    return await realpath(path);
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
    const isLink = await lstat(path).then(
      (stats) => stats.isSymbolicLink(),
      () => false,
    );
    if (isLink && boundary !== undefined) throw leadsOut(path, boundary);
    return undefined;
  }
}

/** Whether a path is the folder or below it; both absolute, without links. */
export function isInside(folder: string, path: string): boolean {
  const way = relative(folder, path);
  return way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way);
}

function leadsOut(path: string, boundary: string): DimoError {
  return new DimoError(
    'io',
    `${escapeText(path)} leads out of ${escapeText(boundary)}, or is a symbolic link to nowhere`,
    {
      path,
      hint: 'links in a folder are followed only as far as the folder itself; put the files there, or name the folder that the link leads to',
    },
  );
}
