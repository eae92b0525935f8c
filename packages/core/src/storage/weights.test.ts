import { describe, expect, it } from 'vitest';
import { float32, int32 } from '../tensors/tensors.js';
import { copyTree, largestDifference, treeDifference } from './weights.js';

const tree = { a: float32([2], [0, 1]), b: int32([1], [3]) };

describe('weight trees', () => {
  it('copies share no memory', () => {
    const copy = copyTree(tree);
    expect(treeDifference(tree, copy)).toBeUndefined();
    (copy['a']?.data as Float32Array)[1] = 5;
    expect(tree.a.data[1]).toBe(1);
    expect(treeDifference(tree, copy)).toBe('"a" at element 1: 1 and 5');
  });

  it('compares bits: signed zeros differ, equal NaNs do not', () => {
    expect(treeDifference({ x: float32([1], [0]) }, { x: float32([1], [-0]) })).toMatch(/element 0/);
    expect(treeDifference({ x: float32([1], [NaN]) }, { x: float32([1], [NaN]) })).toBeUndefined();
    expect(treeDifference(tree, { a: tree.a })).toBe('missing: "b" int32 [1]');
    expect(treeDifference({ a: tree.a }, tree)).toBe('extra: "b" int32 [1]');
  });

  it('finds the largest difference', () => {
    expect(largestDifference(tree, { a: float32([2], [0.25, 3]), b: tree.b })).toEqual({
      name: 'a',
      index: 1,
      value: 2,
    });
    expect(largestDifference(tree, { a: float32([2], [NaN, 3]), b: tree.b }).value).toBeNaN();
    expect(() => largestDifference(tree, { a: tree.a })).toThrow(/missing: "b"/);
  });
});
