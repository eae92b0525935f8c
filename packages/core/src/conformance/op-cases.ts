/** Ops with a float64 reference of their value; their gradients are compared with its central differences. */
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor, Tensor2D, Tensor3D, Tensor4D } from '@tensorflow/tfjs-core';
import {
  attention,
  embedding,
  gelu,
  groupNormalization,
  layerNorm,
  linear,
  matrixProduct,
  rmsNorm,
  rotaryEmbedding,
} from '../ops/index.js';
import { randomStream } from '../random/random.js';
import { bool, float32, int32, sizeOf, type HostTensor, type HostTree, type TensorTree } from '../tensors/tensors.js';
import { standardNormalDistribution } from '../random/truncated-normal.js';
import * as host from './host-math.js';
import { at, build, map, sum, type Reference } from './host-math.js';

/** One op on given arguments. */
export interface OpCase {
  readonly name: string;
  /** float32 arguments, differentiated. */
  readonly arguments: HostTree;
  /** Further arguments, not differentiated. */
  readonly constants?: HostTree;
  readonly apply: (arguments_: TensorTree, constants: TensorTree) => Tensor;
  readonly reference: (arguments_: Record<string, Reference>) => Reference;
  /** False for ops without a gradient. @default true */
  readonly isDifferentiable?: boolean;
}

/** Standard normal values that depend on the name alone. */
export function normal(name: string, shape: readonly number[], scale = 1) {
  return float32(
    shape,
    randomStream(11, 0, name)
      .normal(sizeOf(shape))
      .map((value) => value * scale),
  );
}

function shifted(tensor: HostTensor<'float32'>, by: number): HostTensor<'float32'> {
  return float32(
    tensor.shape,
    tensor.data.map((value) => value + by),
  );
}

const angles = [0, 0, 0.5, -1, 2, 3]; // two heads of two pairs, three positions
const ids = int32([2, 3], [4, 0, 4, 1, 4, 2]); // a repeated id adds up in the gradient
const chosen = bool([2, 3], [1, 0, 0, 1, 1, 0]);

/** Elementwise ops that the step functions use. Arguments stay away from the kinks of abs and relu. */
const unary: Record<string, readonly [(x: Tensor) => Tensor, (x: number) => number]> = {
  exp: [tf.exp, Math.exp],
  'log of a positive number': [(x) => tf.log(tf.add(tf.square(x), 0.5)), (x) => Math.log(x * x + 0.5)],
  sqrt: [(x) => tf.sqrt(tf.add(tf.square(x), 0.5)), (x) => Math.sqrt(x * x + 0.5)],
  tanh: [tf.tanh, Math.tanh],
  sigmoid: [tf.sigmoid, (x) => 1 / (1 + Math.exp(-x))],
  erf: [tf.erf, (x) => 2 * standardNormalDistribution(x * Math.SQRT2) - 1],
  relu: [tf.relu, (x) => Math.max(0, x)],
  abs: [tf.abs, Math.abs],
  neg: [tf.neg, (x) => -x],
  'gelu, exact': [gelu, host.gelu],
  'gelu, tanh form': [(x) => gelu(x, { approximate: 'tanh' }), host.geluTanh],
};

