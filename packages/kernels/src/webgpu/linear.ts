/** Affine maps, their gradients and plain matrix products. */
import * as tf from '@tensorflow/tfjs-core';
import type { NamedTensorInfoMap, TensorInfo } from '@tensorflow/tfjs-core';
import { columnSums } from './columns.js';
import { directMatrixProduct, type MatrixProduct } from './matrix-product.js';
import { sizeOf } from './program.js';
import type { Tuning } from './rows.js';
import { tiledMatrixProduct } from './tiled-product.js';
import type { WebgpuBackend } from './webgpu-backend.js';

/** a b, either transposed, plus a bias on every row: [product], or [product, sums of a]. */
function product(backend: WebgpuBackend, tuning: Tuning, given: MatrixProduct): TensorInfo[] {
  const { a, b, transposeA = false, transposeB = false, bias, sumOfA = false } = given;
  if (tuning.matrixProduct === 'direct' || sizeOf(a.shape) === 0 || sizeOf(b.shape) === 0)
    return directMatrixProduct(backend, given);
  if (tuning.matrixProduct === 'tiled') return tiledMatrixProduct(backend, given);
  // The gradient's sums over rows are those of the columns of the operand as it lies in memory.
  const sums = sumOfA ? [columnSums(backend, tuning, a)] : [];
  const attributes = { transposeA, transposeB };
  const result = bias
    ? stockKernel(backend, '_FusedMatMul', { a, b, bias }, attributes)
    : stockKernel(backend, 'BatchMatMul', { a, b }, attributes);
  return [result, ...sums];
}

function stockKernel(
  backend: WebgpuBackend,
  name: string,
  inputs: NamedTensorInfoMap,
  attrs: Record<string, boolean>,
): TensorInfo {
  const kernel = tf.getKernel(name, 'webgpu');
  return kernel.kernelFunc({ inputs, backend, attrs }) as TensorInfo;
}

/** `DimoMatMul`: a b, either transposed. */
export function matrixProduct(
  backend: WebgpuBackend,
  tuning: Tuning,
  operands: Pick<MatrixProduct, 'a' | 'b' | 'transposeA' | 'transposeB'>,
): TensorInfo {
  return product(backend, tuning, operands)[0]!;
}

/** Arguments of `DimoLinear`. */
export interface LinearInputs {
  readonly x: TensorInfo;
  readonly weight: TensorInfo;
  readonly bias?: TensorInfo;
}

/** x W^T + b. */
export function linear(backend: WebgpuBackend, tuning: Tuning, { x, weight, bias }: LinearInputs): TensorInfo {
  return product(backend, tuning, { a: x, b: weight, transposeB: true, ...(bias ? { bias } : {}) })[0]!;
}

/** Arguments of `DimoLinearGrad`. */
export interface LinearGradInputs {
  readonly x: TensorInfo;
  readonly weight: TensorInfo;
  readonly dy: TensorInfo;
}

/** [dx, dweight] and, if there is a bias, dbias: dy W, dy^T x, and the sums of dy over the rows. */
export function linearGrad(
  backend: WebgpuBackend,
  tuning: Tuning,
  { x, weight, dy }: LinearGradInputs,
  hasBias: boolean,
): TensorInfo[] {
  const [dx] = product(backend, tuning, { a: dy, b: weight });
  return [dx!, ...product(backend, tuning, { a: dy, b: x, transposeA: true, sumOfA: hasBias })];
}
