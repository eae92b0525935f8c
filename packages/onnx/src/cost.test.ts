/** Costs worked by hand. */
import { attention, linear, type PureFunction, type SpecTree } from '@dimo/core';
import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { graphCost } from './cost.js';
import { trace } from './trace.js';

const spec = (...shape: number[]) => ({ dtype: 'float32' as const, shape });
const costOf = (fn: PureFunction, state: SpecTree, inputs: SpecTree) => graphCost(trace(fn, { state, inputs }));

describe('graphCost', () => {
  it('of a product [2, 3] x [3, 5] is 2 * 2 * 3 * 5 operations, also transposed and in a linear layer', () => {
    const product =
      (transposed: boolean): PureFunction =>
      (_, { a, b }) => ({
        outputs: { c: tf.matMul(a as tf.Tensor2D, b as tf.Tensor2D, false, transposed) },
      });
    expect(costOf(product(false), {}, { a: spec(2, 3), b: spec(3, 5) }).matrixOperations).toBe(60);
    expect(costOf(product(true), {}, { a: spec(2, 3), b: spec(5, 3) }).matrixOperations).toBe(60);
    const layer: PureFunction = ({ w, bias }, { x }) => ({ outputs: { y: linear(x!, w!, bias!) } });
    expect(costOf(layer, { w: spec(5, 3), bias: spec(5) }, { x: spec(1, 2, 3) }).matrixOperations).toBe(60);
  });

  it('of a convolution of 3 x 3 from 2 to 4 channels on 5 x 5 pixels is 2 * 25 * 4 * 2 * 9', () => {
    const fn: PureFunction = (_, { x, w }) => ({
      outputs: { y: tf.conv2d(x as tf.Tensor4D, w as tf.Tensor4D, 1, 'same') },
    });
    expect(costOf(fn, {}, { x: spec(1, 5, 5, 2), w: spec(3, 3, 2, 4) }).matrixOperations).toBe(3600);
  });

  it('of attention from 3 to 5 positions of width 8 is 2 * 3 * 5 * 8 for scores and as much for values', () => {
    const fn: PureFunction = (_, { q, k, v }) => ({
      outputs: { y: attention(q as tf.Tensor3D, k as tf.Tensor3D, v as tf.Tensor3D, { numHeads: 2 }) },
    });
    const inputs = { q: spec(1, 3, 8), k: spec(1, 5, 8), v: spec(1, 5, 8) };
    expect(costOf(fn, {}, inputs).matrixOperations).toBe(2 * 240);
  });

  it('counts what other operators move, and how much is alive at once', () => {
    // relu reads 400 bytes and writes 400; the product of that with itself reads 800 and writes 400.
    const fn: PureFunction = (_, { x }) => {
      const positive = tf.relu(x!);
      return { outputs: { y: tf.sum(tf.mul(positive, positive)) } };
    };
    const { otherBytes, peakBytes, matrixOperations } = costOf(fn, {}, { x: spec(100) });
    expect(matrixOperations).toBe(0);
    expect(otherBytes).toBeGreaterThanOrEqual(2000);
    expect(otherBytes).toBeLessThan(2600);
    expect(peakBytes).toBe(800);
  });
});
