/**
 * Convolutional layers on [batch, rows, columns, channels] with weights in PyTorch's layouts. Written so that they trace
 * into few nodes and have right gradients on every engine.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor, Tensor4D } from '@tensorflow/tfjs-core';
import { withGradient } from '../ops/dispatch.js';
import { linear } from '../ops/linear.js';
import type { TensorTree } from '../tensors.js';

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

/** Options of `groupNorm`. */
export interface GroupNormOptions {
  readonly numGroups: number;
  /** Added to the variance. */
  readonly epsilon: number;
}

/**
 * Group normalization with affine parameters `<name>.weight`, `<name>.bias` [C]: statistics over rows, columns and the
 * channels of a group (biased variance).
 *
 * @param x - float32 [batch, H, W, C], C a multiple of the number of groups.
 */
export function groupNorm(weights: TensorTree, name: string, x: Tensor4D, options: GroupNormOptions): Tensor4D {
  const { numGroups, epsilon } = options;
  const [batch, height, width, channels] = x.shape;
  const grouped = [batch, height * width, numGroups, channels / numGroups];
  const result = withGradient(
    [tf.reshape(x, grouped), weights[`${name}.weight`]!, weights[`${name}.bias`]!],
    ([input, weight, bias], save) => {
      const affine = [numGroups, channels / numGroups];
      const scale = tf.reshape(weight!, affine);
      const centred = tf.sub(input!, tf.mean(input!, [1, 3], true));
      const variance = tf.mean(tf.mul(centred, centred), [1, 3], true);
      const inverseDeviation = tf.div(1, tf.sqrt(tf.add(variance, epsilon)));
      const normalized = tf.mul(centred, inverseDeviation);
      save([normalized, inverseDeviation, scale]);
      return {
        value: tf.add(tf.mul(normalized, scale), tf.reshape(bias!, affine)),
        gradient: (dy, saved) => {
          const [n, inverse, scale1] = saved as [Tensor, Tensor, Tensor];
          // With g = dy * scale: dx = inverse * (g - mean(g) - n * mean(g * n)), as for layer normalization.
          const g = tf.mul(dy, scale1);
          const projected = tf.mul(n, tf.mean(tf.mul(g, n), [1, 3], true));
          const dx = tf.mul(inverse, tf.sub(tf.sub(g, tf.mean(g, [1, 3], true)), projected));
          const flat = (t: Tensor) => tf.reshape(tf.sum(t, [0, 1]), [channels]);
          return [dx, flat(tf.mul(dy, n)), flat(dy)];
        },
      };
    },
  );
  return tf.reshape(result, x.shape);
}
