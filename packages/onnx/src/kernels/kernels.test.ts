import * as tf from '@tensorflow/tfjs-core';
import type { HostTree, TensorTree } from '@dimo/core';
import { describe, it } from 'vitest';
import { expectTracedEqualsEager, gradientsOf, numbers, wholeNumbers } from '../test-support/oracle.js';

type Case = [name: string, inputs: HostTree, fn: (t: TensorTree) => tf.Tensor, gradient?: string[]];

const x = numbers([2, 3, 4], 1, 2);
const cases: Case[] = [
  ['sum over all', { x }, (t) => tf.sum(t['x']!), ['x']],
  ['sum over axes', { x }, (t) => tf.sum(t['x']!, [0, 2]), ['x']],
  ['sum keeping axes', { x }, (t) => tf.sum(t['x']!, 1, true), ['x']],
  ['sum of booleans', { x }, (t) => tf.sum(tf.greater(t['x']!, 0), -1)],
  ['sum of integers', { x: wholeNumbers([3, 4], 9) }, (t) => tf.sum(t['x']!, -1)],
  ['mean', { x }, (t) => tf.mean(t['x']!, -1, true), ['x']],
  ['mean of integers', { x: wholeNumbers([3, 4], 9) }, (t) => tf.mean(t['x']!, 0)],
  ['max', { x }, (t) => tf.max(t['x']!, -1), ['x']],
  ['min', { x }, (t) => tf.min(t['x']!, [0, 1]), ['x']],
  ['prod', { x }, (t) => tf.prod(t['x']!, 1)],
  ['all', { x }, (t) => tf.all(tf.greater(t['x']!, -1.5), -1)],
  ['any', { x }, (t) => tf.any(tf.greater(t['x']!, 1.5), -1)],
  ['argMax', { x }, (t) => tf.argMax(t['x']!, -1)],
  ['argMin over a middle axis', { x }, (t) => tf.argMin(t['x']!, 1)],
  ['argMax takes the first of equals', { x: wholeNumbers([6, 9], 3) }, (t) => tf.argMax(t['x']!, 1)],
  ['softmax', { x }, (t) => tf.softmax(t['x']!), ['x']],
  ['logSoftmax', { x }, (t) => tf.logSoftmax(t['x']!), ['x']],
  ['logSumExp', { x }, (t) => tf.logSumExp(t['x']!, -1), ['x']],
  ['cumsum', { x }, (t) => tf.cumsum(t['x']!, 2), ['x']],
  ['cumsum exclusive, reverse', { x }, (t) => tf.cumsum(t['x']!, 1, true, true)],
  ['topk values', { x: numbers([3, 9]) }, (t) => tf.topk(t['x']!, 4).values],
  ['topk indices', { x: numbers([3, 9]) }, (t) => tf.topk(t['x']!, 4).indices],
  ['norm', { x }, (t) => tf.norm(t['x']!), ['x']],
  ['moments', { x }, (t) => tf.moments(t['x']!, [0, 1], true).variance, ['x']],

  ['matMul', { a: numbers([3, 4], 1), b: numbers([4, 5], 2) }, (t) => tf.matMul(t['a']!, t['b']!), ['a', 'b']],
  [
    'matMul transposeA',
    { a: numbers([4, 3], 1), b: numbers([4, 5], 2) },
    (t) => tf.matMul(t['a']!, t['b']!, true),
    ['a', 'b'],
  ],
  [
    'matMul transposeB',
    { a: numbers([3, 4], 1), b: numbers([5, 4], 2) },
    (t) => tf.matMul(t['a']!, t['b']!, false, true),
    ['a', 'b'],
  ],
  [
    'matMul of transposes',
    { a: numbers([4, 3], 1), b: numbers([5, 4], 2) },
    (t) => tf.matMul(tf.transpose(t['a']!), tf.transpose(t['b']!)),
    ['a', 'b'],
  ],
  [
    'batched matMul',
    { a: numbers([2, 3, 4], 1), b: numbers([2, 4, 5], 2) },
    (t) => tf.matMul(t['a']!, t['b']!),
    ['a', 'b'],
  ],
  [
    'batched matMul transposed',
    { a: numbers([2, 2, 4, 3], 1), b: numbers([2, 2, 5, 4], 2) },
    (t) => tf.matMul(t['a']!, t['b']!, true, true),
    ['a', 'b'],
  ],
  [
    'matMul with a broadcast batch',
    { a: numbers([2, 3, 4], 1), b: numbers([1, 4, 5], 2) },
    (t) => tf.matMul(t['a']!, t['b']!),
  ],
  [
    'matMul with a broadcast batch on the left',
    { a: numbers([1, 4, 3], 1), b: numbers([2, 4, 5], 2) },
    (t) => tf.matMul(t['a']!, t['b']!, true),
  ],
  [
    'matMul of one row',
    { a: numbers([2, 1, 4], 1), b: numbers([2, 4, 1], 2) },
    (t) => tf.matMul(t['a']!, t['b']!),
    ['a', 'b'],
  ],
  [
    'fused matMul',
    { a: numbers([3, 4], 1), b: numbers([4, 5], 2), bias: numbers([5], 3) },
    (t) => tf.fused.matMul({ a: t['a']!, b: t['b']!, bias: t['bias']!, activation: 'relu' }),
    ['a', 'b', 'bias'],
  ],

  ['reshape', { x }, (t) => tf.reshape(t['x']!, [4, 6]), ['x']],
  ['transpose', { x }, (t) => tf.transpose(t['x']!, [2, 0, 1]), ['x']],
  ['transpose of integers', { x: wholeNumbers([2, 3], 9) }, (t) => tf.transpose(t['x']!)],
  ['slice', { x }, (t) => tf.slice(t['x']!, [0, 1, 1], [2, -1, 2]), ['x']],
  ['stridedSlice', { x: numbers([8, 5]) }, (t) => tf.stridedSlice(t['x']!, [1, 4], [7, 0], [2, -1])],
  ['stridedSlice backward to the start', { x: numbers([8, 5]) }, (t) => tf.stridedSlice(t['x']!, [7], [0], [-3], 0, 1)],
  [
    'pad',
    { x },
    (t) =>
      tf.pad(
        t['x']!,
        [
          [1, 0],
          [0, 2],
          [1, 1],
        ],
        0.5,
      ),
    ['x'],
  ],
  [
    'mirrorPad reflect',
    { x },
    (t) =>
      tf.mirrorPad(
        t['x']!,
        [
          [0, 0],
          [1, 1],
          [2, 0],
        ],
        'reflect',
      ),
  ],
  ['concat', { a: numbers([2, 3], 1), b: numbers([2, 2], 2) }, (t) => tf.concat([t['a']!, t['b']!], 1), ['a', 'b']],
  ['stack', { a: numbers([2, 3], 1), b: numbers([2, 3], 2) }, (t) => tf.stack([t['a']!, t['b']!], 1), ['a', 'b']],
  ['unstack', { x }, (t) => tf.sub(tf.unstack(t['x']!, 1)[0]!, tf.unstack(t['x']!, 1)[2]!), ['x']],
  ['split', { x: numbers([2, 7]) }, (t) => tf.concat(tf.split(t['x']!, [3, 4], 1).reverse(), 1), ['x']],
  ['tile', { x: numbers([2, 3]) }, (t) => tf.tile(t['x']!, [2, 3]), ['x']],
  ['broadcastTo', { x: numbers([2, 1, 3]) }, (t) => tf.broadcastTo(t['x']!, [4, 2, 5, 3])],
  ['broadcastTo one element', { x: numbers([1]) }, (t) => tf.broadcastTo(t['x']!, [3, 4])],
  ['reverse', { x }, (t) => tf.reverse(t['x']!, [0, 2]), ['x']],
  ['squeeze and expandDims', { x: numbers([2, 1, 3]) }, (t) => tf.expandDims(tf.squeeze(t['x']!), -1), ['x']],

  ['gather', { x, i: wholeNumbers([5], 3) }, (t) => tf.gather(t['x']!, t['i']! as tf.Tensor1D, 1), ['x']],
  [
    'gather of a matrix of indices',
    { x: numbers([6, 2]), i: wholeNumbers([2, 5], 6) },
    (t) => tf.gather(t['x']!, t['i']! as tf.Tensor2D),
    ['x'],
  ],
  [
    'gather with batchDims',
    { x: numbers([3, 6, 2]), i: wholeNumbers([3, 4], 6) },
    (t) => tf.gather(t['x']!, t['i']! as tf.Tensor2D, 1, 1),
  ],
  ['gatherND', { x: numbers([3, 6, 2]), i: wholeNumbers([4, 2], 3) }, (t) => tf.gatherND(t['x']!, t['i']!)],
  [
    'unsortedSegmentSum',
    { x: numbers([7, 2]), i: wholeNumbers([7], 3) },
    (t) => tf.unsortedSegmentSum(t['x']! as tf.Tensor2D, t['i']! as tf.Tensor1D, 4),
  ],
  ['oneHot', { i: wholeNumbers([2, 5], 6) }, (t) => tf.oneHot(t['i']! as tf.Tensor2D, 6)],
  [
    'oneHot with values',
    { i: wholeNumbers([2, 5], 6) },
    (t) => tf.oneHot(t['i']! as tf.Tensor2D, 6, 0.9, 0.1, 'float32'),
  ],
  ['range and linspace', { x: numbers([4]) }, (t) => tf.add(tf.mul(t['x']!, tf.range(0, 8, 2)), tf.linspace(1, 2, 4))],
  [
    'constants',
    { x: numbers([2, 2]) },
    (t) => tf.add(tf.mul(t['x']!, tf.tensor2d([1, 2, 3, 4], [2, 2])), tf.fill([2, 2], 3)),
  ],
];

describe('kernels: traced equals eager', () => {
  it.each(cases)('%s', async (_, inputs, fn, gradient) => {
    await expectTracedEqualsEager((_, t) => ({ outputs: { y: fn(t) } }), inputs);
    if (gradient) await expectTracedEqualsEager(gradientsOf(fn, gradient), inputs);
  });
});
