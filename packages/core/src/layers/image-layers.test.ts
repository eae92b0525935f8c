/**
 * Layers against values worked by hand and their gradients against central differences: float32 sums of order 10 have a
 * rounding error of about 1e-6, divided by the step 2e-2 that is 1e-4 relative.
 */
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import '../gradients.js';
import { randomStream } from '../random/random.js';
import type { TensorTree } from '../tensors/tensors.js';
import { convolution, doublingConvolution, groupNorm, silu, upsampleNearest } from './image-layers.js';
import { nearestCodes } from './nearest-codes.js';

beforeAll(() => tf.setBackend('cpu'));

function normal(name: string, shape: number[]): tf.Tensor {
  return tf.tensor(randomStream(3, 0, name).normal(tf.util.sizeFromShape(shape)), shape);
}

/** Largest |gradient - central difference| of sum(upstream * f(tree)) over all entries of all tensors. */
function gradientError(f: (tree: TensorTree) => tf.Tensor, shapes: Record<string, number[]>): number {
  const names = Object.keys(shapes);
  const values = names.map((name) => normal(name, shapes[name]!));
  const treeOf = (tensors: tf.Tensor[]) => Object.fromEntries(names.map((name, i) => [name, tensors[i]!]));
  const upstream = normal('upstream', f(treeOf(values)).shape);
  const total = (...tensors: tf.Tensor[]) => tf.sum(tf.mul(f(treeOf(tensors)), upstream)) as tf.Scalar;
  const gradients = tf.grads(total)(values);
  let worst = 0;
  values.forEach((value, index) => {
    const numbers = value.dataSync();
    const gradient = gradients[index]!.dataSync();
    for (let i = 0; i < numbers.length; i++) {
      const at = (delta: number) =>
        tf.tidy(() => {
          const changed = numbers.slice();
          changed[i]! += delta;
          const tensors = [...values];
          tensors[index] = tf.tensor(changed, value.shape);
          return total(...tensors).dataSync()[0]!;
        });
      worst = Math.max(worst, Math.abs((at(1e-2) - at(-1e-2)) / 2e-2 - gradient[i]!));
    }
  });
  return worst;
}

describe('upsampleNearest', () => {
  it('repeats each pixel twice in both directions', () => {
    const x = tf.tensor4d([1, 10, 2, 20, 3, 30, 4, 40], [1, 2, 2, 2]);
    expect(Array.from(tf.unstack(upsampleNearest(x), 3)[0]!.dataSync())).toEqual([
      1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 4, 4, 3, 3, 4, 4,
    ]);
  });
  it('has the right gradient for a batch', () =>
    expect(gradientError(({ x }) => upsampleNearest(x as tf.Tensor4D), { x: [2, 2, 3, 2] })).toBeLessThan(2e-3));
});

describe('groupNorm', () => {
  it('normalizes each sample and group on its own', () => {
    // Group 0 of the only sample holds 1, 3 (mean 2, variance 1); group 1 holds 10, 30 (mean 20, variance 100).
    const x = tf.tensor4d([1, 10, 3, 30], [1, 1, 2, 2]);
    const weights = { 'n.weight': tf.tensor1d([1, 2]), 'n.bias': tf.tensor1d([0, 5]) };
    const y = groupNorm(weights, 'n', x, { numGroups: 2, epsilon: 0 }).dataSync();
    [-1, 3, 1, 7].forEach((value, i) => expect(y[i]).toBeCloseTo(value, 5));
  });
  it('has the right gradients', () =>
    expect(
      gradientError((tree) => groupNorm(tree, 'n', tree['x'] as tf.Tensor4D, { numGroups: 2, epsilon: 1e-5 }), {
        x: [2, 2, 2, 4],
        'n.weight': [4],
        'n.bias': [4],
      }),
    ).toBeLessThan(5e-3));
});

describe('convolutions', () => {
  it('read weights as [out, in, rows, columns]', () => {
    // One output, two inputs: the left neighbour of input 0 plus 10 times the pixel below of input 1, plus 0.5.
    const weight = new Float32Array(18);
    weight[3] = 1; // input 0, row 1, column 0
    weight[9 + 7] = 10; // input 1, row 2, column 1
    const weights = { 'c.weight': tf.tensor(weight, [1, 2, 3, 3]), 'c.bias': tf.tensor1d([0.5]) };
    const x = tf.tensor4d([1, 5, 2, 6, 3, 7, 4, 8], [1, 2, 2, 2]);
    const y = convolution(weights, 'c', x, { padding: 1 });
    expect(Array.from(y.dataSync())).toEqual([70.5, 81.5, 0.5, 3.5]);
  });
  it.each([
    ['3 x 3 with padding', { size: 3, stride: 1, padding: 1 }],
    ['4 x 4 with stride 4', { size: 4, stride: 4, padding: 0 }],
    ['1 x 1', { size: 1, stride: 1, padding: 0 }],
  ] as const)('%s has the right gradients', (_, { size, ...options }) =>
    expect(
      gradientError((tree) => convolution(tree, 'c', tree['x'] as tf.Tensor4D, options), {
        x: [2, 4, 4, 2],
        'c.weight': [3, 2, size, size],
        'c.bias': [3],
      }),
    ).toBeLessThan(5e-3),
  );
  it('doubling is the transposed convolution with kernel 4, stride 2, padding 1', () => {
    // A single 1 at (0, 0) puts the kernel's rows 1..3 and columns 1..3 at the output's top left.
    const weights = {
      'u.weight': tf.tensor(
        Float32Array.from({ length: 16 }, (_, i) => i),
        [1, 1, 4, 4],
      ),
      'u.bias': tf.zeros([1]),
    };
    const x = tf.tensor4d([1, 0, 0, 0], [1, 2, 2, 1]);
    const y = doublingConvolution(weights, 'u', x);
    expect(y.shape).toEqual([1, 4, 4, 1]);
    expect(Array.from(y.dataSync())).toEqual([5, 6, 7, 0, 9, 10, 11, 0, 13, 14, 15, 0, 0, 0, 0, 0]);
  });
  it('doubling has the right gradients', () =>
    expect(
      gradientError((tree) => doublingConvolution(tree, 'u', tree['x'] as tf.Tensor4D), {
        x: [2, 2, 2, 2],
        'u.weight': [2, 3, 4, 4],
        'u.bias': [3],
      }),
    ).toBeLessThan(5e-3));
});

it('silu is x * sigmoid(x) with the right gradient', () => {
  expect(silu(tf.scalar(1)).dataSync()[0]).toBeCloseTo(0.7310586, 6);
  expect(gradientError(({ x }) => silu(x!), { x: [7] })).toBeLessThan(2e-3);
});

describe('nearestCodes', () => {
  it('takes the nearest code, the first one of equals', () => {
    const codebook = tf.tensor2d([0, 0, 3, 4, 3, 4, -1, 0], [4, 2]);
    const vectors = tf.tensor2d([0.4, 0, 3, 3.9, -0.6, 0], [3, 2]);
    expect(Array.from(nearestCodes(vectors, codebook).dataSync())).toEqual([0, 1, 3]);
  });
});
