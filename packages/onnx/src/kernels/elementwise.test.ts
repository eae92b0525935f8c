import * as tf from '@tensorflow/tfjs-core';
import { linear, type HostTensor, type HostTree, type TensorTree } from '@dimo/core';
import fc from 'fast-check';
import { describe, it } from 'vitest';
import { expectTracedEqualsEager, gradientsOf, numbers, wholeNumbers } from '../test-support/oracle.js';

type Unary = (x: tf.Tensor) => tf.Tensor;

const special: HostTensor<'float32'> = {
  dtype: 'float32',
  shape: [6],
  data: Float32Array.of(NaN, Infinity, -Infinity, 0, 1.5, -2.5),
};
const positive = (tensor: HostTensor): HostTensor => ({
  ...tensor,
  data: (tensor.data as Float32Array).map((value) => Math.abs(value) + 0.2),
});

const smooth: Record<string, Unary> = {
  abs: tf.abs,
  neg: tf.neg,
  exp: tf.exp,
  sin: tf.sin,
  cos: tf.cos,
  tan: tf.tan,
  atan: tf.atan,
  sinh: tf.sinh,
  cosh: tf.cosh,
  tanh: tf.tanh,
  erf: tf.erf,
  square: tf.square,
  sigmoid: tf.sigmoid,
  softplus: tf.softplus,
  relu: tf.relu,
  relu6: tf.relu6,
  elu: tf.elu,
  leakyRelu: (x) => tf.leakyRelu(x, 0.1),
  expm1: tf.expm1,
  clip: (x) => tf.clipByValue(x, -0.5, 0.7),
  asin: (x) => tf.asin(tf.mul(x, 0.3)),
  acos: (x) => tf.acos(tf.mul(x, 0.3)),
};
const onPositive: Record<string, Unary> = {
  log: tf.log,
  sqrt: tf.sqrt,
  rsqrt: tf.rsqrt,
  reciprocal: tf.reciprocal,
  log1p: tf.log1p,
};
const withoutGradient: Record<string, Unary> = {
  floor: tf.floor,
  ceil: tf.ceil,
  sign: tf.sign,
  round: tf.round,
  step: (x) => tf.step(x, 0.3),
  isNaN: tf.isNaN,
  isFinite: tf.isFinite,
  isInf: tf.isInf,
  toInt: (x) => tf.cast(x, 'int32'),
  toBool: (x) => tf.cast(x, 'bool'),
  zerosLike: tf.zerosLike,
  onesLike: tf.onesLike,
};
// tfjs has no gradient for ELU on the tracer (kernel EluGrad is rare); it is checked forward only.
const forwardOnly = new Set(['elu', 'relu6', 'leakyRelu']);

describe('unary kernels', () => {
  it.each(Object.entries(smooth))('%s', async (name, op) => {
    const x = numbers([3, 7], 1, 3);
    await expectTracedEqualsEager((_, t) => ({ outputs: { y: op(t['x']!) } }), { x });
    if (!forwardOnly.has(name))
      await expectTracedEqualsEager(
        gradientsOf((t) => op(t['x']!), ['x']),
        { x },
      );
  });
  it.each(Object.entries(onPositive))('%s of positive numbers', (_, op) =>
    expectTracedEqualsEager(
      gradientsOf((t) => op(t['x']!), ['x']),
      { x: positive(numbers([3, 7], 2, 3)) },
    ),
  );
  it.each(Object.entries(withoutGradient))('%s', async (name, op) => {
    const x = { ...numbers([2, 3], 3, 3) };
    await expectTracedEqualsEager((_, t) => ({ outputs: { y: op(t['x']!) } }), { x });
    if (name.startsWith('is'))
      await expectTracedEqualsEager((_, t) => ({ outputs: { y: op(t['x']!) } }), { x: special });
  });
  it('round takes halves to even', () =>
    expectTracedEqualsEager((_, t) => ({ outputs: { y: tf.round(t['x']!) } }), {
      x: { dtype: 'float32', shape: [4], data: Float32Array.of(0.5, 1.5, 2.5, -0.5) },
    }));
});

