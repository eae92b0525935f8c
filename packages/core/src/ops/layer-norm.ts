/** Layer normalization over the last axis with affine parameters. */
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import { runFusable, withGradient } from './dispatch.js';

/** Options of `layerNorm`. */
export interface LayerNormOptions {
  /** Added to the variance. */
  readonly epsilon: number;
}

/**
 * y = (x - mean) / sqrt(variance + epsilon) * scale + offset, statistics over the last axis (biased variance).
 *
 * Kernels `DimoLayerNorm` and `DimoLayerNormGrad`.
 *
 * @param x - float32 [..., D].
 * @param scale - float32 [D].
 * @param offset - float32 [D].
 * @returns float32 [..., D]; differentiable in all three.
 */
export function layerNorm<T extends Tensor>(x: T, scale: Tensor, offset: Tensor, options: LayerNormOptions): T {
  const { epsilon } = options;
  return withGradient([x, scale, offset], (inputs, save) => {
    const [x0, scale0, offset0] = inputs as [Tensor, Tensor, Tensor];
    const [y, mean, inverseDeviation] = runFusable(
      'DimoLayerNorm',
      { x: x0, scale: scale0, offset: offset0 },
      { epsilon },
      () => layerNormComposition(x0, scale0, offset0, epsilon),
    );
    save([x0, scale0, mean, inverseDeviation]);
    return {
      value: y,
      gradient: (dy, saved) => {
        const [x1, scale1, mean1, inverse1] = saved as [Tensor, Tensor, Tensor, Tensor];
        return runFusable(
          'DimoLayerNormGrad',
          { x: x1, scale: scale1, mean: mean1, inverseDeviation: inverse1, dy },
          {},
          () => layerNormGradient(x1, scale1, mean1, inverse1, dy),
        );
      },
    };
  }) as T;
}

function layerNormComposition(x: Tensor, scale: Tensor, offset: Tensor, epsilon: number): [Tensor, Tensor, Tensor] {
  const mean = tf.mean(x, -1, true);
  const centred = tf.sub(x, mean);
  const variance = tf.mean(tf.mul(centred, centred), -1, true);
  // Not rsqrt: on some backends it is an approximation, and epsilon may be as small as 1e-12.
  const inverseDeviation = tf.div(1, tf.sqrt(tf.add(variance, epsilon)));
  const normalized = tf.mul(centred, inverseDeviation);
  return [tf.add(tf.mul(normalized, scale), offset), mean, inverseDeviation];
}

/** With n = (x - mean) * inverse and g = dy * scale: dx = inverse * (g - mean(g) - n * mean(g * n)). */
function layerNormGradient(
  x: Tensor,
  scale: Tensor,
  mean: Tensor,
  inverse: Tensor,
  dy: Tensor,
): [Tensor, Tensor, Tensor] {
  const normalized = tf.mul(tf.sub(x, mean), inverse);
  const scaled = tf.mul(dy, scale);
  const projected = tf.mean(tf.mul(scaled, normalized), -1, true);
  const dx = tf.mul(inverse, tf.sub(tf.sub(scaled, tf.mean(scaled, -1, true)), tf.mul(normalized, projected)));
  const leading = x.shape.slice(0, -1).map((_, axis) => axis);
  return [dx, tf.sum(tf.mul(dy, normalized), leading), tf.sum(dy, leading)];
}
