/** Weight files in a folder. */
import { DimoError, escapeText, isStrayFile, type WeightSource } from '@dimo/core';
import { readdir } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openFileChecked, readFileChecked } from './files.js';
import { withIoError } from './io-error.js';

/** Folders deeper than this are not listed. */
const maximumDepth = 8;

/** Options of `folderWeightSource`. */
export interface FolderWeightSourceOptions {
  /** Folder that symbolic links may lead to besides, for the snapshots of a cache. @default the folder itself */
  readonly boundary?: string;
}

/**
 * The files of a folder, with `/` in the names of those in subfolders, without those that systems leave there. No name leads out of the folder: absolute names,
 * `..` and symbolic links to outside are refused.
 *
 * @param folder - a path or a `file:` URL (`TeacherPreset.location`).
 */
export function folderWeightSource(folder: string | URL, options: FolderWeightSourceOptions = {}): WeightSource {
  const isUrl = typeof folder !== 'string' || folder.startsWith('file:');
  const root = isUrl ? fileURLToPath(folder) : folder;
  return {
    location: root,
    list: () => withIoError('list', root, () => listFiles(root, '', 0)),
    read: async (name, maximumBytes) =>
      readFileChecked(checkedPath(root, name), maximumBytes, options.boundary ?? root),
    open: async (name) => openFileChecked(checkedPath(root, name), options.boundary ?? root),
  };
}

async function listFiles(root: string, prefix: string, depth: number): Promise<string[]> {
  const names: string[] = [];
  for (const entry of await readdir(join(root, prefix), { withFileTypes: true })) {
    const name = prefix === '' ? entry.name : `${prefix}/${entry.name}`;
    if (isStrayFile(entry.isDirectory() ? `${name}/` : name)) continue;
    if (entry.isDirectory() && depth < maximumDepth) names.push(...(await listFiles(root, name, depth + 1)));
    else if (entry.isFile() || entry.isSymbolicLink()) names.push(name);
  }
  return names.sort();
}

/** The path of a file in `root`, whose name is one that leads nowhere else. */
function checkedPath(root: string, name: string): string {
  const refuse = (why: string): DimoError =>
    new DimoError('io', `${escapeText(root)}: file name "${escapeText(name, 200)}" ${why}`, {
      path: root,
      hint: 'weight files must lie inside the folder that was given',
    });
  if (name === '' || /[\0\\]/.test(name) || isAbsolute(name) || /^[A-Za-z]:/.test(name))
    throw refuse('is empty, absolute or holds a backslash or NUL');
  if (name.split('/').some((part) => part === '..' || part === '.' || part === ''))
    throw refuse('has an empty, "." or ".." part');
  return join(root, name);
}
