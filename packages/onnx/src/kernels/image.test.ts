import * as tf from '@tensorflow/tfjs-core';
import { linear, specsOf, type TensorTree } from '@dimo/core';
import { describe, expect, it } from 'vitest';
import { describeGraph } from '../describe.js';
import { expectTracedEqualsEager, gradientsOf, numbers } from '../test-support/oracle.js';
import { trace } from '../trace.js';

const image = (t: TensorTree, name = 'x') => t[name] as tf.Tensor4D;
const x = numbers([2, 7, 6, 3], 1);

interface ConvCase {
  readonly filter: [number, number];
  readonly strides: number;
  readonly pad: 'same' | 'valid' | number;
  readonly size?: [number, number];
}
const convolutions: ConvCase[] = [
  { filter: [3, 3], strides: 1, pad: 'same' },
  { filter: [3, 3], strides: 2, pad: 'same' },
  { filter: [3, 2], strides: 2, pad: 'valid' },
  { filter: [1, 1], strides: 1, pad: 'valid' },
  { filter: [1, 1], strides: 2, pad: 'valid' },
  { filter: [4, 4], strides: 4, pad: 'valid', size: [8, 8] },
  { filter: [5, 5], strides: 1, pad: 2 },
];

describe('convolutions', () => {
  it.each(convolutions)('conv2d filter $filter strides $strides pad $pad, and its gradients', (options) =>
    expectTracedEqualsEager(
      gradientsOf((t) => tf.conv2d(image(t), image(t, 'w'), options.strides, options.pad), ['x', 'w']),
      { x: numbers([2, ...(options.size ?? [7, 6]), 3], 1), w: numbers([...options.filter, 3, 4], 2) },
    ),
  );
  it('conv2d with dilation', () =>
    expectTracedEqualsEager((_, t) => ({ outputs: { y: tf.conv2d(image(t), image(t, 'w'), 1, 'same', 'NHWC', 2) } }), {
      x,
      w: numbers([3, 3, 3, 4], 2),
    }));
  it('conv2d with explicit padding', () =>
    expectTracedEqualsEager(
      gradientsOf(
        (t) =>
          tf.conv2d(image(t), image(t, 'w'), 2, [
            [0, 0],
            [0, 1],
            [0, 1],
            [0, 0],
          ]),
        ['x', 'w'],
      ),
      { x: numbers([2, 8, 6, 3], 1), w: numbers([3, 3, 3, 4], 2) },
    ));
  it('conv2dTranspose', () =>
    expectTracedEqualsEager(
      (_, t) => ({ outputs: { y: tf.conv2dTranspose(image(t), image(t, 'w'), [2, 14, 12, 4], 2, 'same') } }),
      { x, w: numbers([3, 3, 4, 3], 2) },
    ));
  it('depthwiseConv2d and its gradients', () =>
    expectTracedEqualsEager(
      gradientsOf((t) => tf.depthwiseConv2d(image(t), image(t, 'w'), 1, 'same'), ['x', 'w']),
      { x, w: numbers([3, 3, 3, 1], 2) },
    ));
  it('depthwiseConv2d with multiplier', () =>
    expectTracedEqualsEager((_, t) => ({ outputs: { y: tf.depthwiseConv2d(image(t), image(t, 'w'), 1, 'same') } }), {
      x,
      w: numbers([3, 3, 3, 2], 2),
    }));
  it('fused conv2d', () =>
    expectTracedEqualsEager(
      gradientsOf(
        (t) =>
          tf.fused.conv2d({
            x: image(t),
            filter: image(t, 'w'),
            bias: t['b'] as tf.Tensor1D,
            strides: 1,
            pad: 'same',
            activation: 'relu',
          }),
        ['x', 'w', 'b'],
      ),
      { x, w: numbers([3, 3, 3, 4], 2), b: numbers([4], 3) },
    ));
});

describe('pooling, resizing, batch normalization', () => {
  it.each([
    [2, 2, 'valid'],
    [2, 2, 'same'],
    [3, 1, 'same'],
    [3, 2, 'valid'],
  ] as const)('maxPool %i strides %i %s, and its gradient', (filter, strides, pad) =>
    // After relu many elements are equal: the first of them gets the gradient.
    expectTracedEqualsEager(
      gradientsOf((t) => tf.maxPool(tf.relu(image(t)), filter, strides, pad), ['x']),
      { x },
    ),
  );
  it('avgPool and its gradient', async () => {
    await expectTracedEqualsEager((_, t) => ({ outputs: { y: tf.avgPool(image(t), 3, 2, 'same') } }), { x });
    await expectTracedEqualsEager(
      gradientsOf((t) => tf.avgPool(image(t), 2, 2, 'valid'), ['x']),
      { x },
    );
  });
  it('resizeNearestNeighbor', async () => {
    await expectTracedEqualsEager((_, t) => ({ outputs: { y: tf.image.resizeNearestNeighbor(image(t), [14, 12]) } }), {
      x,
    });
    await expectTracedEqualsEager((_, t) => ({ outputs: { y: tf.image.resizeNearestNeighbor(image(t), [5, 9]) } }), {
      x,
    });
  });
  it('gradient of resizeNearestNeighbor (batch 1: the oracle is wrong for more)', () =>
    expectTracedEqualsEager(
      gradientsOf((t) => tf.image.resizeNearestNeighbor(image(t), [14, 12]), ['x']),
      {
        x: numbers([1, 7, 6, 3]),
      },
    ));
  it.each([
    [true, false],
    [false, true],
    [false, false],
  ])('resizeBilinear alignCorners %s halfPixelCenters %s', (alignCorners, halfPixelCenters) =>
    expectTracedEqualsEager(
      (_, t) => ({ outputs: { y: tf.image.resizeBilinear(image(t), [10, 4], alignCorners, halfPixelCenters) } }),
      { x },
    ),
  );
  it('batchNorm', () =>
    expectTracedEqualsEager(
      (_, t) => ({
        outputs: {
          y: tf.batchNorm(
            image(t),
            t['m'] as tf.Tensor1D,
            tf.square(t['v'] as tf.Tensor1D),
            t['o'] as tf.Tensor1D,
            t['s'] as tf.Tensor1D,
            1e-3,
          ),
        },
      }),
      { x, m: numbers([3], 2), v: numbers([3], 3), o: numbers([3], 4), s: numbers([3], 5) },
    ));
});

