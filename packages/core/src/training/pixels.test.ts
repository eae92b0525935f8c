/** Pixels from memory and from a source are the same images; wrong rows and lengths are refused. */
import { describe, expect, it } from 'vitest';
import { OptionError, ShapeError } from '../errors.js';
import type { PixelSource } from './dataset.js';
import { readImages, readPixels } from './pixels.js';

const shape = [1, 2, 1] as const;
const pixels = Uint8Array.from([0, 51, 102, 153, 204, 255]);
const source: PixelSource = {
  key: 'a',
  read: (rows) =>
    Promise.resolve(Uint8Array.from(Array.from(rows).flatMap((row) => [...pixels.slice(2 * row, 2 * row + 2)]))),
};

describe.each([
  ['in memory', pixels],
  ['of a source', source],
])('pixels %s', (_name, given) => {
  const split = { count: 3, pixels: given };

  it('are read in the order of the rows', async () => {
    expect([...(await readPixels(shape, split, [2, 0, 2]))]).toEqual([204, 255, 0, 51, 204, 255]);
  });

  it('become numbers in [0, 1]', async () => {
    const images = await readImages(shape, split, [2, 0]);
    expect(images.shape).toEqual([2, 1, 2, 1]);
    expect([...images.data]).toEqual([204 / 255, 1, 0, 51 / 255].map(Math.fround));
  });

  it.each([-1, 3, 0.5, NaN, Infinity])('have no row %d', async (row) => {
    await expect(readPixels(shape, split, [0, row])).rejects.toThrow(OptionError);
  });

  it('are refused where they are those of other images', async () => {
    await expect(readPixels([2, 2, 1], split, [0])).rejects.toThrow(ShapeError);
  });
});
