/** The norm of all gradients together. */
import * as tf from '@tensorflow/tfjs-core';
import type { Scalar, Tensor } from '@tensorflow/tfjs-core';
import { runFusable } from './dispatch.js';

/**
 * float32 scalar: root of the sum of squares of all elements of all tensors; 0 if there are none. Kernel
 * `DimoGlobalNorm`. Not differentiable.
 */
export function globalNorm(tensors: readonly Tensor[]): Scalar {
  if (tensors.length === 0) return tf.scalar(0);
  const numbered = Object.fromEntries(tensors.map((tensor, i) => [String(i), tensor]));
  const [norm] = runFusable('DimoGlobalNorm', numbered, {}, () => {
    const squares = tensors.map((tensor) => tf.reshape(tf.sum(tf.mul(tensor, tensor)), [1]));
    return [tf.sqrt(tf.sum(squares.length === 1 ? squares[0]! : tf.concat(squares)))];
  });
  return norm as Scalar;
}