const binary: Record<string, (a: tf.Tensor, b: tf.Tensor) => tf.Tensor> = {
  add: tf.add,
  sub: tf.sub,
  mul: tf.mul,
  div: tf.div,
  maximum: tf.maximum,
  minimum: tf.minimum,
  squaredDifference: tf.squaredDifference,
};
const comparisons: Record<string, (a: tf.Tensor, b: tf.Tensor) => tf.Tensor> = {
  less: tf.less,
  lessEqual: tf.lessEqual,
  greater: tf.greater,
  greaterEqual: tf.greaterEqual,
  equal: tf.equal,
  notEqual: tf.notEqual,
};
const shapePairs: [number[], number[]][] = [
  [
    [2, 3, 4],
    [2, 3, 4],
  ],
  [[2, 3, 4], [4]],
  [
    [2, 3, 1],
    [1, 4],
  ],
  [[], [2, 3]],
  [[1], [2, 1, 3]],
];

describe('binary kernels', () => {
  it.each(Object.entries(binary))('%s with broadcasting, and its gradient', async (name, op) => {
    for (const [left, right] of shapePairs) {
      const inputs = { a: numbers(left, 1, 2), b: positive(numbers(right, 2, 2)) };
      await expectTracedEqualsEager((_, t) => ({ outputs: { y: op(t['a']!, t['b']!) } }), inputs);
      // tfjs does not reduce the gradients of these to the operand's shape.
      const isReduced = !['maximum', 'minimum', 'squaredDifference'].includes(name) || left.join() === right.join();
      if (isReduced)
        await expectTracedEqualsEager(
          gradientsOf((t) => op(t['a']!, t['b']!), ['a', 'b']),
          inputs,
        );
    }
  });
  it('pow', () =>
    expectTracedEqualsEager(
      gradientsOf((t) => tf.pow(t['a']!, t['b']!), ['a', 'b']),
      {
        a: positive(numbers([2, 3], 1, 2)),
        b: numbers([3], 2, 2),
      },
    ));
  it('prelu', () =>
    expectTracedEqualsEager((_, t) => ({ outputs: { y: tf.prelu(t['a']!, t['b']!) } }), {
      a: numbers([2, 3], 1, 2),
      b: numbers([3], 2, 2),
    }));
  it.each(['add', 'sub', 'mul', 'maximum', 'minimum'] as const)('%s of integers', (name) =>
    expectTracedEqualsEager((_, t) => ({ outputs: { y: binary[name]!(t['a']!, t['b']!) } }), {
      a: wholeNumbers([2, 3], 10, 1),
      b: wholeNumbers([3], 10, 2),
    }),
  );
  it('division and remainder of integers round down', () => {
    const signed = { dtype: 'int32' as const, shape: [4], data: Int32Array.of(7, -7, 7, -7) };
    const divisor = { dtype: 'int32' as const, shape: [4], data: Int32Array.of(2, 2, -2, -2) };
    return expectTracedEqualsEager(
      (_, t) => ({
        outputs: {
          quotient: tf.div(t['a']!, t['b']!),
          floor: tf.floorDiv(t['a']!, t['b']!),
          remainder: tf.mod(t['a']!, t['b']!),
        },
      }),
      { a: signed, b: divisor },
    );
  });
  it('remainder of floats', () =>
    expectTracedEqualsEager((_, t) => ({ outputs: { y: tf.mod(t['a']!, t['b']!) } }), {
      a: numbers([7], 1, 5),
      b: positive(numbers([7], 2, 2)),
    }));
  it.each(Object.entries(comparisons))('%s of floats and integers', async (_, op) => {
    const compare = (_: TensorTree, t: TensorTree) => ({ outputs: { y: op(t['a']!, t['b']!) } });
    await expectTracedEqualsEager(compare, { a: wholeNumbers([3, 5], 4, 1), b: wholeNumbers([5], 4, 2) });
    await expectTracedEqualsEager(compare, { a: numbers([3, 5], 1), b: numbers([3, 1], 2) });
  });
  it('logical kernels and where', () =>
    expectTracedEqualsEager(
      (_, t) => {
        const isSmall = tf.less(t['a']!, 0);
        const isEven = tf.equal(tf.mod(t['n']!, tf.scalar(2, 'int32')), tf.scalar(0, 'int32'));
        return {
          outputs: {
            and: tf.logicalAnd(isSmall, isEven),
            or: tf.logicalOr(isSmall, isEven),
            not: tf.logicalNot(isSmall),
            where: tf.where(isSmall, t['a']!, tf.scalar(5)),
            whereInt: tf.where(isSmall, t['n']!, tf.scalar(3, 'int32')),
            whereBool: tf.where(isSmall, isEven, tf.logicalNot(isEven)),
          },
        };
      },
      { a: numbers([3, 4]), n: wholeNumbers([3, 4], 9, 2) },
    ));
  it('gradient of where', () =>
    expectTracedEqualsEager(
      gradientsOf((t) => tf.where(tf.less(t['c']!, 0), t['a']!, t['b']!), ['a', 'b']),
      {
        a: numbers([3, 4], 1),
        b: numbers([3, 4], 2),
        c: numbers([3, 4], 3),
      },
    ));
  it('addN', () =>
    expectTracedEqualsEager(
      gradientsOf((t) => tf.addN([t['a']!, t['b']!, t['a']!]), ['a', 'b']),
      {
        a: numbers([3, 4], 1),
        b: numbers([3, 4], 2),
      },
    ));
});

