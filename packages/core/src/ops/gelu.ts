/** Gaussian error linear unit. */
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import { runFusable, withGradient } from './dispatch.js';

/** Options of `gelu`. */
export interface GeluOptions {
  /** `none`: exact, with erf. `tanh`: the tanh form. @default 'none' */
  readonly approximate?: 'none' | 'tanh';
}

const sqrtHalf = Math.SQRT1_2;
const inverseSqrtTwoPi = 1 / Math.sqrt(2 * Math.PI);
const tanhFactor = Math.sqrt(2 / Math.PI);
const tanhCubic = 0.044715;

/**
 * gelu(x) = x * Phi(x), Phi the standard normal distribution function (Hendrycks and Gimpel, arXiv 1606.08415), or its
 * tanh form 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).
 *
 * Kernels `DimoGelu` and `DimoGeluGrad`.
 *
 * @param x - float32, any shape.
 * @returns same shape; differentiable.
 */
export function gelu<T extends Tensor>(x: T, options: GeluOptions = {}): T {
  const approximate = options.approximate ?? 'none';
  return withGradient([x], (inputs, save) => {
    const [x0] = inputs as [Tensor];
    save([x0]);
    const [y] = runFusable('DimoGelu', { x: x0 }, { approximate }, () => [
      approximate === 'none' ? exactGelu(x0) : tanhGelu(x0),
    ]);
    return {
      value: y,
      gradient: (dy, saved) =>
        runFusable('DimoGeluGrad', { x: saved[0]!, dy }, { approximate }, () => [
          approximate === 'none' ? exactGradient(saved[0]!, dy) : tanhGradient(saved[0]!, dy),
        ]),
    };
  }) as T;
}

function normalDistribution(x: Tensor): Tensor {
  return tf.mul(0.5, tf.add(1, tf.erf(tf.mul(x, sqrtHalf))));
}

function exactGelu(x: Tensor): Tensor {
  return tf.mul(x, normalDistribution(x));
}

function exactGradient(x: Tensor, dy: Tensor): Tensor {
  const density = tf.mul(tf.exp(tf.mul(tf.mul(x, x), -0.5)), inverseSqrtTwoPi);
  return tf.mul(dy, tf.add(normalDistribution(x), tf.mul(x, density)));
}

function tanhArgument(x: Tensor): Tensor {
  return tf.mul(tanhFactor, tf.mul(x, tf.add(1, tf.mul(tanhCubic, tf.mul(x, x)))));
}

function tanhGelu(x: Tensor): Tensor {
  return tf.mul(tf.mul(0.5, x), tf.add(1, tf.tanh(tanhArgument(x))));
}

function tanhGradient(x: Tensor, dy: Tensor): Tensor {
  const tanh = tf.tanh(tanhArgument(x));
  const slope = tf.mul(tanhFactor, tf.add(1, tf.mul(3 * tanhCubic, tf.mul(x, x))));
  const rest = tf.mul(tf.mul(tf.mul(0.5, x), tf.sub(1, tf.mul(tanh, tanh))), slope);
  return tf.mul(dy, tf.add(tf.mul(0.5, tf.add(1, tanh)), rest));
}
