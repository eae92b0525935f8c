import * as tf from '@tensorflow/tfjs-core';
import { specsOf, type TensorTree } from '@dimo/core';
import { describe, expect, it } from 'vitest';
import { describeGraph } from '../describe.js';
import { expectTracedEqualsEager, numbers } from '../test-support/oracle.js';
import { trace } from '../trace.js';

const inputs = {
  x: numbers([3, 4], 1),
  w: numbers([4, 5], 2),
  b: numbers([5], 3),
  image: numbers([2, 5, 5, 3], 4),
  filter: numbers([3, 3, 3, 4], 5),
  channels: numbers([4], 6),
};

/** Operators of the traced function; it must compute what the eager one does. */
async function operatorsOf(fn: (t: TensorTree) => TensorTree) {
  const pure = (_: TensorTree, t: TensorTree) => ({ outputs: fn(t) });
  await expectTracedEqualsEager(pure, inputs);
  return describeGraph(trace(pure, { state: {}, inputs: specsOf(inputs) })).operators;
}

describe('bias fusion', () => {
  it('a product and its bias are one node', async () => {
    const operators = await operatorsOf((t) => ({ y: tf.relu(tf.add(tf.matMul(t['x']!, t['w']!), t['b']!)) }));
    expect(operators).toEqual({ Gemm: 1, Relu: 1 });
  });
  it('a convolution and its bias are one node', async () => {
    const operators = await operatorsOf((t) => ({
      y: tf.add(t['channels']!, tf.conv2d(t['image'] as tf.Tensor4D, t['filter'] as tf.Tensor4D, 1, 'same')),
    }));
    expect(operators['Add']).toBeUndefined();
    expect(operators['Conv']).toBe(1);
  });
  it('not if the product has another reader, or the bias runs along another axis', async () => {
    const twice = await operatorsOf((t) => {
      const product = tf.matMul(t['x']!, t['w']!);
      return { y: tf.add(product, t['b']!), z: tf.relu(product) };
    });
    expect(twice).toEqual({ Add: 1, Gemm: 1, Relu: 1 });
    const rows = await operatorsOf((t) => ({
      y: tf.add(tf.matMul(t['x']!, t['w']!), tf.slice(t['x']!, [0, 0], [3, 1])),
    }));
    expect(rows['Add']).toBe(1);
  });
});

describe('peepholes', () => {
  it('leave nothing of operations that change nothing', async () => {
    const operators = await operatorsOf((t) => {
      const x = t['x']!;
      const doubled = tf.transpose(tf.transpose(tf.mul(tf.add(x, 0), 1)));
      const reshaped = tf.reshape(tf.reshape(doubled, [12]), [3, 4]);
      const parts = tf.split(tf.concat([reshaped, tf.slice(x, [0, 0], [3, 4])], 1), 2, 1);
      return { y: tf.exp(tf.div(tf.cast(parts[0]!, 'float32'), 1)) };
    });
    expect(operators).toEqual({ Exp: 1 });
  });
  it('integers that travel as floats need no conversion', async () => {
    const operators = await operatorsOf((t) => ({ y: tf.cast(tf.cast(tf.argMax(t['x']!, 1), 'float32'), 'int32') }));
    expect(operators).toEqual({ ArgMax: 1, Cast: 1 });
  });
  it('dividing by a power of two is multiplying, summing a broadcast too', async () => {
    const operators = await operatorsOf((t) => ({
      y: tf.div(t['x']!, 4),
      z: tf.sum(tf.mul(tf.expandDims(t['b']!, 0), tf.ones([7, 5])), 0),
    }));
    expect(operators).toEqual({ Mul: 2 });
  });
});
