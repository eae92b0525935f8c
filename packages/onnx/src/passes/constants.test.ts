/**
 * What the tracer computes itself: constants folded by every operator, alone and in pairs, against onnxruntime's and tfjs'
 * own results; signs of zero are seen through their reciprocals.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { HostTensor, TensorTree } from '@dimo/core';
import { describe, expect, it } from 'vitest';
import { createGraphBuilder } from '../builder.js';
import { expectTracedEqualsEager } from '../test-support/oracle.js';

describe('constants', () => {
  const folds: Record<string, (x: tf.Tensor) => tf.Tensor> = {
    abs: tf.abs,
    neg: tf.neg,
    exp: tf.exp,
    sqrt: (x) => tf.sqrt(tf.abs(x)),
    log: (x) => tf.log(tf.abs(x)),
    sin: tf.sin,
    cos: tf.cos,
    floor: tf.floor,
    ceil: tf.ceil,
    round: tf.round,
    sign: tf.sign,
    relu: tf.relu,
    relu6: tf.relu6,
    reciprocal: tf.reciprocal,
    square: tf.square,
    sigmoid: tf.sigmoid,
    tanh: tf.tanh,
    isNaN: tf.isNaN,
    not: (x) => tf.logicalNot(tf.cast(x, 'bool')),
    sum: (x) => tf.sum(x),
    mean: (x) => tf.mean(x),
    prod: (x) => tf.prod(x, 0),
    max: (x) => tf.max(x, -1),
    min: (x) => tf.min(x, -1, true),
    sumOfRows: (x) => tf.sum(x, 1),
    softmax: tf.softmax,
    any: (x) => tf.any(tf.cast(x, 'bool'), 0),
    all: (x) => tf.all(tf.cast(x, 'bool'), -1),
    argMax: (x) => tf.argMax(x, -1),
    argMin: (x) => tf.argMin(x, 0),
    pad: (x) =>
      tf.pad(
        x,
        [
          [1, 0],
          [0, 2],
        ],
        0.5,
      ),
    padSame: (x) =>
      tf.pad(
        x,
        [
          [1, 0],
          [0, 2],
        ],
        1.5,
      ),
    cumsum: (x) => tf.cumsum(x, 1),
    clip: (x) => tf.clipByValue(x, -1, 1),
  };
  it.each(Object.keys(folds))('folded by %s are what is computed', async (name) => {
    await expectTracedEqualsEager(
      (_, t) => ({
        outputs: Object.fromEntries(
          [1.5, -2.5, 0.5, 1, -0.25].flatMap((number) => [
            [`fill ${number}`, folds[name]!(tf.fill([3, 4], number))],
            [`spread ${number}`, folds[name]!(tf.broadcastTo(tf.tensor2d([[number], [1], [number]]), [3, 4]))],
            [`input ${number}`, folds[name]!(tf.mul(t['one']!, tf.fill([3, 4], number)))],
          ]),
        ),
      }),
      { one: { dtype: 'float32', shape: [1, 4], data: Float32Array.of(1, 1, 1, 1) } },
    );
  });

  const pairs: Record<string, (a: tf.Tensor, b: tf.Tensor) => tf.Tensor> = {
    add: tf.add,
    sub: tf.sub,
    mul: tf.mul,
    div: tf.div,
    maximum: tf.maximum,
    minimum: tf.minimum,
    squaredDifference: tf.squaredDifference,
    less: tf.less,
    lessEqual: tf.lessEqual,
    greater: tf.greater,
    greaterEqual: tf.greaterEqual,
    equal: tf.equal,
    notEqual: tf.notEqual,
    and: (a, b) => tf.logicalAnd(tf.cast(a, 'bool'), tf.cast(b, 'bool')),
    or: (a, b) => tf.logicalOr(tf.cast(a, 'bool'), tf.cast(b, 'bool')),
    where: (a, b) => tf.where(tf.greater(a, b), a, b),
    mod: (a, b) => tf.mod(a, tf.add(tf.abs(b), 0.75)),
  };
  it.each(Object.keys(pairs))('paired by %s are what is computed, and take the larger shape', async (name) => {
    await expectTracedEqualsEager(
      (_, t) => {
        const outputs: TensorTree = {};
        for (const a of [0, 1, -1, 0.5, 3])
          for (const b of [0, 1, -1, 0.5, 4]) {
            outputs[`${a} ${b} constants`] = pairs[name]!(tf.fill([2, 1], a), tf.fill([3], b));
            outputs[`${a} ${b} right`] = pairs[name]!(t['row']!, tf.fill([2, 3], b));
            outputs[`${a} ${b} left`] = pairs[name]!(tf.fill([2, 3], a), tf.add(t['row']!, 9));
          }
        return { outputs };
      },
      { row: { dtype: 'float32', shape: [3], data: Float32Array.of(1, -1, 0.25) } },
    );
  });

  it('keep the sign of zero, NaN and infinity', async () => {
    const x: HostTensor<'float32'> = {
      dtype: 'float32',
      shape: [4],
      data: Float32Array.of(2, NaN, Infinity, -Infinity),
    };
    await expectTracedEqualsEager(
      (_, t) => ({
        outputs: {
          minus: tf.div(t['x']!, tf.scalar(-0)),
          plus: tf.div(t['x']!, tf.scalar(0)),
          both: tf.div(t['x']!, tf.tensor1d([0, -0, 0, -0])),
          others: tf.div(t['x']!, tf.tensor1d([-0, -0, -0, -0])),
          swapped: tf.div(t['x']!, tf.tensor1d([-0, 0, -0, 0])),
          same: tf.div(t['x']!, tf.tensor1d([0, 0, 0, 0])),
          product: tf.mul(t['x']!, 0),
          left: tf.mul(0, t['x']!),
          infinite: tf.add(t['x']!, tf.scalar(Infinity)),
          third: tf.div(t['x']!, 3),
          tenth: tf.div(t['x']!, tf.fill([4], 0.1)),
          eighth: tf.div(t['x']!, tf.fill([4], -0.125)),
          zero: tf.add(t['x']!, tf.zeros([2, 4])),
        },
      }),
      { x },
    );
  });

  it('of one number but another type or sign are different', () => {
    const builder = createGraphBuilder();
    const ids = new Set([
      builder.constant('float32', [1], [0]).id,
      builder.constant('float32', [1], [-0]).id,
      builder.constant('int32', [1], [0]).id,
      builder.constant('bool', [1], [0]).id,
      builder.constant('float32', [], [0]).id,
      builder.constant('int32', [1], [2 ** 24]).id,
      builder.constant('int32', [1], [2 ** 24 + 1]).id,
    ]);
    expect(ids.size).toBe(7);
    expect(builder.constant('float32', [1], [0]).id).toBe(builder.constant('float32', [1], Float32Array.of(0)).id);
  });
});
