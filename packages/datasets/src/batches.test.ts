/**
 * Laws: an epoch's batches are disjoint and together (up to the remainder) a permutation; a batch depends on seed and
 * step alone, whatever was asked before; other epochs and seeds have other orders.
 */
import { int32, OptionError, type DatasetSplit } from '@dimo/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createBatchIndices, imagesAt, labelsAt, shuffledSubset } from './batches.js';

const split: DatasetSplit = {
  count: 3,
  pixels: Uint8Array.from([0, 51, 102, 153, 204, 255]),
  labels: int32([3], [4, 5, 6]),
};

describe('createBatchIndices', () => {
  it('visits every image at most once per epoch', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 40 }), fc.nat(3), (a, b, epoch) => {
        const count = Math.max(a, b);
        const batchSize = Math.min(a, b);
        const batch = createBatchIndices({ count, batchSize, seed: 5 });
        const perEpoch = Math.floor(count / batchSize);
        const seen = Array.from({ length: perEpoch }, (_, i) => [...batch(epoch * perEpoch + i)]).flat();
        expect(new Set(seen).size).toBe(perEpoch * batchSize);
        expect(seen.every((index) => index >= 0 && index < count)).toBe(true);
      }),
    );
  });

  it('depends on the step alone, not on what was asked before', () => {
    const inOrder = createBatchIndices({ count: 10, batchSize: 3, seed: 1 });
    const steps = [0, 1, 2, 3, 4, 5, 6];
    const expected = steps.map((step) => [...inOrder(step)]);
    const backwards = createBatchIndices({ count: 10, batchSize: 3, seed: 1 });
    expect(
      [...steps]
        .reverse()
        .map((step) => [...backwards(step)])
        .reverse(),
    ).toEqual(expected);
  });

  it('has another order for another epoch, seed and stream', () => {
    const first = (seed: number, step: number, stream?: string): string =>
      createBatchIndices({ count: 100, batchSize: 100, seed, ...(stream === undefined ? {} : { stream }) })(
        step,
      ).join();
    const orders = [first(0, 0), first(0, 1), first(1, 0), first(0, 0, 'other')];
    expect(new Set(orders).size).toBe(4);
  });

  it('refuses batches that no epoch has', () => {
    for (const batchSize of [0, -1, 1.5, 11, NaN])
      expect(() => createBatchIndices({ count: 10, batchSize, seed: 0 })).toThrow(OptionError);
    expect(() => createBatchIndices({ count: 10, batchSize: 5, seed: 0 })(-1)).toThrow(OptionError);
  });
});

describe('images and labels', () => {
  it('scales bytes to [0, 1] in the order of the indices', () => {
    const images = imagesAt({ imageShape: [1, 2, 1] }, split, [2, 0]);
    expect(images.shape).toEqual([2, 1, 2, 1]);
    expect([...images.data]).toEqual([204 / 255, 1, 0, 51 / 255].map(Math.fround));
    expect([...labelsAt(split, [2, 0]).data]).toEqual([6, 4]);
  });

  it('refuses indices outside the split', () => {
    for (const index of [-1, 3, 0.5]) {
      expect(() => imagesAt({ imageShape: [1, 2, 1] }, split, [index])).toThrow(OptionError);
      expect(() => labelsAt(split, [index])).toThrow(OptionError);
    }
  });

  it('takes distinct images for a subset and refuses more than there are', () => {
    const subset = shuffledSubset(1000, 300, 3);
    expect(new Set(subset).size).toBe(300);
    expect(Math.max(...subset)).toBeGreaterThan(900);
    expect(() => shuffledSubset(10, 11, 0)).toThrow(OptionError);
  });
});
