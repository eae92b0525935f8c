import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { updateCodebook } from './codebook-average.js';

beforeAll(() => tf.setBackend('cpu'));

const rows = (t: tf.Tensor) => Array.from(t.dataSync(), (value) => Math.round(value * 1e4) / 1e4);

describe('updateCodebook', () => {
  // Two codes; three vectors, of which two choose code 0.
  const batch = {
    vectors: tf.tensor2d([1, 0, 3, 0, 10, 10], [3, 2]),
    codes: tf.tensor1d([0, 0, 1], 'int32'),
    reseedUniforms: tf.tensor1d([0.5, 0.999]),
    reseedBelow: tf.scalar(0),
  };
  const state = {
    codebook: tf.tensor2d([0, 0, 10, 9], [2, 2]),
    counts: tf.tensor1d([2, 1]),
    sums: tf.tensor2d([0, 0, 10, 9], [2, 2]),
  };

  it('moves codes to the averages of their vectors', () => {
    const next = updateCodebook(state, batch, 0.5);
    expect(rows(next.counts)).toEqual([2, 1]);
    // Sums: (0 + 4) / 2 = 2 over a count of 2; (10 + 10) / 2 and (9 + 10) / 2 over 1.
    expect(rows(next.codebook)).toEqual([1, 0, 10, 9.5]);
    expect(next.numReseeded.dataSync()[0]).toBe(0);
    // Frequencies 2/3 and 1/3: exp(-(2/3 ln 2/3 + 1/3 ln 1/3)) = 1.8899.
    expect(next.perplexity.dataSync()[0]).toBeCloseTo(1.8899, 3);
  });

  it('leaves a code that was never chosen where it is', () => {
    const unused = { codebook: tf.tensor2d([0, 0, 7, 8], [2, 2]), counts: tf.zeros([2]), sums: tf.zeros([2, 2]) };
    const all = { ...batch, codes: tf.zeros([3], 'int32') };
    const next = updateCodebook(unused as typeof state, all as typeof batch, 0.5);
    expect(rows(next.codebook).slice(2)).toEqual([7, 8]);
  });

  it('moves dead codes onto vectors drawn by their squared distance', () => {
    // Distances 1, 9, 1 of 11: a uniform below 1/11 draws the first vector, up to 10/11 the second, then the third.
    const drawn = (uniform: number) => {
      const next = updateCodebook(
        { ...state, counts: tf.tensor1d([2, 0]) },
        {
          ...batch,
          codes: tf.zeros([3], 'int32'),
          vectors: tf.tensor2d([1, 0, 3, 0, 0, 1], [3, 2]),
          reseedUniforms: tf.tensor1d([0, uniform]),
          reseedBelow: tf.scalar(0.25),
        },
        0.5,
      );
      expect(rows(next.counts)[1]).toBe(0.5);
      expect(next.numReseeded.dataSync()[0]).toBe(1);
      const code = rows(next.codebook).slice(2);
      expect(rows(next.sums).slice(2)).toEqual(code.map((value) => value / 2));
      return code;
    };
    expect(drawn(0.05)).toEqual([1, 0]);
    expect(drawn(0.5)).toEqual([3, 0]);
    expect(drawn(0.95)).toEqual([0, 1]);
  });
});
