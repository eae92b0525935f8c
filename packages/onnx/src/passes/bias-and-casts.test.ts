/**
 * Fusing a bias, folding casts and merging equal nodes on shapes where the wrong axis would fit: squares and cubes. Each
 * is run on onnxruntime and compared with tfjs' cpu backend; signs of zero are seen through their reciprocals.
 */
import * as tf from '@tensorflow/tfjs-core';
import { specsOf, type HostTensor, type TensorTree } from '@dimo/core';
import { describe, expect, it } from 'vitest';
import { createGraphBuilder } from '../builder.js';
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
          for (const b of [1, -1, 0.5, 4]) {
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
