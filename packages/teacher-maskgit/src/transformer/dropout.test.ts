/** Dropout from given numbers, and the classes that are drawn. */
import { randomStream } from '@dimo/core';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { classConditions } from '../class-conditions.js';
import { applyDropout, attentionWithDropout } from './dropout.js';

beforeAll(() => tf.setBackend('cpu'));

describe('dropout', () => {
  it('drops what is below the rate and scales the rest by 1 / (1 - rate)', () => {
    const x = tf.tensor2d([[1, 2, 3, 4]]);
    const uniforms = { site: tf.tensor2d([[0, 0.2, 0.24, 0.99]]) };
    const dropped = applyDropout(x, 'site', { rate: 0.24, uniforms });
    // A number equal to the rate (in float32) is kept.
    Array.from(dropped.dataSync()).forEach((value, i) => expect(value).toBeCloseTo([0, 0, 3 / 0.76, 4 / 0.76][i]!, 5));
    expect(applyDropout(x, 'site', undefined)).toBe(x);
  });

  it('keeps the mean', () => {
    const uniforms = { site: tf.tensor1d(randomStream(1, 0, 'dropout').uniform(20_000)) };
    const mean = tf.mean(applyDropout(tf.ones([20_000]), 'site', { rate: 0.3, uniforms })).dataSync()[0]!;
    // Standard error sqrt(0.3 / 0.7 / 20,000) = 0.0046.
    expect(Math.abs(mean - 1)).toBeLessThan(0.02);
  });

  it('acts on the probabilities of attention after the softmax, head by head', () => {
    // Equal scores: probabilities 1/2. Head 0 loses the second value, head 1 the first, at both positions.
    const zero = tf.zeros([1, 2, 2]) as tf.Tensor3D;
    const value = tf.tensor3d([
      [
        [1, 10],
        [3, 30],
      ],
    ]);
    const uniforms = { mha: tf.tensor4d([0.9, 0.1, 0.9, 0.1, 0.1, 0.9, 0.1, 0.9], [1, 2, 2, 2]) };
    const result = attentionWithDropout([zero, zero, value], 2, 'mha', { rate: 0.5, uniforms });
    expect([...result.dataSync()]).toEqual([1, 30, 1, 30]);
  });
});

describe('classes', () => {
  it('are drawn uniformly, all of them and "no class" never', async () => {
    const drawn = await classConditions({ numClasses: 5 }).sample(randomStream(3, 1, 'classes'), 5000);
    const label = drawn['label']!;
    expect(label.shape).toEqual([5000]);
    const counts = [0, 1, 2, 3, 4].map((id) => Array.from(label.data).filter((value) => value === id).length);
    expect(counts.reduce((a, b) => a + b)).toBe(5000);
    // Binomial(5000, 1/5): standard deviation 28.
    counts.forEach((count) => expect(Math.abs(count - 1000)).toBeLessThan(130));
    expect([...label.data.slice(0, 4)]).toEqual([...randomStream(3, 1, 'classes').integers(4, 5)]);
  });
});
