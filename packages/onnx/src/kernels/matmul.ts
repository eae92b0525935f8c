/** Matrix products. */
import * as tf from '@tensorflow/tfjs-core';
import { sizeOf } from '@dimo/core';
import type { GraphBuilder } from '../builder.js';
import { float, int, type Value } from '../graph.js';
import { broadcastShape, lazy, materialize, reshapeValue, transposeValue, type LazyTensor } from '../lazy.js';
import { addLazy } from './binary.js';
import { kernel, unsupported, type KernelTable } from './kernel.js';
import { unaryKernels } from './unary.js';

/** A matrix and whether it is to be read transposed. */
interface MatrixOperand {
  readonly value: Value;
  readonly transposed: boolean;
}

/** Takes a transposition of the last two axes, as a view or as a node, into the flag. */
function matrixOperand(builder: GraphBuilder, tensor: LazyTensor, transposed: boolean): MatrixOperand {
  const rank = tensor.shape.length;
  const swapsLast = (permutation: readonly number[]) =>
    permutation.every((source, axis) => source === (axis < rank - 2 ? axis : 2 * rank - 3 - axis));
  if (tensor.kind === 'view' && swapsLast(tensor.permutation) && sizeOf(tensor.base.shape) === sizeOf(tensor.shape))
    return { value: tensor.base, transposed: !transposed };
  return { value: materialize(builder, tensor), transposed };
}

/** y = a b + c for matrices; `c` is a vector or absent. */
export function gemm(builder: GraphBuilder, a: MatrixOperand, b: MatrixOperand, c?: Value): Value {
  const rows = a.value.shape[a.transposed ? 1 : 0]!;
  const columns = b.value.shape[b.transposed ? 0 : 1]!;
  const attributes = {
    transA: int(a.transposed ? 1 : 0),
    transB: int(b.transposed ? 1 : 0),
    alpha: float(1),
    beta: float(1),
  };
  const inputs = c ? [a.value, b.value, c] : [a.value, b.value];
  return builder.node('Gemm', inputs, { type: 'float32', shape: [rows, columns] }, { attributes });
}

/** y = x W^T + b: x [M, K], weight [N, K], bias [N]. */
export function linearLazy(
  builder: GraphBuilder,
  x: LazyTensor,
  weight: LazyTensor,
  bias: LazyTensor | undefined,
): LazyTensor {
  const c = bias && materialize(builder, bias);
  return lazy(gemm(builder, matrixOperand(builder, x, false), matrixOperand(builder, weight, true), c));
}

/** Batched matrix product with broadcasting of the leading axes. */
export function matmulLazy(
  builder: GraphBuilder,
  a: LazyTensor,
  b: LazyTensor,
  transposeA: boolean,
  transposeB: boolean,
): LazyTensor {
  if (a.type !== 'float32' || b.type !== 'float32') unsupported('matMul is supported for float32 only');
  const left = matrixOperand(builder, a, transposeA);
  const right = matrixOperand(builder, b, transposeB);
  const rowsOf = ({ value, transposed }: MatrixOperand) => value.shape[value.shape.length - (transposed ? 1 : 2)]!;
  const columnsOf = ({ value, transposed }: MatrixOperand) => value.shape[value.shape.length - (transposed ? 2 : 1)]!;
  const batch = broadcastShape(a.shape.slice(0, -2), b.shape.slice(0, -2));
  const shape = [...batch, rowsOf(left), columnsOf(right)];
  const isMatrix = ({ value }: MatrixOperand) => sizeOf(value.shape.slice(0, -2)) === 1;
  if (isMatrix(right) && (isMatrix(left) || !left.transposed)) {
    const flat = ({ value, transposed }: MatrixOperand) => {
      const columns = value.shape[value.shape.length - 1]!;
      return { value: reshapeValue(builder, value, [sizeOf(value.shape) / Math.max(columns, 1), columns]), transposed };
    };
    if (sizeOf(shape) > 0) return lazy(reshapeValue(builder, gemm(builder, flat(left), flat(right)), shape));
  }
  // onnxruntime folds these transpositions into its FusedMatMul.
  const plain = ({ value, transposed }: MatrixOperand) => {
    const axes = value.shape.map((_, axis) => axis);
    return transposed
      ? transposeValue(builder, value, [...axes.slice(0, -2), axes.length - 1, axes.length - 2])
      : value;
  };
  return lazy(builder.node('MatMul', [plain(left), plain(right)], { type: 'float32', shape }));
}

interface FusedMatMulAttributes extends tf._FusedMatMulAttrs {
  readonly leakyreluAlpha: number;
}

/** Applies an activation by its tfjs name. */
export function activate(
  builder: GraphBuilder,
  x: LazyTensor,
  activation: string | undefined,
  more: { weights?: LazyTensor | undefined; alpha?: number },
): LazyTensor {
  if (!activation || activation === 'linear') return x;
  const names: Record<string, string> = {
    relu: tf.Relu,
    relu6: tf.Relu6,
    elu: tf.Elu,
    sigmoid: tf.Sigmoid,
    leakyrelu: tf.LeakyRelu,
  };
  const name = names[activation];
  const lower = name === undefined ? undefined : unaryKernels[name];
  if (!lower) return unsupported(`activation ${activation} is not supported; apply it as an op of its own`);
  return lower(builder, { x }, { alpha: more.alpha }) as LazyTensor;
}

export const matmulKernels: KernelTable = {
  [tf.BatchMatMul]: kernel<'a' | 'b', tf.BatchMatMulAttrs>((builder, { a, b }, { transposeA, transposeB }) =>
    matmulLazy(builder, a, b, transposeA, transposeB),
  ),
  [tf._FusedMatMul]: kernel<'a' | 'b' | 'bias', FusedMatMulAttributes>((builder, { a, b, bias }, attributes) => {
    const product = matmulLazy(builder, a, b, attributes.transposeA, attributes.transposeB);
    const biased = (bias as LazyTensor | undefined) ? addLazy(builder, product, bias) : product;
    return activate(builder, biased, attributes.activation, { alpha: attributes.leakyreluAlpha });
  }),
};
