/** Matrix products in the layouts that models and their gradients use. */
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import { ShapeError } from '../errors.js';
import { runFusable, withGradient } from './dispatch.js';

/**
 * Matrix product. Kernel `DimoMatMul`.
 */
export function matrixProduct<T extends Tensor>(a: T, b: T, transposeA = false, transposeB = false): T {
  const [product] = runFusable('DimoMatMul', { a, b }, { transposeA, transposeB }, () => [
    tf.matMul(a, b, transposeA, transposeB),
  ]);
  return product as T;
}

/**
 * Affine map y = x W^T + b. Kernels `DimoLinear` and `DimoLinearGrad`.
 *
 * @param x - float32 [..., K].
 * @param weight - float32 [N, K], the layout of PyTorch's `Linear`.
 * @param bias - float32 [N].
 * @returns float32 [..., N]; differentiable in all three.
 * @throws ShapeError if the inner lengths differ.
 */
export function linear<T extends Tensor>(x: T, weight: Tensor, bias?: Tensor): T {
  const [numOutputs, numInputs] = weight.shape as [number, number];
  if (weight.rank !== 2 || x.shape[x.rank - 1] !== numInputs)
    throw new ShapeError(
      `linear: x must be [..., K] and weight [N, K], got [${x.shape.join(', ')}] and [${weight.shape.join(', ')}]`,
    );
  const rows = tf.reshape(x, [-1, numInputs]);
  const y = withGradient(bias ? [rows, weight, bias] : [rows, weight], (inputs, save) => {
    const [x2, w, b] = inputs as [Tensor, Tensor, Tensor | undefined];
    save([x2, w]);
    const [value] = runFusable('DimoLinear', { x: x2, weight: w, bias: b }, {}, () => {
      const product = matrixProduct(x2, w, false, true);
      return [b ? tf.add(product, b) : product];
    });
    return {
      value,
      gradient: (dy, saved) => {
        const [savedX, savedW] = saved as [Tensor, Tensor];
        return runFusable('DimoLinearGrad', { x: savedX, weight: savedW, dy }, { hasBias: b !== undefined }, () => {
          const gradients = [matrixProduct(dy, savedW), matrixProduct(dy, savedX, true, false)] as const;
          return b ? [...gradients, tf.sum(dy, 0)] : gradients;
        });
      },
    };
  });
  return tf.reshape(y, [...x.shape.slice(0, -1), numOutputs]) as T;
}
