/** Public functions called with wrong numbers and arrays: each refuses with a DimoError. */
import { DimoError, int32, type DatasetSplit } from '@dimo/core';
import { describe, expect, it } from 'vitest';
import { labelsAt, parseIdxImages, parseIdxLabels, shuffledSubset } from './index.js';

const split: DatasetSplit = { count: 2, pixels: new Uint8Array(8), labels: int32([2]) };
const noCounts = [NaN, Infinity, -1, 0.5, 1e18];
const idx = (...bytes: number[]) => Uint8Array.from(bytes);

const refused: [string, () => unknown][] = [
  ...noCounts.flatMap((n): [string, () => unknown][] => [
    [`a subset of ${n}`, () => shuffledSubset(10, n, 0)],
    [`a subset from ${n}`, () => shuffledSubset(n, 1, 0)],
    [`label ${n}`, () => labelsAt(split, [n])],
  ]),
  ...[NaN, Infinity, -1, 0.5].map((n): [string, () => unknown] => [`seed ${n}`, () => shuffledSubset(10, 1, n)]),
  ['fewer labels than images', () => labelsAt({ ...split, labels: int32([1]) }, [1])],
  ['an empty file', () => parseIdxImages(idx(), 'x')],
  [
    'a header alone',
    () => parseIdxImages(idx(0, 0, 8, 3, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255), 'x'),
  ],
  ['labels of another kind', () => parseIdxLabels(idx(0, 0, 8, 3, 0, 0, 0, 0), 10, 'x')],
  ['a label that is no class', () => parseIdxLabels(idx(0, 0, 8, 1, 0, 0, 0, 1, 10), 10, 'x')],
];

describe('wrong numbers and arrays', () => {
  it.each(refused)('%s', (_name, call) => {
    let thrown: unknown;
    try {
      call();
    } catch (error) {
      thrown = error;
    }
    expect(DimoError.isInstance(thrown), `must be refused by a DimoError, came ${String(thrown)}`).toBe(true);
  });
});
