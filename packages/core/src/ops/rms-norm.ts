/** Root-mean-square normalization over the last axis. */
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import { runFusable, withGradient } from './dispatch.js';

/** Options of `rmsNorm`. */
export interface RmsNormOptions {
  /** Added to the mean square. */
  readonly epsilon: number;
}

/**
 * y = x / sqrt(mean(x^2) + epsilon) * scale, the mean over the last axis (Zhang and Sennrich, arXiv 1910.07467).
 *
 * Kernels `DimoRmsNorm` and `DimoRmsNormGrad`.
 *
 * @param x - float32 [..., D].
 * @param scale - float32 [D].
 * @returns float32 [..., D]; differentiable in both.
 */
export function rmsNorm<T extends Tensor>(x: T, scale: Tensor, options: RmsNormOptions): T {
  const { epsilon } = options;
  return withGradient([x, scale], (inputs, save) => {
    const [x0, scale0] = inputs as [Tensor, Tensor];
    const [y, inverseRms] = runFusable('DimoRmsNorm', { x: x0, scale: scale0 }, { epsilon }, () =>
      rmsNormComposition(x0, scale0, epsilon),
    );
    save([x0, scale0, inverseRms]);
    return {
      value: y,
      gradient: (dy, saved) => {
        const [x1, scale1, inverse1] = saved as [Tensor, Tensor, Tensor];
        return runFusable('DimoRmsNormGrad', { x: x1, scale: scale1, inverseRms: inverse1, dy }, {}, () =>
          rmsNormGradient(x1, scale1, inverse1, dy),
        );
      },
    };
  }) as T;
}

function rmsNormComposition(x: Tensor, scale: Tensor, epsilon: number): [Tensor, Tensor] {
  const meanSquare = tf.mean(tf.mul(x, x), -1, true);
  // Not rsqrt: on some backends it is an approximation.
  const inverseRms = tf.div(1, tf.sqrt(tf.add(meanSquare, epsilon)));
  return [tf.mul(tf.mul(x, inverseRms), scale), inverseRms];
}

/** With n = x * inverse and g = dy * scale: dx = inverse * (g - n * mean(g * n)). */
function rmsNormGradient(x: Tensor, scale: Tensor, inverse: Tensor, dy: Tensor): [Tensor, Tensor] {
  const normalized = tf.mul(x, inverse);
  const scaled = tf.mul(dy, scale);
  const projected = tf.mean(tf.mul(scaled, normalized), -1, true);
  const dx = tf.mul(inverse, tf.sub(scaled, tf.mul(normalized, projected)));
  const leading = x.shape.slice(0, -1).map((_, axis) => axis);
  return [dx, tf.sum(tf.mul(dy, normalized), leading)];
}
