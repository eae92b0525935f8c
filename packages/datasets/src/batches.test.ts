/** Laws of subsets: distinct, in range, and a matter of the seed alone; labels are those of the images. */
import { int32, OptionError, type DatasetSplit } from '@dimo/core';
import { describe, expect, it } from 'vitest';
import { labelsAt, shuffledSubset } from './batches.js';

const split: DatasetSplit = {
  count: 3,
  pixels: Uint8Array.from([0, 51, 102, 153, 204, 255]),
  labels: int32([3], [4, 5, 6]),
};

describe('subsets and labels', () => {
  it('gives labels in the order of the indices', () => {
    expect([...labelsAt(split, [2, 0]).data]).toEqual([6, 4]);
  });

  it('refuses indices outside the split', () => {
    for (const index of [-1, 3, 0.5]) expect(() => labelsAt(split, [index])).toThrow(OptionError);
  });

  it('takes distinct images for a subset and refuses more than there are', () => {
    const subset = shuffledSubset(1000, 300, 3);
    expect(new Set(subset).size).toBe(300);
    expect(Math.max(...subset)).toBeGreaterThan(900);
    expect(() => shuffledSubset(10, 11, 0)).toThrow(OptionError);
  });
});
