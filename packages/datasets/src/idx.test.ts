import { DimoError } from '@dimo/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseIdxImages, parseIdxLabels } from './idx.js';

/** Two images of 1 x 2 pixels. */
const images = Uint8Array.from([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 10, 20, 30, 40]);
/** Labels 7, 0, 9. */
const labels = Uint8Array.from([0, 0, 8, 1, 0, 0, 0, 3, 7, 0, 9]);

describe('IDX files', () => {
  it('gives counts, sizes and pixels', () => {
    expect(parseIdxImages(images, 'x')).toEqual({
      count: 2,
      height: 1,
      width: 2,
      pixels: Uint8Array.from([10, 20, 30, 40]),
    });
    expect([...parseIdxLabels(labels, 10, 'x')]).toEqual([7, 0, 9]);
  });

  it('refuses a file of another kind, naming both magic numbers', () => {
    expect(() => parseIdxImages(labels, 'x')).toThrow(/header of 16 bytes, got 11/);
    expect(() => parseIdxLabels(images, 10, 'x')).toThrow(/expected magic number 0x00000801, got 0x00000803/);
  });

  it('refuses labels that are no class', () => {
    expect(() => parseIdxLabels(labels, 9, 'x')).toThrow(/label 2 is 9, expected 0 to 8/);
  });

  it('refuses any other length and axes that overflow', () => {
    expect(() => parseIdxImages(images.subarray(0, 19), 'x')).toThrow(/need a file of 20 bytes, got 19/);
    expect(() => parseIdxImages(Uint8Array.from([...images, 0]), 'x')).toThrow(/got 21/);
    const huge = images.slice();
    huge.fill(255, 4, 16);
    expect(() => parseIdxImages(huge, 'x')).toThrow(DimoError);
  });

  it('ends every changed header in a result or a DimoError', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 24 }), fc.nat(20), (noise, length) => {
        const bytes = images.slice(0, length);
        bytes.set(noise.subarray(0, bytes.length));
        for (const parse of [() => parseIdxImages(bytes, 'x'), () => parseIdxLabels(bytes, 10, 'x')])
          try {
            parse();
          } catch (error) {
            expect(DimoError.isInstance(error)).toBe(true);
          }
      }),
    );
  });
});
