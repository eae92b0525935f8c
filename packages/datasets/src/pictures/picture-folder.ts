/** A dataset from a folder of pictures of one's own. */
import { int32, randomStream, type Dataset, type DatasetSplit, type PixelSource } from '@dimo/core';
import { createHash } from 'node:crypto';
import { loadSharp, BadPicture, type PictureFacts } from './decode.js';
import { resolvePictures, type PictureOptions, type ResolvedPictureOptions } from './options.js';
import {
  decodedPictures,
  openPicture,
  type BadPictureReport,
  type DecodedPictures,
  type PictureFileFacts,
  type PictureProgress,
} from './picture-cache.js';
import { readRecords } from './record-file.js';
import { scanPictures, type PictureFolder } from './scan.js';

/** Arguments of `openPictureFolder`. */
export interface OpenPictureFolderOptions extends PictureOptions, PictureProgress {
  /** Where decoded pictures are kept. @default `pictures` in `DIMO_CACHE`, or in `dimo` in the user's cache folder */
  readonly cacheFolder?: string;
}

/** A dataset whose pixels are read from the cache of decoded pictures. */
export interface PictureDataset extends Dataset<PixelSource> {
  /** Pictures that were left out, at most the first 1000 of them. */
  readonly bad: readonly BadPictureReport[];
  /** How many were left out. */
  readonly numBad: number;
  readonly files: PictureFileFacts;
  /** Half of the pictures have a shorter side of at least so many pixels; of some hundred of them. */
  readonly medianSide: number;
}

/** Pictures whose heads are read to choose the size of the images. */
const probed = 256;
const largestDefaultSide = 64;

/**
 * Opens a folder of pictures as a dataset: PNG, JPEG, WebP, and the first frame of GIF. Subfolders are classes. Pictures are
 * decoded once, to one size, into a cache on the disk, from which they are read as they are needed; their number needs no
 * memory. The order is random by the seed, and so is what is kept for testing.
 *
 * @throws OptionError for a wrong option, a folder without pictures or with classes that cannot be told apart, and for
 *   pictures that cannot be used, naming the first of them, unless they are to be skipped.
 * @throws DimoError with code `io` if the folder cannot be read, or sharp is not installed.
 */
export async function openPictureFolder(
  folder: string,
  options: OpenPictureFolderOptions = {},
): Promise<PictureDataset> {
  const { cacheFolder, onProgress, signal, ...given } = options;
  const settings = resolvePictures(given);
  await loadSharp();
  const found = await scanPictures(folder);
  const medianSide = await medianShorterSide(found, settings);
  const [height, width] = sizeOf(settings, medianSide);
  const { channels, fit, background } = settings;
  const target = { height, width, channels: channels === 'gray' ? 1 : 3, fit, background } as const;
  const decoded = await decodedPictures(found, target, { ...settings, cacheFolder, onProgress, signal });
  const isGray = channels === 'gray' || (channels === 'auto' && decoded.isGray);
  const imageShape = [height, width, isGray ? 1 : 3] as const;
  const { train, test } = splitRecords(found, decoded, settings);
  const split = (numbers: Int32Array, flips: boolean) =>
    splitOf({ found, decoded, imageShape, numbers, flips, stored: target.channels });
  return {
    name: found.name,
    imageShape,
    classNames: found.classNames,
    train: split(train, settings.flips),
    test: split(test, false),
    bad: decoded.bad,
    numBad: decoded.numBad,
    files: decoded.files,
    medianSide,
  };
}

function sizeOf({ size }: ResolvedPictureOptions, medianSide: number): readonly [height: number, width: number] {
  if (size !== undefined) return typeof size === 'number' ? [size, size] : size;
  const side = Math.max(16, Math.min(largestDefaultSide, 16 * Math.floor(medianSide / 16)));
  return [side, side];
}

