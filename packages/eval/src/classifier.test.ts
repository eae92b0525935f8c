/**
 * The classifier's gradient against finite differences, pooling against values by hand, and its file. That it learns is tested
 * with an engine that is fast enough, in `tests/eval`. Tolerances: float32 sums of a few thousand products, so 1e-3 relative for finite differences.
 */
import {
  eagerEngine,
  float32,
  int32,
  randomStream,
  WeightError,
  writeSafetensors,
  type Dataset,
  type HostTree,
} from '@dimo/core';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor4D } from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  classifierParameters,
  classifierTrainingProgram,
  classify,
  extractFeatures,
  imageSource,
  initializeClassifier,
  maxPool2x2,
  oneCycle,
  readClassifier,
  writeClassifier,
} from './index.js';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

const weights = initializeClassifier(randomStream(3, 0, 'weights'));

function tensors(tree: HostTree): tf.TensorContainerObject & Record<string, tf.Tensor> {
  return Object.fromEntries(Object.entries(tree).map(([name, { data, shape }]) => [name, tf.tensor(data, [...shape])]));
}

describe('maxPool2x2', () => {
  it('takes the maximum of every window, leaves out odd edges and routes the gradient to it', () => {
    // 3 x 5, one channel; windows {1,2,6,7} -> 7 and {3,4,8,8} -> 8 (twice). The last row and column are left out.
    const x = tf.tensor4d([1, 2, 3, 4, 9, 6, 7, 8, 8, 9, 9, 9, 9, 9, 9], [1, 3, 5, 1]);
    expect([...maxPool2x2(x).dataSync()]).toEqual([7, 8]);
    const gradient = tf.grad((input) => tf.mul(maxPool2x2(input as Tensor4D), tf.tensor4d([10, 4], [1, 1, 2, 1])))(x);
    expect([...gradient.dataSync()]).toEqual([0, 0, 0, 0, 0, 0, 10, 2, 2, 0, 0, 0, 0, 0, 0]);
  });

  it('agrees with tf.maxPool', () => {
    const x = tf.tensor4d(randomStream(0, 0, 'x').normal(2 * 7 * 6 * 3), [2, 7, 6, 3]);
    expect(maxPool2x2(x).dataSync()).toEqual(tf.maxPool(x, 2, 2, 'valid').dataSync());
  });
});

describe('classifier', () => {
  it('has the gradient of its loss', () => {
    const images = tf.tensor4d(randomStream(1, 0, 'images').uniform(2 * 784), [2, 28, 28, 1]);
    const dropout = tf.tensor2d(
      Float32Array.from({ length: 256 }, (_, i) => (i % 3 === 0 ? 0 : 1.5)),
      [2, 128],
    );
    const target = tf.tensor2d(randomStream(1, 0, 'target').normal(20), [2, 10]);
    const names = Object.keys(weights);
    const loss = (...values: tf.Tensor[]) => {
      const tree = Object.fromEntries(names.map((name, i) => [name, values[i]!]));
      return tf.sum(tf.mul(classify(tree, images, dropout).logits, target)) as tf.Scalar;
    };
    const values = names.map((name) => tensors(weights)[name]!);
    const gradients = tf.grads(loss)(values);
    for (const [k, name] of names.entries()) {
      // Along a random direction; the loss is piecewise linear in each tensor, so a small step has no curvature.
      const direction = tf.tensor(randomStream(2, k, 'direction').normal(values[k]!.size), values[k]!.shape);
      const epsilon = 1e-4;
      const at = (sign: number) =>
        loss(...values.map((v, i) => (i === k ? tf.add(v, tf.mul(direction, sign * epsilon)) : v))).dataSync()[0]!;
      const numeric = (at(1) - at(-1)) / (2 * epsilon);
      const analytic = tf.sum(tf.mul(gradients[k]!, direction)).dataSync()[0]!;
      // Differences of two float32 losses of size ~10 carry 1e-6 / epsilon = 1e-2 each; larger steps cross kinks.
      expect(Math.abs(numeric - analytic), name).toBeLessThan(0.02 * Math.abs(analytic) + 0.02);
    }
  });

  it('has the size of its dataset', () => {
    const datasetOf = (side: number): Dataset => {
      const split = { count: 128, pixels: new Uint8Array(128 * side * side * 3), labels: int32([128]) };
      return { name: 'colours', imageShape: [side, side, 3], classNames: ['a', 'b'], train: split, test: split };
    };
    const state = classifierTrainingProgram(datasetOf(32)).initialState();
    expect(state['classifier/convolution1.weight']!.shape).toEqual([3, 3, 3, 32]);
    expect(state['classifier/hidden.weight']!.shape).toEqual([128, 4 * 4 * 64]);
    expect(state['classifier/output.weight']!.shape).toEqual([2, 128]);
    // Halved twice to 1 x 1.
    const small = classifierTrainingProgram(datasetOf(4)).initialState();
    expect(small['classifier/hidden.weight']!.shape).toEqual([128, 64]);
  });

  it('comes back from its file with fp16 precision', async () => {
    const back = readClassifier(writeClassifier(weights));
    expect(Object.keys(back.weights).sort()).toEqual(Object.keys(classifierParameters).sort());
    const [a, b] = [weights['hidden.weight']!.data, back.weights['hidden.weight']!.data];
    a.forEach((value, i) => expect(Math.abs(value - b[i]!)).toBeLessThanOrEqual(Math.abs(value) * 2 ** -11 + 2 ** -25));
    expect(() => readClassifier(writeSafetensors({ a: float32([1]) }))).toThrow(WeightError);
  });

  it('rises over the first 30 % and falls to nothing', () => {
    expect(oneCycle(1, 0)).toBeCloseTo(0.04, 12);
    expect(oneCycle(1, 0.15)).toBeCloseTo(0.52, 12);
    expect(oneCycle(1, 0.3)).toBeCloseTo(1, 12);
    expect(oneCycle(1, 1)).toBeCloseTo(4e-6, 12);
  });
});

describe('extractFeatures', () => {
  it('gives the same features whatever the batch size', async () => {
    const engine = eagerEngine('cpu');
    const images = float32([5, 28, 28, 1], randomStream(4, 0, 'images').uniform(5 * 784));
    const extractor = readClassifier(writeClassifier(weights));
    const whole = await extractFeatures({ engine, extractor, images: imageSource(images), batchSize: 5 });
    const parts = await extractFeatures({ engine, extractor, images: imageSource(images), batchSize: 2 });
    expect(whole.features).toMatchObject({ rows: 5, columns: 128 });
    expect(parts.features).toEqual(whole.features);
    expect(parts.logits).toEqual(whole.logits);
    expect(whole.features.data.some((value) => value > 0)).toBe(true);
    const direct = tf.tidy(() => {
      const tree = tensors({ ...extractor.weights });
      return classify(tree, tf.tensor4d(images.data, [5, 28, 28, 1])).logits.dataSync();
    });
    expect(whole.logits!.data).toEqual(direct);
  });

  it('refuses images of another size', async () => {
    const extractor = readClassifier(writeClassifier(weights));
    const images = imageSource(float32([1, 4, 4, 1]));
    await expect(extractFeatures({ engine: eagerEngine('cpu'), extractor, images })).rejects.toThrow(/got \[4, 4, 1\]/);
  });
});
