/**
 * Fusing a bias, folding casts and merging equal nodes on shapes where the wrong axis would fit: squares and cubes. Each
 * is run on onnxruntime and compared with tfjs' cpu backend.
 */
import * as tf from '@tensorflow/tfjs-core';
import { linear, specsOf, type HostTensor, type TensorTree } from '@dimo/core';
import { describe, expect, it } from 'vitest';
import { describeGraph } from '../describe.js';
import { expectTracedEqualsEager, numbers, wholeNumbers } from '../test-support/oracle.js';
import { trace } from '../trace.js';

const inputs = {
  x: numbers([3, 3], 1),
  w: numbers([3, 3], 2),
  vector: numbers([3], 3),
  image: numbers([3, 3, 3, 3], 4),
  filter: numbers([1, 1, 3, 3], 5),
  scalar: numbers([], 6),
  large: numbers([5, 8], 7, 3),
  integers: wholeNumbers([5, 8], 5),
};

async function operatorsOf(fn: (t: TensorTree) => TensorTree): Promise<Record<string, number>> {
  const pure = (_: TensorTree, t: TensorTree) => ({ outputs: fn(t) });
  await expectTracedEqualsEager(pure, inputs);
  return { ...describeGraph(trace(pure, { state: {}, inputs: specsOf(inputs) })).operators };
}

const at = (t: TensorTree, name: string, shape: number[]) => tf.reshape(t[name]!, shape);

describe('a bias', () => {
  // By shape; of these only [3] and [1, 3] run along the columns.
  it.each([[[3]], [[1, 3]], [[3, 1]], [[1, 1]], [[1]], [[]]])(
    'of shape %j is added where it belongs',
    async (shape) => {
      const source = shape.includes(3) ? 'vector' : 'scalar';
      const operators = await operatorsOf((t) => ({
        y: tf.add(tf.matMul(t['x'] as never, t['w'] as never), at(t, source, shape)),
        z: tf.add(at(t, source, shape), tf.matMul(t['w'] as never, t['x'] as never)),
      }));
      expect(operators['Add'] ?? 0).toBe(shape.at(-1) === 3 ? 0 : 2);
    },
  );

  it.each([[[1, 1, 1, 3]], [[3]], [[1, 1, 3, 1]], [[1, 3, 1, 1]], [[3, 1, 1, 1]], [[3, 1]], [[3, 1, 1]], [[1]]])(
    'of shape %j is added to the right axis of a convolution',
    async (shape) => {
      const source = shape.includes(3) ? 'vector' : 'scalar';
      await operatorsOf((t) => ({
        y: tf.add(tf.conv2d(t['image'] as never, t['filter'] as never, 1, 'same'), at(t, source, shape)),
        z: tf.relu(tf.add(at(t, source, shape), tf.conv2d(t['image'] as never, t['filter'] as never, 1, 'valid'))),
        up: tf.add(
          tf.conv2dTranspose(t['image'] as never, t['filter'] as never, [3, 3, 3, 3], 1, 'same'),
          at(t, source, shape),
        ),
      }));
    },
  );

  it('of one column only is a vector of one number, or stays apart', async () => {
    const pure = (_: TensorTree, t: TensorTree) => ({
      outputs: {
        y: tf.add(tf.matMul(t['x'] as never, t['column'] as never), t['one']!),
        z: tf.add(tf.matMul(t['x'] as never, t['column'] as never), tf.reshape(t['one']!, [])),
        rows: tf.add(tf.matMul(t['x'] as never, t['column'] as never), t['column']!),
      },
    });
    await expectTracedEqualsEager(pure, { x: inputs.x, column: numbers([3, 1], 8), one: numbers([1], 9) });
  });

  it('stays apart where the product is read elsewhere, handed out, subtracted, or has one already', async () => {
    await operatorsOf((t) => {
      const product = tf.matMul(t['x'] as never, t['w'] as never);
      const other = tf.matMul(t['w'] as never, t['w'] as never);
      const third = tf.matMul(t['w'] as never, t['x'] as never);
      return {
        product,
        sum: tf.add(product, t['vector']!),
        twice: tf.add(tf.add(other, t['vector']!), tf.mul(t['vector']!, 2)),
        second: tf.add(linear(t['x']!, t['w']!, t['vector']!), t['vector']!),
        difference: tf.sub(third, t['vector']!),
        reversed: tf.sub(t['vector']!, tf.matMul(t['x'] as never, t['x'] as never)),
        doubled: tf.add(
          tf.matMul(t['x'] as never, t['w'] as never, true),
          tf.matMul(t['x'] as never, t['w'] as never, true),
        ),
      };
    });
  });

  it('may be a number of the graph: constants of every shape', async () => {
    await operatorsOf((t) => {
      const product = () => tf.matMul(t['x'] as never, t['w'] as never);
      return {
        a: tf.add(product(), tf.tensor1d([1, 2, 3])),
        b: tf.add(product(), tf.tensor2d([[1], [2], [3]])),
        c: tf.add(product(), tf.tensor2d([[1, 2, 3]])),
        d: tf.add(product(), tf.scalar(2)),
        e: tf.add(product(), tf.ones([3])),
      };
    });
  });
});

