/** Blocks that are computed twice give the gradients of blocks that are computed once. */
import '@tensorflow/tfjs-backend-cpu';
import '../gradients.js';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import type { PureFunction } from '../engine/engine.js';
import { linear } from '../ops/linear.js';
import { gradientThroughLogits } from '../ops/logit-gradient.js';
import { randomStream } from '../random/random.js';
import type { TensorTree } from '../tensors/tensors.js';
import { recomputeBlocks, recomputedBlock, weightsBelow } from './recomputed-block.js';

beforeAll(() => tf.setBackend('cpu'));

const depth = 3;
let runs = 0;

/** Blocks of two streams and a vector that goes into each; the second stream leaves the last block unused. */
function network(weights: TensorTree, x: tf.Tensor): tf.Tensor {
  const shared = linear(tf.mean(x, 0, true), weights['shared.weight']!);
  let streams: readonly [tf.Tensor, tf.Tensor] = [x, tf.slice(x, [0, 0], [2, 4])];
  for (let block = 0; block < depth; block++) {
    const own = weightsBelow(weights, `blocks.${block}`);
    streams = recomputedBlock<[tf.Tensor, tf.Tensor]>(own, [...streams, shared], (w, [a, b, vector]) => {
      runs++;
      const hidden = tf.tanh(tf.add(linear(a!, w[`blocks.${block}.weight`]!), vector!));
      return [tf.add(a!, hidden), tf.mul(b!, tf.slice(hidden, [0, 0], [2, 4]))];
    });
  }
  return tf.concat(streams as unknown as tf.Tensor[], 0);
}

const random = randomStream(3, 0, 'recomputed');
const host: Record<string, [number[], Float32Array]> = { x: [[3, 4], random.fork('x').normal(12)] };
for (const name of ['shared', 'blocks.0', 'blocks.1', 'blocks.2'])
  host[`${name}.weight`] = [[4, 4], random.fork(name).normal(16)];

const gradients: PureFunction = ({ x, ...weights }) => {
  const result = gradientThroughLogits(
    weights,
    (trained) => network(trained, x!),
    (logits) => ({ gradient: tf.sin(logits), outputs: { sum: tf.sum(logits) } }),
  );
  return { outputs: { ...result.gradients, ...result.outputs } };
};

/** Results on the host, and how often a block ran; nothing may be left behind. */
function run(fn: PureFunction): { readonly values: Record<string, number[]>; readonly runs: number } {
  const before = tf.memory().numTensors;
  runs = 0;
  const values = tf.tidy(() => {
    const state = Object.fromEntries(
      Object.entries(host).map(([name, [shape, data]]) => [name, tf.tensor(data, shape)]),
    );
    const { outputs } = fn(state, {});
    return Object.fromEntries(Object.entries(outputs!).map(([name, t]) => [name, [...t.dataSync()]]));
  });
  expect(tf.memory().numTensors).toBe(before);
  return { values, runs };
}

describe('recomputed blocks', () => {
  it('run twice and give the same gradients, also of several results and of what goes into each', () => {
    const once = run(gradients);
    const twice = run(recomputeBlocks({ functions: { gradients } }).functions.gradients);
    expect(once.runs).toBe(depth);
    expect(twice.runs).toBe(2 * depth);
    expect(Object.keys(twice.values).sort()).toEqual(Object.keys(once.values).sort());
    for (const [name, values] of Object.entries(once.values)) {
      expect(values.some((value) => Math.abs(value) > 1e-3)).toBe(true);
      twice.values[name]!.forEach((value, i) => expect(value).toBeCloseTo(values[i]!, 5));
    }
  });

  it('run once where nothing is differentiated, and after a program that failed', () => {
    const forward: PureFunction = ({ x, ...weights }) => ({ outputs: { y: network(weights, x!) } });
    expect(run(recomputeBlocks({ functions: { forward } }).functions.forward).runs).toBe(depth);
    const failing: PureFunction = () => {
      throw new Error('no');
    };
    expect(() => recomputeBlocks({ functions: { failing } }).functions.failing({}, {})).toThrow('no');
    expect(run(gradients).runs).toBe(depth);
  });

  it('take only the weights of their own name', () => {
    const weights = Object.fromEntries(['blocks.1.w', 'blocks.10.w', 'blocks.1'].map((name) => [name, tf.scalar(0)]));
    expect(Object.keys(weightsBelow(weights, 'blocks.1'))).toEqual(['blocks.1.w']);
  });
});
