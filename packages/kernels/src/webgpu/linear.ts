/** Affine maps, their gradients and plain matrix products. */
import * as tf from '@tensorflow/tfjs-core';
import type { NamedTensorInfoMap, TensorInfo } from '@tensorflow/tfjs-core';
import type { Kernel } from './kernel.js';
import { columnSums } from './column-sums.js';
import { directMatrixProduct, type MatrixProduct, type ProductAndSums } from './matrix-product.js';
import { sizeOf } from './program.js';
import type { Tuning } from './rows.js';
import { tiledMatrixProduct } from './tiled-product.js';
import type { WebgpuBackend } from './webgpu-backend.js';

/** a b, either transposed, plus a bias on every row: [product], or [product, sums of a]. */
function product(backend: WebgpuBackend, tuning: Tuning, given: MatrixProduct): ProductAndSums {
  const { a, b, transposeA = false, transposeB = false, bias, sumOfA = false } = given;
  if (tuning.matrixProduct === 'direct' || sizeOf(a.shape) === 0 || sizeOf(b.shape) === 0)
    return directMatrixProduct(backend, given);
  if (tuning.matrixProduct === 'tiled') return tiledMatrixProduct(backend, given);
  const attributes = { transposeA, transposeB };
  const result = bias
    ? stockKernel(backend, '_FusedMatMul', { a, b, bias }, attributes)
    : stockKernel(backend, 'BatchMatMul', { a, b }, attributes);
  // The gradient's sums over rows are those of the columns of the operand as it lies in memory.
  return sumOfA ? [result, columnSums(backend, tuning, a)] : [result];
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
export const matrixProduct: Kernel<'DimoMatMul'> = (backend, tuning, { a, b }, transposed) => {
  return [product(backend, tuning, { a, b, ...transposed })[0]];
};

/** x W^T + b. */
export const linear: Kernel<'DimoLinear'> = (backend, tuning, { x, weight, bias }) => {
  return [product(backend, tuning, { a: x, b: weight, transposeB: true, ...(bias ? { bias } : {}) })[0]];
};

/** [dx, dweight] and, if there is a bias, dbias: dy W, dy^T x, and the sums of dy over the rows. */
export const linearGrad: Kernel<'DimoLinearGrad'> = (backend, tuning, { x, weight, dy }, { hasBias }) => {
  const [dx] = product(backend, tuning, { a: dy, b: weight });
  const [dweight, dbias] = product(backend, tuning, { a: dy, b: x, transposeA: true, sumOfA: hasBias });
  return dbias ? [dx, dweight, dbias] : [dx, dweight];
};
