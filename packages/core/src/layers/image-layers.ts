/**
 * Convolutional layers on [batch, rows, columns, channels] with weights in PyTorch's layouts. Written so that they trace
 * into few nodes and have right gradients on every engine.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor, Tensor4D } from '@tensorflow/tfjs-core';
import { groupNormalization, type GroupNormOptions } from '../ops/group-norm.js';
import { linear } from '../ops/linear.js';
import type { TensorTree } from '../tensors/tensors.js';

/** Options of `convolution`. */
export interface ConvolutionOptions {
  /** @default 1 */
  readonly stride?: number;
  /** Zeros on all four sides. @default 0 */
  readonly padding?: number;
}

/**
 * Convolution with bias. `<name>.weight` [out, in, rows, columns], `<name>.bias` [out].
 *
 * @param x - float32 [batch, H, W, in].
 * @returns float32 [batch, H', W', out].
 */
export function convolution(
  weights: TensorTree,
  name: string,
  x: Tensor4D,
  options: ConvolutionOptions = {},
): Tensor4D {
  const { stride = 1, padding = 0 } = options;
  const weight = weights[`${name}.weight`] as Tensor4D;
  const bias = weights[`${name}.bias`]!;
  const [out, inner, height, width] = weight.shape;
  // A matrix product has the cheaper gradients.
  if (height === 1 && width === 1 && stride === 1) return linear(x, tf.reshape(weight, [out, inner]), bias);
  const filter = tf.transpose(weight, [2, 3, 1, 0]); // [rows, columns, in, out]
  return tf.add(tf.conv2d(x, filter, stride, padding === 0 ? 'valid' : padding), bias);
}

/**
 * Transposed convolution with bias, kernel 4, stride 2, padding 1: doubles height and width. `<name>.weight` [in, out,
 * 4, 4], `<name>.bias` [out].
 */
export function doublingConvolution(weights: TensorTree, name: string, x: Tensor4D): Tensor4D {
  const weight = weights[`${name}.weight`] as Tensor4D;
  const [batch, height, width] = x.shape;
  const filter = tf.transpose(weight, [2, 3, 1, 0]); // [rows, columns, out, in]
  const shape: [number, number, number, number] = [batch, 2 * height, 2 * width, weight.shape[1]];
  return tf.add(tf.conv2dTranspose(x, filter, shape, 2, 'same'), weights[`${name}.bias`]!);
}

/** Nearest-neighbour doubling of height and width. */
export function upsampleNearest(x: Tensor4D): Tensor4D {
  // Concatenations: their gradient is a sum of slices, while tfjs' resize has a wrong one for batches on the cpu.
  const [batch, height, width, channels] = x.shape;
  const wide = tf.reshape(tf.concat([x, x], 3), [batch, height, 2 * width * channels]);
  return tf.reshape(tf.concat([wide, wide], 2), [batch, 2 * height, 2 * width, channels]);
}

/** x * sigmoid(x). */
export function silu<T extends Tensor>(x: T): T {
  return tf.mul(x, tf.sigmoid(x));
}

/**
 * Group normalization, `groupNormalization`, with the parameters `<name>.weight` and `<name>.bias` [C].
 *
 * @param x - float32 [batch, H, W, C], C a multiple of the number of groups.
 */
export function groupNorm(weights: TensorTree, name: string, x: Tensor4D, options: GroupNormOptions): Tensor4D {
  return groupNormalization(x, weights[`${name}.weight`]!, weights[`${name}.bias`]!, options);
}
