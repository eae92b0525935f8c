import { float32, int32, type HostTensor, type TokenDecoder } from '@dimo/core';
import { describe, expect, it } from 'vitest';
import {
  checkGivenImage,
  knownTokensOf,
  readGivenImage,
  withKeptPixels,
  type GivenImageOptions,
} from './given-image.js';
import type { ImageInput } from './pixels.js';

const names = { image: 'image', mask: 'mask', strength: 'strength', composite: 'composite' };
const decoder = { imageShape: [4, 6, 1] } as unknown as TokenDecoder;
/** Two by three patches of two by two pixels. */
const space = { codebookSize: 9, numLogits: 9, maskTokenId: 9, grid: [2, 3] } as const;
const tokens = int32([1, 6], [0, 1, 2, 3, 4, 5]);

const gray = (...bytes: number[]): ImageInput => ({ width: 6, height: 4, data: Uint8Array.from(bytes) });
const image = gray(...Array.from({ length: 24 }, (_, i) => 10 * i));
/** Marks pixels by index. */
const marks = (...at: number[]): ImageInput =>
  gray(...Array.from({ length: 24 }, (_, i) => (at.includes(i) ? 255 : 0)));

function read(options: GivenImageOptions) {
  const request = checkGivenImage(options, names)!;
  return readGivenImage(request, decoder, { names, readFile: () => Promise.reject(new Error('no files')) });
}

const wantedOf = ({ data }: HostTensor<'int32'>): number[] => [...data].flatMap((token, i) => (token === 9 ? [i] : []));

describe('known tokens', () => {
  it('are all but those with a pixel that the mask marks', async () => {
    const one = await read({ image, mask: marks(0) });
    expect([...knownTokensOf(one, tokens, [{ seed: 0, index: 0 }], space).data]).toEqual([9, 1, 2, 3, 4, 5]);
    // The last pixel of the first row of patches, and the first of the row below.
    const two = await read({ image, mask: marks(11, 12) });
    expect(wantedOf(knownTokensOf(two, tokens, [{ seed: 0, index: 0 }], space))).toEqual([2, 3]);
  });

  it('are, without a mask, a part that follows from seed and index alone', async () => {
    const half = await read({ image });
    const samples = [0, 1, 2, 3].map((index) => ({ seed: 8, index }));
    const known = knownTokensOf(half, tokens, samples, space);
    for (let row = 0; row < 4; row++) {
      const own = { ...known, shape: [1, 6], data: known.data.slice(row * 6, row * 6 + 6) };
      expect(own).toEqual(knownTokensOf(half, tokens, [samples[row]!], space));
      expect(wantedOf(own)).toHaveLength(3);
      own.data.forEach((token, i) => expect(token === 9 || token === i).toBe(true));
    }
    expect(new Set([0, 1, 2, 3].map((row) => String(known.data.slice(row * 6, row * 6 + 6)))).size).toBeGreaterThan(1);
    const other = knownTokensOf(
      half,
      tokens,
      samples.map(({ index }) => ({ seed: 9, index })),
      space,
    );
    expect(other.data).not.toEqual(known.data);
  });

  it('lack as many as the strength says, of those under the mask, and one at least', async () => {
    const numWanted = async (options: GivenImageOptions): Promise<number> =>
      wantedOf(knownTokensOf(await read(options), tokens, [{ seed: 1, index: 0 }], space)).length;
    expect(await numWanted({ image, strength: 1 })).toBe(6);
    expect(await numWanted({ image, strength: 0.34 })).toBe(2);
    expect(await numWanted({ image, strength: 1e-9 })).toBe(1);
    const mask = marks(0, 2, 4, 12); // four patches
    expect(await numWanted({ image, mask })).toBe(4);
    expect(await numWanted({ image, mask, strength: 0.5 })).toBe(2);
  });
});

