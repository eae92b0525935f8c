/** Pictures of a folder, decoded once to one size and kept on the disk by what the folder holds and how they were decoded. */
import { DimoError, OptionError } from '@dimo/core';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { BadPicture, decodePicture, loadSharp, pictureFacts, type PictureFacts, type TargetImage } from './decode.js';
import { makeRecordFile, readIndex, type RecordFile } from './record-file.js';
import type { ResolvedPictureOptions } from './options.js';
import { shown, type FoundPicture, type PictureFolder } from './scan.js';

/** A picture that cannot be used. */
export interface BadPictureReport {
  /** From the folder, as it is on the disk. */
  readonly name: string;
  /** What is wrong with it. */
  readonly reason: string;
}

/** Decoded pictures of a folder. */
export interface DecodedPictures {
  readonly records: RecordFile;
  /** sha256 of all pixels. */
  readonly key: string;
  /** True if all pixels of all pictures are gray. */
  readonly isGray: boolean;
  /** The picture of each record, as its number in the folder. */
  readonly pictures: readonly number[];
  /** At most the first 1000 of them. */
  readonly bad: readonly BadPictureReport[];
  readonly numBad: number;
  readonly files: PictureFileFacts;
}

/** What the files of pictures are like; bad ones do not count. */
export interface PictureFileFacts {
  /** Number of files by format: `png`, `jpeg`, `gif`, `webp`. */
  readonly formats: Readonly<Record<string, number>>;
  /** [width, height] of the picture with the fewest pixels. */
  readonly smallest: readonly [width: number, height: number];
  /** [width, height] of the picture with the most pixels. */
  readonly largest: readonly [width: number, height: number];
}