/** Nearest-neighbour upsampling of both sides by 2. */
function upsampleBoth(x: tf.Tensor4D): tf.Tensor4D {
  const [batch, rows, columns, channels] = x.shape;
  const blocks = tf.tile(tf.reshape(x, [batch, rows, 1, columns, 1, channels]), [1, 1, 2, 1, 2, 1]);
  return tf.reshape(blocks, [batch, rows * 2, columns * 2, channels]);
}

/** The same by concatenation. */
function upsampleByConcat(x: tf.Tensor4D): tf.Tensor4D {
  const [batch, rows, columns, channels] = x.shape;
  const wide = tf.reshape(tf.concat([x, x], 3), [batch, rows, 2 * columns * channels]);
  return tf.reshape(tf.concat([wide, wide], 2), [batch, rows * 2, columns * 2, channels]);
}

/** Of the rows alone, with a tile of rank 4, which tfjs can differentiate. */
function upsampleRows(x: tf.Tensor4D): tf.Tensor4D {
  const [batch, rows, columns, channels] = x.shape;
  const blocks = tf.tile(tf.reshape(x, [batch, rows, 1, columns * channels]), [1, 1, 2, 1]);
  return tf.reshape(blocks, [batch, rows * 2, columns, channels]);
}

/** A residual block with group norm, SiLU and upsampling, weights in PyTorch's layout. */
function block(t: TensorTree, upsample: (x: tf.Tensor4D) => tf.Tensor4D): tf.Tensor4D {
  const filter = (name: string) => tf.transpose(t[name] as tf.Tensor4D, [2, 3, 1, 0]);
  const [batch, rows, columns, channels] = image(t).shape;
  const grouped = tf.reshape(image(t), [batch, rows * columns, 2, channels / 2]);
  const { mean, variance } = tf.moments(grouped, [1, 3], true);
  const normalized = tf.div(tf.sub(grouped, mean), tf.sqrt(tf.add(variance, 1e-6)));
  const scaled = tf.add(tf.mul(tf.reshape(normalized, image(t).shape), t['s']!), t['o']!) as tf.Tensor4D;
  const active = tf.mul(scaled, tf.sigmoid(scaled)) as tf.Tensor4D;
  const residual = tf.add(image(t), tf.add(tf.conv2d(active, filter('w1'), 1, 'same'), t['b']!)) as tf.Tensor4D;
  const mixed = linear(upsample(residual), t['mix']!, t['b']!);
  return tf.conv2d(mixed, filter('w2'), 1, 'same');
}

describe('layouts', () => {
  const inputs = {
    x: numbers([2, 4, 6, 4], 1),
    w1: numbers([4, 4, 3, 3], 2),
    w2: numbers([4, 4, 3, 3], 3),
    s: numbers([4], 4),
    o: numbers([4], 5),
    b: numbers([4], 6),
    mix: numbers([4, 4], 7),
  };
  const network = (t: TensorTree, upsample: typeof upsampleBoth) => {
    const filter = tf.transpose(t['w1'] as tf.Tensor4D, [2, 3, 1, 0]);
    const once = block({ ...t, x: tf.conv2d(image(t), filter, 1, 'same') }, upsample);
    return block({ ...t, x: once }, upsample);
  };
  const upsamplings = { tile: upsampleBoth, concat: upsampleByConcat };
  it.each(Object.entries(upsamplings))('residual blocks equal eager (upsampling by %s)', (_, upsample) =>
    expectTracedEqualsEager((_, t) => ({ outputs: { y: network(t, upsample) } }), inputs, { tolerance: 1e-4 }),
  );
  it.each(Object.entries({ tile: upsampleRows, concat: upsampleByConcat }))(
    'and their gradients (%s)',
    (_, upsample) => {
      const names = ['x', 'w1', 'w2', 's', 'o', 'b', 'mix'];
      return expectTracedEqualsEager(
        gradientsOf((t) => block(t, upsample), names),
        inputs,
        { tolerance: 1e-4 },
      );
    },
  );
  it.each(Object.entries(upsamplings))('a network changes the layout at its ends only (%s)', (_, upsample) => {
    const graph = trace((_, t) => ({ outputs: { y: network(t, upsample) } }), { state: {}, inputs: specsOf(inputs) });
    const { operators } = describeGraph(graph);
    expect(operators['Transpose']).toBe(2);
    // onnxruntime's Expand is slow where neighbours are repeated.
    expect(operators['Expand']).toBeUndefined();
    expect(operators['Resize']).toBe(2);
  });
});