describe('an image and its mask', () => {
  it('are brought to the size of the model in the same way', async () => {
    // Twice the size, two more columns at each end.
    const [width, height] = [16, 8];
    const at = (x: number, y: number): number => y * width + x;
    const bytes = new Uint8Array(width * height).fill(128);
    const mask = new Uint8Array(width * height);
    mask[at(5, 0)] = 255; // in pixel (1, 0) of the model
    mask[at(0, 7)] = 255; // cut off
    const given = await read({ image: { width, height, data: bytes }, mask: { width, height, data: mask } });
    expect([...given.drawn!].flatMap((drawn, i) => (drawn ? [i] : []))).toEqual([1]);
    expect(given.image.shape).toEqual([4, 6, 1]);
    mask[at(5, 0)] = 0;
    await expect(read({ image: { width, height, data: bytes }, mask: { width, height, data: mask } })).rejects.toThrow(
      'mask: the mask is black everywhere',
    );
  });

  it('mark what is above half, in any channels; what is transparent is not marked', async () => {
    const rgba = new Uint8Array(24 * 4);
    rgba.set([255, 255, 255, 255], 0);
    rgba.set([255, 255, 255, 0], 4); // transparent
    rgba.set([127, 127, 127, 255], 8); // below half
    rgba.set([128, 128, 128, 255], 12);
    const { drawn } = await read({ image, mask: { width: 6, height: 4, data: rgba } });
    expect([...drawn!.slice(0, 5)]).toEqual([1, 0, 0, 1, 0]);
  });

  it('are taken when the call is made', async () => {
    const data = new Uint8Array(24).fill(51);
    const picture = float32([4, 6, 1], new Float32Array(24).fill(0.2));
    const reading = [read({ image: { width: 6, height: 4, data } }), read({ image: { image: picture } })];
    data.fill(0);
    picture.data.fill(0);
    for (const given of await Promise.all(reading)) expect(given.image.data[0]).toBeCloseTo(0.2, 6);
  });

  it('keep the pixels outside of the mask, to the last bit, in every picture', async () => {
    const given = await read({ image, mask: marks(0, 5) });
    const drawn = float32([2, 4, 6, 1], new Float32Array(48).fill(0.75));
    const kept = withKeptPixels(given, drawn);
    for (let i = 0; i < 48; i++)
      expect(kept.data[i]).toBe([0, 5].includes(i % 24) ? 0.75 : Math.fround((10 * (i % 24)) / 255));
    expect(withKeptPixels(await read({ image, mask: marks(0), composite: false }), drawn)).toBe(drawn);
    expect(withKeptPixels(await read({ image }), drawn)).toBe(drawn);
  });
});

describe('wrong options', () => {
  it.each<[object, string]>([
    [{ mask: image }, 'mask has no effect without an image'],
    [{ strength: 0.5 }, 'strength has no effect without an image'],
    [{ composite: true }, 'composite has no effect without an image'],
    [{ image, composite: true }, 'composite has no effect without a mask'],
    [{ image, mask: image, composite: 1 }, 'composite must be true or false'],
    [{ image, strength: 0 }, 'strength must be a number in (0, 1]'],
    [{ image, strength: NaN }, 'strength must be a number in (0, 1]'],
    [{ image, strength: '0.5' }, 'strength must be a number in (0, 1]'],
    [{ image: '' }, 'image: the path is empty'],
    [{ image: 7 }, 'image must be the path of a PNG, a picture, or pixels'],
    [{ image: null }, 'image must be the path of a PNG, a picture, or pixels'],
    [{ image: { width: 6, height: 4, data: new Uint8Array(23) } }, '6 x 4 pixels have 1 to 4 bytes each, got 23'],
    [{ image: { width: 0, height: 4, data: new Uint8Array(0) } }, 'width and height must be integers'],
    [{ image: { width: 6, height: 4, data: new Float32Array(24) } }, 'with data in bytes'],
    [{ image: { image: float32([4, 6]) } }, 'must be float32 [height, width, channels]'],
    [{ image: { image: null } }, 'must be float32 [height, width, channels]'],
    [{ image: { image: float32([1, 1, 1], [2]) } }, 'must hold 1 numbers in [0, 1]'],
    [{ image, mask: {} }, 'mask must be the path of a PNG'],
  ])('are refused before anything is read: %j', (options, message) => {
    expect(() => checkGivenImage(options as GivenImageOptions, names)).toThrow(message);
  });

  it('are none without an image', () => expect(checkGivenImage({}, names)).toBeUndefined());

  it('a mask has the size of its image', async () => {
    const mask = { width: 4, height: 6, data: new Uint8Array(24).fill(255) };
    await expect(read({ image, mask })).rejects.toThrow(
      'mask: the mask has 4 x 6 pixels, the image 6 x 4; they must have the same size',
    );
  });
});