/** What making the cache is told. */
export interface PictureProgress {
  /** Called while pictures are decoded. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Raised when pictures are decoded otherwise, so that caches of before are not used. */
const formatVersion = 1;
/** Pictures that are read and decoded at once. */
const atOnce = 16;
/** Bad pictures whose reasons are kept. */
const keptBad = 1000;
/** Bad pictures that an error names, and how many pictures are looked at after the first for more of them. */
const namedBad = 5;
const lookedAtMore = 256;

/** Folder for what can be made again: `DIMO_CACHE`, else `dimo` in the user's cache folder. */
function defaultCacheFolder(): string {
  const { DIMO_CACHE: own, XDG_CACHE_HOME: common } = process.env;
  return own || join(common || join(homedir(), '.cache'), 'dimo');
}

/**
 * The decoded pictures of a folder, from the cache or made.
 *
 * @throws DimoError with code `option` naming the first bad pictures, unless they are to be skipped.
 */
export async function decodedPictures(
  folder: PictureFolder,
  target: TargetImage,
  options: ResolvedPictureOptions & PictureProgress & { readonly cacheFolder?: string | undefined },
): Promise<DecodedPictures> {
  const { onBadPicture, maximumPixels, maximumBytes } = options;
  const recordBytes = target.height * target.width * target.channels;
  const hash = createHash('sha256');
  hash.update(JSON.stringify([formatVersion, target, maximumPixels, maximumBytes]));
  for (const { name, bytes, modified } of folder.pictures) hash.update(JSON.stringify([name, bytes, modified]));
  const path = join(options.cacheFolder ?? defaultCacheFolder(), 'pictures', hash.digest('hex').slice(0, 32));
  const found = (await readIndex(path)) ?? (await make(path));
  const bad = found['bad'] as BadPictureReport[];
  const skipped = new Set(found['skipped'] as number[]);
  // Made by a command that skips them.
  if (bad.length > 0 && onBadPicture === 'fail') throw badPictures(folder, bad, skipped.size);
  return {
    records: { path, recordBytes, numRecords: found['numRecords'] as number },
    key: found['sha256'] as string,
    isGray: found['isGray'] as boolean,
    pictures: folder.pictures.flatMap((_, i) => (skipped.has(i) ? [] : [i])),
    bad,
    numBad: skipped.size,
    files: found['files'] as PictureFileFacts,
  };

  async function make(place: string): Promise<Readonly<Record<string, unknown>>> {
    await makeRecordFile(place, recordBytes, async ({ append }) => {
      const problems: BadPictureReport[] = [];
      const left: number[] = [];
      let isGray = true;
      const files = countFiles();
      for await (const batch of decodeAll(folder, target, options)) {
        for (const { index, pixels, facts, reason } of batch) {
          if (pixels) {
            files.add(facts!);
            isGray &&= target.channels === 1 || hasOnlyGray(pixels);
            await append(pixels);
          } else {
            left.push(index);
            problems.push({ name: folder.pictures[index]!.name, reason: reason! });
          }
        }
        const isEnough = problems.length > namedBad || batch.at(-1)!.index - left[0]! >= lookedAtMore;
        if (onBadPicture === 'fail' && isEnough) throw badPictures(folder, problems, problems.length);
      }
      if (left.length === folder.pictures.length || (left.length > 0 && onBadPicture === 'fail'))
        throw badPictures(folder, problems, problems.length);
      return { isGray, skipped: left, bad: problems.slice(0, keptBad), files: files.facts() };
    });
    const index = await readIndex(place);
    if (!index) throw new DimoError('io', 'the cache of decoded pictures cannot be read back', { path: place });
    return index;
  }
}

interface Decoded {
  readonly index: number;
  readonly pixels?: Uint8Array;
  readonly facts?: PictureFacts;
  readonly reason?: string;
}

/** Gathers what files are like. */
function countFiles(): { add(facts: PictureFacts): void; facts(): PictureFileFacts } {
  const formats: Record<string, number> = {};
  let smallest: PictureFacts | undefined;
  let largest: PictureFacts | undefined;
  const area = (facts: PictureFacts | undefined): number | undefined => facts && facts.width * facts.height;
  return {
    add(facts) {
      formats[facts.format] = (formats[facts.format] ?? 0) + 1;
      if (area(facts)! < (area(smallest) ?? Infinity)) smallest = facts;
      if (area(facts)! > (area(largest) ?? 0)) largest = facts;
    },
    facts: () => ({
      formats,
      smallest: [smallest?.width ?? 0, smallest?.height ?? 0],
      largest: [largest?.width ?? 0, largest?.height ?? 0],
    }),
  };
}

/** All pictures of a folder in order, some at once. */
async function* decodeAll(
  folder: PictureFolder,
  target: TargetImage,
  options: ResolvedPictureOptions & PictureProgress,
): AsyncGenerator<Decoded[]> {
  const total = folder.pictures.length;
  const sharp = await loadSharp();
  for (let first = 0; first < total; first += atOnce) {
    options.signal?.throwIfAborted();
    const batch = folder.pictures.slice(first, first + atOnce);
    yield await Promise.all(
      batch.map(async (picture, i): Promise<Decoded> => {
        const index = first + i;
        try {
          const { bytes, facts } = await openPicture(folder, picture, options);
          return { index, facts, pixels: await decodePicture(sharp, bytes, { ...options, ...target }) };
        } catch (error) {
          if (error instanceof BadPicture) return { index, reason: error.message };
          throw error;
        }
      }),
    );
    options.onProgress?.(Math.min(total, first + atOnce), total);
  }
}

/** The bytes of a picture and what its head says. @throws BadPicture */
export async function openPicture(
  { path }: Pick<PictureFolder, 'path'>,
  { name, bytes: size }: Pick<FoundPicture, 'name' | 'bytes'>,
  options: Pick<ResolvedPictureOptions, 'maximumBytes' | 'maximumPixels' | 'secondsPerPicture'>,
): Promise<{ readonly bytes: Uint8Array; readonly facts: PictureFacts }> {
  if (size > options.maximumBytes)
    throw new BadPicture(`${size} bytes are more than the ${options.maximumBytes} of pictures.maximumBytes`);
  const bytes = await readFile(join(path, name)).catch((cause: unknown) => {
    throw new BadPicture(`cannot be read (${(cause as NodeJS.ErrnoException).code ?? 'unknown'})`, { cause });
  });
  return { bytes, facts: await pictureFacts(await loadSharp(), bytes, options) };
}

function hasOnlyGray(pixels: Uint8Array): boolean {
  for (let i = 0; i < pixels.length; i += 3)
    if (pixels[i] !== pixels[i + 1] || pixels[i] !== pixels[i + 2]) return false;
  return true;
}

function badPictures(
  { path }: Pick<PictureFolder, 'path'>,
  bad: readonly BadPictureReport[],
  count: number,
): OptionError {
  const named = bad.slice(0, namedBad).map(({ name, reason }) => `${shown(name)}: ${reason}`);
  const more = count > namedBad ? `; and ${count - namedBad} more` : '';
  return new OptionError(
    `${shown(path)}: ${count === 1 ? 'a picture' : 'pictures'} cannot be used: ${named.join('; ')}${more}`,
    {
      path,
      hint: 'mend or remove them, or leave them out with --set pictures.onBadPicture=skip; `dimo dataset info` lists all of them',
    },
  );
}