describe('casts', () => {
  const special: HostTensor<'float32'> = {
    dtype: 'float32',
    shape: [10],
    data: Float32Array.of(0, -0, 0.5, -0.5, 1.5, -1.5, 2.9, -2.9, 2 ** 24, -(2 ** 24)),
  };
  const counts: HostTensor<'int32'> = {
    dtype: 'int32',
    shape: [6],
    data: Int32Array.of(0, 1, -1, 5, 2 ** 24, -(2 ** 24)),
  };
  const types = ['float32', 'int32', 'bool'] as const;
  const paths = types.flatMap((a) => types.flatMap((b) => types.map((c) => [a, b, c] as const)));

  it.each(paths)('through %s, %s and %s keep what a cast keeps', async (...path) => {
    const through = (x: tf.Tensor) => path.reduce<tf.Tensor>((value, type) => tf.cast(value, type), x);
    await expectTracedEqualsEager(
      (_, t) => ({
        outputs: {
          floats: through(t['floats']!),
          integers: through(t['integers']!),
          flags: through(t['flags']!),
          // With a layout of its own on the way.
          moved: through(tf.transpose(tf.cast(tf.reshape(t['integers']!, [2, 3]), path[0]))),
        },
      }),
      {
        floats: special,
        integers: counts,
        flags: { dtype: 'bool', shape: [3], data: Uint8Array.of(1, 0, 1) },
      },
    );
  });

  it.each([0.5, -0.5, 1.5, -1.5, 2.5, 2.999, -2.999, 0, -0, 2 ** 24 + 1, -7, 1e9])(
    'of the constant %d truncate, of any size, alone or among others',
    async (number) => {
      await expectTracedEqualsEager(
        (_, t) => {
          const outputs: TensorTree = {};
          for (const shape of [[], [1], [3], [5, 8]])
            for (const type of types) {
              const constant = tf.fill(shape, number, 'float32');
              const name = `${shape.join('x')} ${type}`;
              outputs[name] = tf.cast(constant, type);
              outputs[`${name} back`] = tf.cast(tf.cast(constant, type), 'float32');
              outputs[`${name} used`] = tf.add(tf.cast(tf.cast(constant, type), 'float32'), t['scalar']!);
            }
          const literal = tf.tensor1d([number, 3, -0.75]);
          for (const type of types) outputs[`literal ${type}`] = tf.cast(literal, type);
          outputs['integer'] = tf.cast(tf.fill([2], Math.trunc(number), 'int32'), 'bool');
          return { outputs };
        },
        { scalar: inputs.scalar },
      );
    },
  );
});

describe('equal nodes', () => {
  it('are made once, but not with other inputs, their order, or other attributes', async () => {
    const operators = await operatorsOf((t) => ({
      once: tf.exp(tf.sub(t['x']!, t['w']!)),
      again: tf.neg(tf.exp(tf.sub(t['x']!, t['w']!))),
      turned: tf.abs(tf.sub(t['w']!, t['x']!)),
      rows: tf.sqrt(tf.abs(tf.sum(t['x']!, 0))),
      columns: tf.sqrt(tf.abs(tf.sum(t['x']!, 1))),
      kept: tf.sqrt(tf.abs(tf.sum(t['x']!, 0, true))),
      up: tf.cumsum(t['x'] as never, 0),
      down: tf.cumsum(t['x'] as never, 0, false, true),
      before: tf.cumsum(t['x'] as never, 0, true),
      first: tf.argMax(t['integers'] as never, 0),
      other: tf.argMax(t['integers'] as never, 1),
      last: tf.argMin(t['integers'] as never, 1),
      leaky: tf.leakyRelu(t['large'] as never, 0.1),
      leakier: tf.leakyRelu(t['large'] as never, 0.3),
    }));
    expect(operators).toMatchObject({ Exp: 1, Sub: 2, CumSum: 3, ArgMax: 2, ArgMin: 1, LeakyRelu: 2 });
  });

  it('take the first of equal extremes, along any axis', async () => {
    await operatorsOf((t) => {
      const ties = tf.cast(t['integers']!, 'float32') as tf.Tensor2D;
      const { values, indices } = tf.topk(ties, 6);
      return {
        values,
        indices,
        rows: tf.argMax(ties, 0),
        columns: tf.argMax(ties, -1),
        least: tf.argMin(ties, -2),
        constant: tf.argMax(tf.ones([2, 3]), -1),
        constantLeast: tf.argMin(tf.zeros([2, 3]), 0),
      };
    });
  });
});