/** The cases. */
export const opCases: readonly OpCase[] = [
  ...Object.entries(unary).map(([name, [apply, reference]]): OpCase => ({
    name,
    arguments: { x: float32([3, 4], [-3, -2, -1.5, -1, -0.7, -0.2, 0.1, 0.4, 0.9, 1.3, 2.2, 3.1]) },
    apply: ({ x }) => apply(x!),
    reference: ({ x }) => map(x!, reference),
  })),
  {
    name: 'arithmetic with broadcasting',
    arguments: { a: normal('a', [2, 3, 4]), b: normal('b', [3, 1]), c: normal('c', [4]) },
    apply: ({ a, b, c }) => tf.div(tf.sub(tf.mul(a!, b!), c!), tf.add(tf.square(b!), 2)),
    reference: ({ a, b, c }) =>
      build([2, 3, 4], (i, j, k) => (at(a!, i, j, k) * at(b!, j, 0) - at(c!, k)) / (at(b!, j, 0) ** 2 + 2)),
  },
  ...[false, true].flatMap((transposeA) =>
    [false, true].map((transposeB): OpCase => ({
      name: `matrix product${transposeA ? ', first transposed' : ''}${transposeB ? ', second transposed' : ''}`,
      arguments: {
        a: normal('left', transposeA ? [2, 4, 3] : [2, 3, 4]),
        b: normal('right', transposeB ? [2, 5, 4] : [2, 4, 5]),
      },
      // tfjs' own product in a gradient, and the fusable one inside `linear` and `attention` below.
      apply: ({ a, b }) => tf.matMul(a!, b!, transposeA, transposeB),
      reference: ({ a, b }) =>
        build([2, 3, 5], (i, r, c) =>
          sum(
            4,
            (k) => (transposeA ? at(a!, i, k, r) : at(a!, i, r, k)) * (transposeB ? at(b!, i, c, k) : at(b!, i, k, c)),
          ),
        ),
    })),
  ),
  {
    name: 'matrixProduct with transposed operands',
    isDifferentiable: false,
    arguments: { a: normal('left', [4, 3]), b: normal('right', [5, 4]) },
    apply: ({ a, b }) => matrixProduct(a!, b!, true, true),
    reference: ({ a, b }) => build([3, 5], (r, c) => sum(4, (k) => at(a!, k, r) * at(b!, c, k))),
  },
  {
    name: 'linear with bias',
    arguments: { x: normal('x', [2, 3, 4]), weight: normal('weight', [5, 4]), bias: normal('bias', [5]) },
    apply: ({ x, weight, bias }) => linear(x!, weight!, bias),
    reference: ({ x, weight, bias }) =>
      build([2, 3, 5], (i, j, k) => sum(4, (d) => at(x!, i, j, d) * at(weight!, k, d)) + at(bias!, k)),
  },
  {
    name: 'linear without bias',
    arguments: { x: normal('x', [3, 4]), weight: normal('weight', [5, 4]) },
    apply: ({ x, weight }) => linear(x!, weight!),
    reference: ({ x, weight }) => build([3, 5], (i, k) => sum(4, (d) => at(x!, i, d) * at(weight!, k, d))),
  },
  {
    name: 'layerNorm',
    arguments: { x: normal('x', [2, 3, 6]), scale: normal('scale', [6]), offset: normal('offset', [6]) },
    apply: ({ x, scale, offset }) => layerNorm(x!, scale!, offset!, { epsilon: 1e-5 }),
    reference: ({ x, scale, offset }) => host.layerNorm(x!, scale!, offset!, 1e-5),
  },
  // Away from zero too. (Further away, onnxruntime's WebGPU provider loses digits: at mean 20 it is off by 3e-5.)
  ...[0, 5].map((mean): OpCase => ({
    name: `group normalization, mean ${mean}`,
    isDifferentiable: mean === 0,
    arguments: {
      x: shifted(normal('image', [2, 3, 4, 6]), mean),
      scale: normal('scale', [6]),
      offset: normal('offset', [6]),
    },
    apply: ({ x, scale, offset }) =>
      groupNormalization(x as Tensor4D, scale!, offset!, { numGroups: 3, epsilon: 1e-5 }),
    reference: ({ x, scale, offset }) => host.groupNorm(x!, scale!, offset!, { numGroups: 3, epsilon: 1e-5 }),
  })),
  {
    name: 'rmsNorm',
    arguments: { x: normal('x', [2, 3, 6]), scale: normal('scale', [6]) },
    apply: ({ x, scale }) => rmsNorm(x!, scale!, { epsilon: 1e-5 }),
    reference: ({ x, scale }) =>
      build([2, 3, 6], (i, j, k) => {
        const meanSquare = sum(6, (d) => at(x!, i, j, d) ** 2) / 6;
        return (at(x!, i, j, k) / Math.sqrt(meanSquare + 1e-5)) * at(scale!, k);
      }),
  },
  {
    name: 'rotaryEmbedding',
    arguments: { x: normal('x', [2, 3, 8]) },
    apply: ({ x }) =>
      rotaryEmbedding(
        x as Tensor3D,
        { cosines: tf.tensor2d(angles.map(Math.cos), [3, 2]), sines: tf.tensor2d(angles.map(Math.sin), [3, 2]) },
        2,
      ),
    reference: ({ x }) =>
      build([2, 3, 8], (i, j, k) => {
        const angle = angles[j * 2 + ((k % 4) >> 1)]!;
        const partner = at(x!, i, j, k ^ 1) * Math.sin(angle);
        return at(x!, i, j, k) * Math.cos(angle) + (k % 2 === 0 ? -partner : partner);
      }),
  },
  {
    name: 'attention',
    arguments: { query: normal('query', [2, 3, 8]), key: normal('key', [2, 5, 8]), value: normal('value', [2, 5, 8]) },
    apply: ({ query, key, value }) => attention(query as Tensor3D, key as Tensor3D, value as Tensor3D, { numHeads: 2 }),
    reference: ({ query, key, value }) => host.attention(query!, key!, value!, 2),
  },
  {
    // More positions than one tile of the fused kernels holds.
    name: 'attention over 50 positions',
    isDifferentiable: false,
    arguments: {
      query: normal('long query', [2, 50, 32]),
      key: normal('long key', [2, 50, 32]),
      value: normal('long value', [2, 50, 32]),
    },
    apply: ({ query, key, value }) => attention(query as Tensor3D, key as Tensor3D, value as Tensor3D, { numHeads: 2 }),
    reference: ({ query, key, value }) => host.attention(query!, key!, value!, 2),
  },
  {
    name: 'embedding',
    arguments: { table: normal('table', [5, 3]) },
    constants: { ids },
    apply: ({ table }, constants) => embedding(table!, constants['ids']!),
    reference: ({ table }) => build([2, 3, 3], (i, j, d) => at(table!, ids.data[i * 3 + j]!, d)),
  },
  {
    name: 'gather',
    arguments: { table: normal('table', [5, 3]) },
    constants: { ids },
    apply: ({ table }, constants) => tf.gather(table!, tf.reshape(constants['ids']!, [-1]) as tf.Tensor1D),
    reference: ({ table }) => build([6, 3], (i, d) => at(table!, ids.data[i]!, d)),
  },
  {
    name: 'softmax and logSoftmax',
    arguments: { x: normal('x', [2, 5], 3) },
    apply: ({ x }) => tf.add(tf.softmax(x!, -1), tf.logSoftmax(x!, -1)),
    reference: ({ x }) =>
      build([2, 5], (i, j) => {
        const row = host.logSoftmax(host.rowAt(x!, i));
        return row[j]! + Math.exp(row[j]!);
      }),
  },
  {
    name: 'sums and means over axes',
    arguments: { x: normal('x', [2, 3, 4]) },
    apply: ({ x }) => tf.add(tf.sum(x!, [0, 2]), tf.mean(tf.square(x!), [0, 2])),
    reference: ({ x }) =>
      build([3], (j) => sum(8, (i) => at(x!, i >> 2, j, i & 3)) + sum(8, (i) => at(x!, i >> 2, j, i & 3) ** 2) / 8),
  },
  {
    name: 'concatenation, slices, transposition and padding',
    arguments: { a: normal('a', [2, 3]), b: normal('b', [2, 2]) },
    apply: ({ a, b }) => {
      const joined = tf.concat([a!, b!], 1);
      return tf.pad(tf.transpose(tf.slice(joined, [0, 1], [2, 3])), [
        [0, 1],
        [1, 0],
      ]);
    },
    reference: ({ a, b }) =>
      build([4, 3], (i, j) => (i === 3 || j === 0 ? 0 : i < 2 ? at(a!, j - 1, i + 1) : at(b!, j - 1, 0))),
  },
  {
    name: 'selection by a condition',
    arguments: { a: normal('a', [2, 3]), b: normal('b', [2, 3]) },
    constants: { chosen },
    apply: ({ a, b }, constants) => tf.where(constants['chosen']!, a!, tf.mul(b!, 2)),
    reference: ({ a, b }) => build([2, 3], (i, j) => (chosen.data[i * 3 + j] ? at(a!, i, j) : at(b!, i, j) * 2)),
  },
  ...[1, 2].map((stride): OpCase => ({
    name: `convolution with stride ${stride}`,
    arguments: { x: normal('image', [2, 5, 6, 3]), filter: normal('filter', [3, 3, 3, 2]) },
    apply: ({ x, filter }) => tf.conv2d(x as Tensor4D, filter as Tensor4D, stride, 'same'),
    reference: ({ x, filter }) => host.convolution(x!, filter!, stride),
  })),
  {
    name: 'cumulative sum',
    isDifferentiable: false,
    arguments: { x: normal('x', [2, 3, 4]) },
    apply: ({ x }) => tf.cumsum(x!, 2),
    reference: ({ x }) => build([2, 3, 4], (i, j, k) => sum(k + 1, (d) => at(x!, i, j, d))),
  },
  {
    name: 'largest, smallest and clipped values',
    isDifferentiable: false,
    arguments: { x: normal('x', [3, 5]) },
    apply: ({ x }) => tf.add(tf.sub(tf.max(x!, 1), tf.min(x!, 1)), tf.sum(tf.clipByValue(x as Tensor2D, -0.5, 0.5), 1)),
    reference: ({ x }) =>
      build([3], (i) => {
        const row = host.rowAt(x!, i);
        return Math.max(...row) - Math.min(...row) + sum(5, (j) => Math.min(0.5, Math.max(-0.5, row[j]!)));
      }),
  },
];
