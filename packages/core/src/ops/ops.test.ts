/**
 * Values of the fusable ops against worked examples and their hand-written gradients against central differences.
 * The cpu backend of tfjs keeps float32, so a central difference with step h has an error of about 1e-7 |f| / h.
 */
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import '../gradients.js';
import { randomStream } from '../random/random.js';
import { attention, embedding, gelu, layerNorm, linear, sampleCategorical } from './index.js';

beforeAll(() => tf.setBackend('cpu'));

function normal(name: string, shape: number[]): tf.Tensor {
  return tf.tensor(randomStream(7, 0, name).normal(tf.util.sizeFromShape(shape)), shape);
}

/** Largest |analytic - central difference| over all entries of all arguments, for sum(weights * f(args)). */
function gradientError(f: (...args: tf.Tensor[]) => tf.Tensor, args: tf.Tensor[], h = 1e-2): number {
  const weights = tf.tidy(() => normal('upstream', f(...args).shape));
  const scalarOf = (...xs: tf.Tensor[]) => tf.sum(tf.mul(f(...xs), weights));
  const analytic = tf.grads((...xs: tf.Tensor[]) => tf.sum(tf.mul(f(...xs), weights)) as tf.Scalar)(args);
  let worst = 0;
  args.forEach((arg, index) => {
    const values = arg.dataSync();
    const gradient = analytic[index]!.dataSync();
    for (let i = 0; i < values.length; i++) {
      const shifted = (delta: number) => {
        const copy = Float32Array.from(values);
        copy[i] = copy[i]! + delta;
        return tf.tidy(() => {
          const changed = [...args];
          changed[index] = tf.tensor(copy, arg.shape);
          return scalarOf(...changed).dataSync()[0]!;
        });
      };
      worst = Math.max(worst, Math.abs((shifted(h) - shifted(-h)) / (2 * h) - gradient[i]!));
    }
  });
  return worst;
}

describe('values', () => {
  it('linear is x W^T + b on the last axis', () => {
    const y = linear(
      tf.tensor3d([[[1, 2]], [[3, 4]]]),
      tf.tensor2d([
        [1, 0],
        [0, 1],
        [1, 1],
      ]),
      tf.tensor1d([0, 10, 20]),
    );
    expect(y.shape).toEqual([2, 1, 3]);
    expect([...y.dataSync()]).toEqual([1, 12, 23, 3, 14, 27]);
  });

  it('layerNorm of (1, 3) is (-1, 1) before scale and offset', () => {
    // mean 2, variance 1
    const y = layerNorm(tf.tensor2d([[1, 3]]), tf.tensor1d([2, 2]), tf.tensor1d([1, 1]), { epsilon: 0 });
    expect([...y.dataSync()]).toEqual([-1, 3]);
  });

  it('gelu(1) is Phi(1)', () => {
    expect(gelu(tf.scalar(1)).dataSync()[0]).toBeCloseTo(0.8413447, 6);
    // 0.5 (1 + tanh(sqrt(2/pi) 1.044715))
    expect(gelu(tf.scalar(1), { approximate: 'tanh' }).dataSync()[0]).toBeCloseTo(0.841192, 5);
  });

  it('attention with equal scores averages the values of each head', () => {
    const zero = tf.zeros([1, 2, 4]) as tf.Tensor3D;
    const value = tf.tensor3d([
      [
        [1, 2, 3, 4],
        [3, 6, 9, 12],
      ],
    ]);
    expect([...attention(zero, zero, value, { numHeads: 2 }).dataSync()]).toEqual([2, 4, 6, 8, 2, 4, 6, 8]);
  });

  it('attention is computed per head with scale 1/sqrt(headWidth)', () => {
    // One head of width 1: scores q*k = [0, ln 3], so probabilities are 1/4 and 3/4.
    const query = tf.tensor3d([[[1], [1]]]);
    const key = tf.tensor3d([[[0], [Math.log(3)]]]);
    const value = tf.tensor3d([[[4], [8]]]);
    const y = attention(query, key, value, { numHeads: 1 }).dataSync();
    expect(y[0]).toBeCloseTo(7, 5);
  });

  it('causal attention averages the values up to each position', () => {
    const zero = tf.zeros([1, 3, 1]) as tf.Tensor3D;
    const value = tf.tensor3d([[[1], [3], [8]]]);
    const y = attention(zero, zero, value, { numHeads: 1, causal: true }).dataSync();
    expect([...y]).toEqual([1, 2, expect.closeTo(4, 5)]);
  });

  it('causal attention refuses another number of keys', () => {
    const query = tf.zeros([1, 2, 4]) as tf.Tensor3D;
    const keys = tf.zeros([1, 3, 4]) as tf.Tensor3D;
    expect(() => attention(query, keys, keys, { numHeads: 2, causal: true })).toThrow(/got 3 and 2/);
  });
});

