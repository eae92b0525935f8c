/** Group normalization of images with affine parameters. */
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor, Tensor4D } from '@tensorflow/tfjs-core';
import { ShapeError } from '../errors.js';
import { isRecordingGradient, runFusable, withGradient } from './dispatch.js';

/** Options of `groupNormalization`. */
export interface GroupNormOptions {
  /** Divides the number of channels. */
  readonly numGroups: number;
  /** Added to the variance. */
  readonly epsilon: number;
}

/**
 * y = (x - mean) / sqrt(variance + epsilon) * scale + offset, statistics of each sample over rows, columns and the
 * channels of a group (biased variance; Wu and He, arXiv 1803.08494).
 *
 * Kernel `DimoGroupNorm`, used where no gradient is recorded; with a gradient the composition keeps the normalized values.
 *
 * @param x - float32 [batch, rows, columns, C].
 * @param scale - float32 [C].
 * @param offset - float32 [C].
 * @returns float32, the shape of x; differentiable in all three.
 * @throws ShapeError if C is no multiple of the number of groups.
 */
export function groupNormalization(x: Tensor4D, scale: Tensor, offset: Tensor, options: GroupNormOptions): Tensor4D {
  const { numGroups, epsilon } = options;
  const channels = x.shape[3];
  if (channels % numGroups !== 0)
    throw new ShapeError(`groupNormalization: ${channels} channels are no multiple of ${numGroups} groups`);
  const composition = () => composed(x, scale, offset, options);
  if (isRecordingGradient()) return composition();
  const [y] = runFusable('DimoGroupNorm', { x, scale, offset }, { numGroups, epsilon }, () => [composition()]);
  return y as Tensor4D;
}

function composed(x: Tensor4D, scale: Tensor, offset: Tensor, { numGroups, epsilon }: GroupNormOptions): Tensor4D {
  const [batch, height, width, channels] = x.shape;
  const grouped = [batch, height * width, numGroups, channels / numGroups];
  const affine = grouped.slice(2);
  const result = withGradient([tf.reshape(x, grouped), scale, offset], ([input, scale0, offset0], save) => {
    const factor = tf.reshape(scale0!, affine);
    const centred = tf.sub(input!, tf.mean(input!, [1, 3], true));
    const variance = tf.mean(tf.mul(centred, centred), [1, 3], true);
    // Not rsqrt: on some backends it is an approximation.
    const inverseDeviation = tf.div(1, tf.sqrt(tf.add(variance, epsilon)));
    const normalized = tf.mul(centred, inverseDeviation);
    save([normalized, inverseDeviation, factor]);
    return {
      value: tf.add(tf.mul(normalized, factor), tf.reshape(offset0!, affine)),
      gradient: (dy, saved) => {
        const [n, inverse, factor1] = saved as [Tensor, Tensor, Tensor];
        // With g = dy * scale: dx = inverse * (g - mean(g) - n * mean(g * n)), as for layer normalization.
        const g = tf.mul(dy, factor1);
        const projected = tf.mul(n, tf.mean(tf.mul(g, n), [1, 3], true));
        const dx = tf.mul(inverse, tf.sub(tf.sub(g, tf.mean(g, [1, 3], true)), projected));
        const flat = (t: Tensor) => tf.reshape(tf.sum(t, [0, 1]), [channels]);
        return [dx, flat(tf.mul(dy, n)), flat(dy)];
      },
    };
  });
  return tf.reshape(result, x.shape);
}