/** Of pictures spread evenly over the folder; those that cannot be read do not count. */
async function medianShorterSide(folder: PictureFolder, settings: ResolvedPictureOptions): Promise<number> {
  const { pictures } = folder;
  const step = Math.max(1, pictures.length / probed);
  const sides: number[] = [];
  for (let i = 0; i < pictures.length; i += step) {
    const facts = await factsOf(folder, Math.floor(i), settings);
    if (facts) sides.push(Math.min(facts.width, facts.height));
  }
  sides.sort((a, b) => a - b);
  return sides[Math.floor(sides.length / 2)] ?? 0;
}

async function factsOf(
  folder: PictureFolder,
  index: number,
  settings: ResolvedPictureOptions,
): Promise<PictureFacts | undefined> {
  try {
    return (await openPicture(folder, folder.pictures[index]!, settings)).facts;
  } catch (error) {
    if (error instanceof BadPicture) return undefined;
    throw error;
  }
}

/** Numbers of the records for training and for testing, each in random order. */
function splitRecords(
  { pictures }: PictureFolder,
  decoded: DecodedPictures,
  { seed, testFraction }: ResolvedPictureOptions,
): { readonly train: Int32Array; readonly test: Int32Array } {
  const order = randomStream(seed, 0, 'datasets/pictures/order').permutation(decoded.pictures.length);
  const isTest = (record: number): boolean => {
    const { name } = pictures[decoded.pictures[record]!]!;
    const bytes = createHash('sha256')
      .update(`${seed}\n${name.normalize('NFC')}`)
      .digest();
    return bytes.readUInt32BE(0) / 2 ** 32 < testFraction;
  };
  const test = order.filter(isTest);
  const train = order.filter((record) => !isTest(record));
  // Of few pictures a hash may take all: none is then kept for testing.
  return train.length === 0 ? { train: order, test: new Int32Array() } : { train, test };
}

interface SplitParts {
  readonly found: PictureFolder;
  readonly decoded: DecodedPictures;
  readonly imageShape: readonly [height: number, width: number, channels: number];
  readonly numbers: Int32Array;
  /** Each picture a second time, mirrored. */
  readonly flips: boolean;
  /** Channels of the records. */
  readonly stored: number;
}

function splitOf({ found, decoded, imageShape, numbers, flips, stored }: SplitParts): DatasetSplit<PixelSource> {
  const count = numbers.length * (flips ? 2 : 1);
  const labels = Int32Array.from(
    { length: count },
    (_, row) => found.pictures[decoded.pictures[numbers[row % numbers.length]!]!]!.label,
  );
  const content = createHash('sha256').update(JSON.stringify([decoded.key, imageShape, flips]));
  return {
    count,
    labels: int32([count], labels),
    pixels: {
      key: content.update(new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength)).digest('hex'),
      async read(rows) {
        const records = Int32Array.from(rows, (row) => numbers[row % numbers.length]!);
        const bytes = await readRecords(decoded.records, records);
        const images = stored === imageShape[2] ? bytes : everyThird(bytes);
        const size = images.length / Math.max(1, rows.length);
        for (let i = 0; i < rows.length; i++)
          if (rows[i]! >= numbers.length) mirror(images.subarray(i * size, (i + 1) * size), imageShape);
        return images;
      },
    },
  };
}

/** One channel of three that are equal. */
function everyThird(bytes: Uint8Array): Uint8Array {
  return Uint8Array.from({ length: bytes.length / 3 }, (_, i) => bytes[3 * i]!);
}

/** Left and right changed, in place. */
function mirror(image: Uint8Array, [height, width, channels]: SplitParts['imageShape']): void {
  for (let row = 0; row < height; row++)
    for (let column = 0; column < Math.floor(width / 2); column++)
      for (let c = 0; c < channels; c++) {
        const left = (row * width + column) * channels + c;
        const right = (row * width + (width - 1 - column)) * channels + c;
        [image[left], image[right]] = [image[right]!, image[left]!];
      }
}
