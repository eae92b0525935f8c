/** Resizing against Pillow and NumPy (fixtures/make_resize.py): bytes exactly, floating point to the digits of the file. */
import { OptionError } from '@dimo/core';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { resizeImages, type PixelBatch, type ResizeMethod } from './resize.js';

interface Case {
  readonly size: [number, number];
  readonly method: ResizeMethod;
  readonly rounds: boolean;
  readonly values: number[];
}
const fixture = JSON.parse(readFileSync(new URL('../../fixtures/resize.json', import.meta.url), 'utf8')) as {
  readonly height: number;
  readonly width: number;
  readonly cases: Case[];
};
const { height, width } = fixture;
const pixels = Uint8Array.from({ length: height * width * 3 }, (_, i) => {
  const [y, x, c] = [Math.floor(i / 3 / width), Math.floor(i / 3) % width, i % 3];
  return (x * 37 + y * 59 + c * 101 + x * y * 7) % 256;
});
const image: PixelBatch = { count: 1, height, width, channels: 3, data: pixels };

describe('resizing', () => {
  it.each(fixture.cases)(
    'is that of the original: $method to $size, to bytes: $rounds',
    ({ size, method, rounds, values }) => {
      const { data } = resizeImages(image, size, method, { rounds });
      expect(data).toHaveLength(values.length);
      // float32 at 255 has steps of 1.5e-5, the file four digits.
      const tolerance = rounds ? 0 : 1.2e-4;
      values.forEach((value, i) => {
        if (!(Math.abs(data[i]! - value) <= tolerance)) expect.fail(`value ${i}: ${data[i]}, expected ${value}`);
      });
    },
  );

  it('takes each image of a batch alone', () => {
    const other = pixels.map((value) => 255 - value);
    const both = Uint8Array.from([...pixels, ...other]);
    const resized = resizeImages({ ...image, count: 2, data: both }, [6, 4], 'bicubic');
    expect(resized.data.slice(6 * 4 * 3)).toEqual(resizeImages({ ...image, data: other }, [6, 4], 'bicubic').data);
  });

  it('leaves an image of the size as it is, and refuses sizes that are none', () => {
    expect(resizeImages(image, [height, width], 'lanczos')).toBe(image);
    expect(() => resizeImages(image, [0, 4], 'bicubic')).toThrow(OptionError);
  });
});
