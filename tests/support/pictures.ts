/** Folders of pictures for tests: made of a few colours, by a library or byte by byte. */
import { readPixels, type Dataset } from '@dimo/core';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { crc32, deflateSync } from 'node:zlib';
import sharp, { type Sharp } from 'sharp';
import { afterEach, beforeEach, expect } from 'vitest';

/** A new folder for pictures, and one for a cache, in every test. */
export function pictureFolders() {
  const now = { place: '', folder: '', cacheFolder: '' };
  beforeEach(async () => {
    now.place = await mkdtemp(join(tmpdir(), 'dimo-pictures-'));
    now.folder = join(now.place, 'pictures');
    now.cacheFolder = join(now.place, 'cache');
    await mkdir(now.folder);
  });
  afterEach(() => rm(now.place, { recursive: true, force: true }));
  return {
    now,
    async put(name: string, bytes: Uint8Array): Promise<void> {
      await mkdir(dirname(join(now.folder, name)), { recursive: true });
      await writeFile(join(now.folder, name), bytes);
    },
  };
}

export type Colour = readonly [red: number, green: number, blue: number];
export const red: Colour = [200, 30, 20];
export const blue: Colour = [20, 40, 210];

/** Left half of one colour, right half of another. */
export function halves(left: Colour, right: Colour, width = 32, height = 32): Sharp {
  const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => {
    const column = Math.floor(i / 3) % width;
    return (column < width / 2 ? left : right)[i % 3]!;
  });
  return sharp(data, { raw: { width, height, channels: 3 } });
}

/** All training images with the names of their classes. */
export async function imagesOf(dataset: Dataset) {
  const { imageShape, train, classNames } = dataset;
  const all = await readPixels(
    imageShape,
    train,
    Int32Array.from({ length: train.count }, (_, i) => i),
  );
  const size = all.length / train.count;
  return Array.from({ length: train.count }, (_, i) => ({
    label: classNames[train.labels.data[i]!]!,
    pixels: all.subarray(i * size, (i + 1) * size),
  }));
}

/** Colour of an image of 16 x 16 at a place. */
export const at = (pixels: Uint8Array, row: number, column: number) => [
  ...pixels.subarray((row * 16 + column) * 3, (row * 16 + column) * 3 + 3),
];

/** Lossy formats and colour profiles change colours a little. */
export function expectColour(found: number[], wanted: Colour, tolerance = 12): void {
  expect(found.length).toBe(3);
  found.forEach((value, i) =>
    expect(Math.abs(value - wanted[i]!), `${found.join()} for ${wanted.join()}`).toBeLessThanOrEqual(tolerance),
  );
}

/** A PNG by hand: 8 bits of gray, with sizes that need not be true. */
export function grayPng(width: number, height: number, raw: Uint8Array): Buffer {
  const chunk = (type: string, data: Uint8Array): Buffer => {
    const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
    const ends = Buffer.alloc(8);
    ends.writeUInt32BE(data.length, 0);
    ends.writeUInt32BE(crc32(body), 4);
    return Buffer.concat([ends.subarray(0, 4), body, ends.subarray(4)]);
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 0, 0, 0, 0], 8);
  return Buffer.concat([
    Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'),
    chunk('IHDR', header),
    chunk('IDAT', deflateSync(raw)),
    chunk('IEND', new Uint8Array()),
  ]);
}
