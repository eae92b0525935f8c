/** Layers of the transformer, channels last; weights as on disk. */
import { layerNorm, linear, rmsNorm, silu, type TensorTree } from '@dimo/core';
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor, Tensor2D, Tensor3D } from '@tensorflow/tfjs-core';

/** Epsilon of every norm. */
export const normEpsilon = 1e-6;

/** x W^T, plus the bias if there is one. */
export function dense<T extends Tensor>(weights: TensorTree, name: string, x: T): T {
  return linear(x, weights[`${name}.weight`]!, weights[`${name}.bias`]);
}

/** A convolution with a 1 x 1 filter and no bias, as a linear map over the channels. */
export function pointwise<T extends Tensor>(weights: TensorTree, name: string, x: T): T {
  const filter = weights[`${name}.weight`]!;
  return linear(x, tf.reshape(filter, [filter.shape[0]!, filter.shape[1]!]));
}

/** Root-mean-square norm with the weight `<name>.weight`. */
export function norm<T extends Tensor>(weights: TensorTree, name: string, x: T): T {
  return rmsNorm(x, weights[`${name}.weight`]!, { epsilon: normEpsilon });
}

/** Linear, SiLU, linear. */
export function siluMlp(weights: TensorTree, name: string, x: Tensor2D): Tensor2D {
  return dense(weights, `${name}.linear_2`, silu(dense(weights, `${name}.linear_1`, x)));
}

/** The parts of a modulation, each float32 [batch, 1, D]. */
export function modulation(weights: TensorTree, name: string, activated: Tensor2D, count: number): Tensor3D[] {
  const [batch, width] = activated.shape;
  const parts = tf.split(dense(weights, `${name}.linear`, activated), count, 1);
  return parts.map((part) => tf.reshape(part, [batch, 1, width]));
}

/** Layer norm without weights, then times (1 + scale) plus shift. */
export function modulatedNorm(x: Tensor3D, shift: Tensor3D, scale: Tensor3D): Tensor3D {
  const width = x.shape[2];
  const normalized = layerNorm(x, tf.ones([width]), tf.zeros([width]), { epsilon: normEpsilon });
  return tf.add(tf.mul(normalized, tf.add(scale, 1)), shift);
}

/** Shape of a grid of tokens. */
export interface GridShape {
  readonly rows: number;
  readonly columns: number;
}

/**
 * Norm, then a 2 x 2 convolution with stride 2 and no bias.
 *
 * @param x - float32 [batch, rows * columns, D], both even.
 * @returns float32 [batch, rows * columns / 4, D].
 */
export function downsample(weights: TensorTree, name: string, x: Tensor3D, grid: GridShape): Tensor3D {
  const [batch, , width] = x.shape;
  const [h, w] = [grid.rows / 2, grid.columns / 2];
  const filter = weights[`${name}.conv.weight`]!; // [out, in, 2, 2]
  const matrix = tf.reshape(tf.transpose(filter, [0, 2, 3, 1]), [filter.shape[0]!, 4 * width]);
  const cells = tf.reshape(norm(weights, `${name}.norm`, x), [batch * h, 2, w, 2 * width]);
  const patches = tf.reshape(tf.transpose(cells, [0, 2, 1, 3]), [batch, h * w, 4 * width]);
  return linear(patches as Tensor3D, matrix);
}

/**
 * Norm, then a 2 x 2 transposed convolution with stride 2 and no bias.
 *
 * @param x - float32 [batch, rows * columns / 4, D].
 * @param grid - that of the result.
 * @returns float32 [batch, rows * columns, D].
 */
export function upsample(weights: TensorTree, name: string, x: Tensor3D, grid: GridShape): Tensor3D {
  const [batch, , width] = x.shape;
  const [h, w] = [grid.rows / 2, grid.columns / 2];
  const filter = weights[`${name}.conv.weight`]!; // [in, out, 2, 2]
  const out = filter.shape[1]!;
  const matrix = tf.reshape(tf.transpose(filter, [2, 3, 1, 0]), [4 * out, width]);
  const patches = tf.reshape(linear(norm(weights, `${name}.norm`, x), matrix), [batch * h, w, 2, 2 * out]);
  return tf.reshape(tf.transpose(patches, [0, 2, 1, 3]), [batch, grid.rows * grid.columns, out]);
}
