import { float32, type HostTensor } from '@dimo/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fitted, inChannels } from './fit.js';

function close(actual: HostTensor<'float32'>, shape: readonly number[], expected: readonly number[]): void {
  expect(actual.shape).toEqual(shape);
  expect(actual.data.length).toBe(expected.length);
  expected.forEach((value, i) => expect(actual.data[i]).toBeCloseTo(value, 6));
}

describe('an image in another size', () => {
  it('is the same where it has that size', () => {
    const image = float32([2, 3, 1], [0, 0.1, 0.2, 0.3, 0.4, 0.5]);
    expect(fitted(image, [2, 3])).toBe(image);
  });

  it('is the mean over what each new pixel covers', () => {
    const image = float32([2, 4, 1], [0, 1, 0.5, 0.5, 1, 0, 0.25, 0.75]);
    close(fitted(image, [1, 2]), [1, 2, 1], [0.5, 0.5]);
    // Three pixels to two: one and a half each.
    close(fitted(float32([3, 3, 1], [0, 0.3, 0.9, 0, 0.3, 0.9, 0, 0.3, 0.9]), [2, 2]), [2, 2, 1], [0.1, 0.7, 0.1, 0.7]);
  });

  it('is cut at both ends of its longer side', () => {
    const wide = float32([1, 4, 2], [1, 1, 0.2, 0.3, 0.4, 0.5, 1, 1]);
    close(fitted(wide, [1, 2]), [1, 2, 2], [0.2, 0.3, 0.4, 0.5]);
    const tall = float32([4, 1, 1], [1, 0.2, 0.4, 1]);
    close(fitted(tall, [2, 1]), [2, 1, 1], [0.2, 0.4]);
    // An odd number over: half a pixel at each end.
    close(fitted(float32([1, 3, 1], [0, 0.5, 1]), [1, 2]), [1, 2, 1], [0.25, 0.75]);
  });

  it('is enlarged to squares', () => {
    close(fitted(float32([1, 2, 1], [0.2, 0.6]), [2, 4]), [2, 4, 1], [0.2, 0.2, 0.6, 0.6, 0.2, 0.2, 0.6, 0.6]);
  });

  it('of one colour stays so, whatever the sizes', () => {
    const side = fc.integer({ min: 1, max: 40 });
    fc.assert(
      fc.property(side, side, side, side, (height, width, newHeight, newWidth) => {
        const image = float32([height, width, 1], new Float32Array(height * width).fill(0.375));
        const { data } = fitted(image, [newHeight, newWidth]);
        expect(data.length).toBe(newHeight * newWidth);
        for (const value of data) expect(value).toBeCloseTo(0.375, 6);
      }),
      { seed: 3 },
    );
  });
});

describe('an image in other channels', () => {
  it('becomes gray by luma, and colour by repetition', () => {
    close(inChannels(float32([1, 1, 3], [1, 0.5, 0.25]), 1), [1, 1, 1], [0.299 + 0.5 * 0.587 + 0.25 * 0.114]);
    close(inChannels(float32([1, 1, 1], [0.3]), 3), [1, 1, 3], [0.3, 0.3, 0.3]);
    // Gray stays what it is, to the last bit.
    const grays = Float32Array.from({ length: 256 }, (_, i) => i / 255);
    expect(inChannels(float32([16, 16, 2], Float32Array.from([...grays].flatMap((v) => [v, 1]))), 1).data).toEqual(
      grays,
    );
  });

  it('is laid over white, or another background, where the model has no opacity', () => {
    close(inChannels(float32([1, 1, 4], [1, 0, 0.5, 0.5]), 3), [1, 1, 3], [1, 0.5, 0.75]);
    close(inChannels(float32([1, 1, 2], [1, 0.25]), 1, 0), [1, 1, 1], [0.25]);
  });

  it('keeps opacity where the model has it, and is opaque without', () => {
    close(inChannels(float32([1, 1, 2], [0.5, 0.25]), 4), [1, 1, 4], [0.5, 0.5, 0.5, 0.25]);
    close(inChannels(float32([1, 1, 3], [0.1, 0.2, 0.3]), 4), [1, 1, 4], [0.1, 0.2, 0.3, 1]);
  });
});
