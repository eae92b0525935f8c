/** What a folder of pictures holds: its files in an order of their names, and the classes that its subfolders are. */
import { DimoError, escapeText, OptionError } from '@dimo/core';
import { readdir, realpath, stat } from 'node:fs/promises';
import { basename, extname, join, resolve } from 'node:path';

/** Endings of the files that are read as pictures. */
export const pictureEndings: readonly string[] = ['.png', '.jpg', '.jpeg', '.webp', '.gif'];

/** A picture that was found, not read yet. */
export interface FoundPicture {
  /** From the folder, with slashes: `cats/7.png`. */
  readonly name: string;
  readonly bytes: number;
  readonly modified: number;
  /** Index in `classNames`. */
  readonly label: number;
}

/** A folder that was looked through. */
export interface PictureFolder {
  readonly path: string;
  /** Name of the folder, for people. */
  readonly name: string;
  /** Names of the subfolders with pictures; the name of the folder where the pictures are in it. */
  readonly classNames: readonly string[];
  /** In the order of their names. */
  readonly pictures: readonly FoundPicture[];
  /** Number of files that are no pictures by their ending. Hidden ones do not count. */
  readonly numOthers: number;
}

const maximumDepth = 32;
const splitNames = ['train', 'training', 'test', 'testing', 'val', 'valid', 'validation'];

/**
 * Looks through a folder of pictures. Every subfolder with pictures in it, however deep, is a class; without subfolders all
 * pictures are of one. Hidden files and folders are left out, and links are followed but not in circles.
 *
 * @throws DimoError with code `io` if the folder cannot be read.
 * @throws OptionError if it has no pictures, has pictures beside the folders of classes, or classes that differ by the case
 *   of their letters alone.
 */
export async function scanPictures(folder: string): Promise<PictureFolder> {
  const path = resolve(folder);
  const found: Omit<FoundPicture, 'label'>[] = [];
  let numOthers = 0;

  async function walk(inside: string, parents: ReadonlySet<string>): Promise<void> {
    const place = join(path, inside);
    const real = await realpath(place).catch((cause: unknown) => Promise.reject(unreadable(place, cause)));
    // A link to a folder that it is in.
    if (parents.has(real)) return;
    if (parents.size >= maximumDepth)
      throw new OptionError(`${shown(place)}: folders of pictures may be ${maximumDepth} deep`, { path: place });
    const entries = await readdir(place, { withFileTypes: true }).catch((cause: unknown) =>
      Promise.reject(unreadable(place, cause)),
    );
    const names = entries.map(({ name }) => name).sort(byCodeUnits);
    for (const name of names) {
      if (name.startsWith('.') || name === 'Thumbs.db' || name === 'desktop.ini') continue;
      const below = inside === '' ? name : `${inside}/${name}`;
      // Links that lead nowhere are no pictures.
      const facts = await stat(join(path, below)).catch(() => undefined);
      if (facts?.isDirectory()) await walk(below, new Set([...parents, real]));
      else if (facts?.isFile() && pictureEndings.includes(extname(name).toLowerCase()))
        found.push({ name: below, bytes: facts.size, modified: Math.round(facts.mtimeMs) });
      else numOthers++;
    }
  }

  await walk('', new Set());
  const name = basename(path).normalize('NFC') || 'pictures';
  if (found.length === 0)
    throw new OptionError(
      `${shown(folder)} holds no pictures${numOthers > 0 ? `, only ${numOthers} other files` : ''}`,
      {
        path: folder,
        hint: `pictures are files that end with ${pictureEndings.join(', ')}, in it or in subfolders, one for each class`,
      },
    );
  const folders = [...new Set(found.flatMap((picture) => classFolderOf(picture.name) ?? []))];
  checkClasses(
    folder,
    folders,
    found.filter((picture) => classFolderOf(picture.name) === undefined),
  );
  const labels = new Map(folders.map((own, label) => [own, label]));
  return {
    path,
    name,
    classNames: folders.length === 0 ? [name] : folders.map((own) => own.normalize('NFC')),
    pictures: found.map((picture) => ({ ...picture, label: labels.get(classFolderOf(picture.name) ?? '') ?? 0 })),
    numOthers,
  };
}

function classFolderOf(name: string): string | undefined {
  const at = name.indexOf('/');
  return at < 0 ? undefined : name.slice(0, at);
}

function checkClasses(folder: string, classes: readonly string[], loose: readonly { readonly name: string }[]): void {
  if (classes.length > 0 && loose.length > 0)
    throw new OptionError(
      `${shown(folder)}: ${loose.length} pictures (${shown(loose[0]!.name)} first) are beside the folders ${some(classes)}, which are the classes`,
      { path: folder, hint: 'move them into a folder of their own, or all pictures into one folder' },
    );
  const known = new Map<string, string>();
  for (const name of classes) {
    const key = name.normalize('NFC').toLowerCase();
    const other = known.get(key);
    if (other !== undefined)
      throw new OptionError(
        `${shown(folder)}: the names of the classes ${shown(other)} and ${shown(name)} differ by the case or the form of their letters alone`,
        { path: folder, hint: 'rename one of the folders, or put their pictures into one' },
      );
    known.set(key, name);
  }
  if (classes.length > 1 && classes.every((name) => splitNames.includes(name.toLowerCase())))
    throw new OptionError(`${shown(folder)}: its folders ${some(classes)} are parts of a dataset, not classes`, {
      path: folder,
      hint: `name the folder with the pictures to train on: ${join(folder, classes.find((name) => /^train/i.test(name)) ?? classes[0]!)}`,
    });
}

function some(names: readonly string[]): string {
  return names.slice(0, 3).map(shown).join(', ') + (names.length > 3 ? ` and ${names.length - 3} more` : '');
}

/** A name from a disk, for a terminal. */
export function shown(name: string): string {
  return escapeText(name, 200);
}

function byCodeUnits(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function unreadable(path: string, cause: unknown): DimoError {
  const { code = 'unknown' } = cause as NodeJS.ErrnoException;
  return new DimoError('io', `${shown(path)}: cannot read the folder of pictures (${code})`, { path, cause });
}