describe('views', () => {
  /** A random program over transposed, reshaped and broadcast tensors. */
  const steps = fc.array(
    fc.record({
      kind: fc.constantFrom(
        'transpose',
        'reshape',
        'tile',
        'add',
        'mulVector',
        'sum',
        'mean',
        'relu',
        'slice',
        'pad',
        'concat',
      ),
      seed: fc.nat(1000),
    }),
    { minLength: 1, maxLength: 7 },
  );
  const axisOrder = (rank: number, seed: number) => {
    const order = Array.from({ length: rank }, (_, axis) => axis);
    for (let i = rank - 1; i > 0; i--) {
      const j = (seed * 31 + i * 17) % (i + 1);
      [order[i], order[j]] = [order[j]!, order[i]!];
    }
    return order;
  };
  const apply = (x: tf.Tensor, kind: string, seed: number, other: tf.Tensor): tf.Tensor => {
    const rank = x.rank;
    if (kind === 'transpose') return tf.transpose(x, axisOrder(rank, seed));
    if (kind === 'reshape') {
      const axis = seed % rank;
      const length = x.shape[axis]!;
      // Split an even axis, merge two, or insert an axis of length 1.
      if (seed % 3 === 0 && length % 2 === 0 && rank < 6)
        return tf.reshape(x, [...x.shape.slice(0, axis), length / 2, 2, ...x.shape.slice(axis + 1)]);
      if (seed % 3 === 1 && axis + 1 < rank)
        return tf.reshape(x, [...x.shape.slice(0, axis), length * x.shape[axis + 1]!, ...x.shape.slice(axis + 2)]);
      return rank < 6 ? tf.expandDims(x, axis) : x;
    }
    if (kind === 'tile')
      return tf.tile(
        x,
        x.shape.map((length, axis) => (length === 1 && axis % 2 === seed % 2 ? 2 : 1)),
      );
    if (kind === 'add')
      return tf.add(tf.sin(x), tf.transpose(tf.cos(x)).shape.join() === x.shape.join() ? tf.transpose(x) : x);
    if (kind === 'mulVector') return tf.mul(x, tf.slice(other, [0], [x.shape[rank - 1]!]));
    if (kind === 'sum') return tf.sum(x, [seed % rank], true);
    if (kind === 'mean') return tf.sub(x, tf.mean(x, [seed % rank], true));
    if (kind === 'slice')
      return tf.slice(
        x,
        x.shape.map((length) => (length > 2 ? 1 : 0)),
      );
    if (kind === 'pad')
      return tf.pad(
        x,
        x.shape.map((length, axis) => (axis === seed % rank && length < 8 ? [1, 0] : [0, 0])),
        0.5,
      );
    if (kind === 'repeat') return tf.concat([x, x], seed % rank);
    if (kind === 'linear') {
      const width = x.shape[rank - 1]!;
      return linear(x, tf.reshape(tf.slice(other, [0], [2 * width]), [2, width]));
    }
    if (kind === 'concat') return tf.concat([x, tf.relu(x)], seed % rank);
    return tf.relu(x);
  };
  it('any chain of layout changes equals the eager result', () =>
    fc.assert(
      fc.asyncProperty(steps, async (program) => {
        const inputs: HostTree = { x: numbers([2, 3, 4], 1), other: numbers([4096], 2) };
        await expectTracedEqualsEager(
          (_, t) => {
            let y = t['x']!;
            for (const { kind, seed } of program) if (y.size < 1500) y = apply(y, kind, seed, t['other']!);
            return { outputs: { y, sum: tf.sum(tf.mul(y, tf.slice(t['other']!, [0], [y.shape[y.rank - 1]!]))) } };
          },
          inputs,
          { tolerance: 1e-4 },
        );
      }),
      { numRuns: 120, seed: 5 },
    ));
});