describe('gradients equal central differences', () => {
  it('linear', () => {
    expect(
      gradientError((x, w, b) => linear(x!, w!, b!), [normal('x', [2, 3, 4]), normal('w', [5, 4]), normal('b', [5])]),
    ).toBeLessThan(2e-3);
  });
  it('layerNorm', () => {
    const args = [normal('x', [3, 6]), normal('scale', [6]), normal('offset', [6])];
    expect(gradientError((x, s, o) => layerNorm(x!, s!, o!, { epsilon: 1e-5 }), args)).toBeLessThan(5e-3);
  });
  it.each(['none', 'tanh'] as const)('gelu, approximate %s', (approximate) => {
    expect(gradientError((x) => gelu(x!, { approximate }), [normal('x', [20])])).toBeLessThan(2e-3);
  });
  it.each([false, true])('attention, causal %s', (causal) => {
    const args = ['q', 'k', 'v'].map((name) => normal(name, [2, 3, 4]));
    expect(
      gradientError(
        (q, k, v) => attention(q as tf.Tensor3D, k as tf.Tensor3D, v as tf.Tensor3D, { numHeads: 2, causal }),
        args,
      ),
    ).toBeLessThan(3e-3);
  });
  it('embedding, with an id used twice and one unused', () => {
    const ids = tf.tensor2d(
      [
        [0, 2],
        [2, 3],
      ],
      [2, 2],
      'int32',
    );
    expect(gradientError((table) => embedding(table!, ids), [normal('table', [5, 3])])).toBeLessThan(2e-3);
  });
});

describe('sampleCategorical', () => {
  it('returns the first id whose cumulative probability exceeds the uniform number', () => {
    // probabilities 1/2, 1/4, 1/4
    const logits = tf.tensor3d([
      [
        [Math.log(2), 0, 0],
        [Math.log(2), 0, 0],
        [Math.log(2), 0, 0],
      ],
    ]);
    expect([...sampleCategorical(logits, tf.tensor2d([[0.49, 0.51, 0.76]])).dataSync()]).toEqual([0, 1, 2]);
  });

  it('stays below the number of logits and never draws an excluded id', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1e6 }), fc.integer({ min: 2, max: 9 }), (seed, numLogits) => {
        const draws = randomStream(seed, 0, 'test');
        const values = draws.normal(6 * numLogits);
        for (let row = 0; row < 6; row++) values[row * numLogits + numLogits - 1] = -1e9;
        const ids = tf.tidy(() =>
          sampleCategorical(tf.tensor3d(values, [2, 3, numLogits]), tf.tensor2d(draws.uniform(6), [2, 3])).dataSync(),
        );
        expect(Math.max(...ids)).toBeLessThan(numLogits - 1);
        expect(Math.min(...ids)).toBeGreaterThanOrEqual(0);
      }),
      { numRuns: 50 },
    );
  });

  it('follows the distribution, and rows are independent', () => {
    const count = 4000;
    const draws = randomStream(3, 0, 'chi-square');
    const logits = tf.tile(tf.tensor3d([[[0, 1, 2]]]), [count, 2, 1]) as tf.Tensor3D;
    const ids = sampleCategorical(logits, tf.tensor2d(draws.uniform(count * 2), [count, 2])).dataSync();
    const total = 1 + Math.E + Math.E ** 2;
    const p = [1 / total, Math.E / total, Math.E ** 2 / total];
    let chiSquare = 0;
    for (let a = 0; a < 3; a++)
      for (let b = 0; b < 3; b++) {
        let seen = 0;
        for (let i = 0; i < count; i++) if (ids[2 * i] === a && ids[2 * i + 1] === b) seen++;
        const expected = count * p[a]! * p[b]!;
        chiSquare += (seen - expected) ** 2 / expected;
      }
    // 8 degrees of freedom: P(chi-square > 26.1) = 0.001
    expect(chiSquare).toBeLessThan(26.1);
  });
});

it('disposes everything it makes', () => {
  const args = [normal('x', [3, 6]), normal('scale', [6]), normal('offset', [6])];
  const before = tf.memory().numTensors;
  tf.tidy(() => void layerNorm(gelu(args[0]!), args[1]!, args[2]!, { epsilon: 1e-5 }).dataSync());
  expect(tf.memory().numTensors).toBe(before);
});
