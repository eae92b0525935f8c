/** One Adam or AdamW update of one parameter. */
import * as tf from '@tensorflow/tfjs-core';
import type { Scalar, Tensor } from '@tensorflow/tfjs-core';
import { runFusable } from './dispatch.js';

/** Tensors of one update; all but the scalars have the parameter's shape. */
export interface AdamUpdateInputs {
  readonly parameter: Tensor;
  readonly gradient: Tensor;
  /** Running mean of the gradients. */
  readonly firstMoment: Tensor;
  /** Running mean of the squared gradients. */
  readonly secondMoment: Tensor;
  /** Multiplies the gradient: the factor of global-norm clipping. */
  readonly gradientScale: Scalar;
  /** learning rate / (1 - beta1^t) of update t = 1, 2, ... */
  readonly stepSize: Scalar;
  /** 1 / sqrt(1 - beta2^t). */
  readonly rootCorrection: Scalar;
  /** learning rate * weight decay, for decoupled decay (AdamW); 0 for none. */
  readonly decay: Scalar;
  /** 1 to update; 0 to return parameter and moments unchanged, bit for bit, even if the gradient is not finite. */
  readonly apply: Scalar;
}

/** Constants of Adam. */
export interface AdamUpdateAttributes {
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
}

/**
 * Adam (Kingma and Ba, arXiv 1412.6980) in PyTorch's form, with decoupled weight decay (Loshchilov and Hutter, arXiv
 * 1711.05101):
 *
 *   m' = m + (1 - beta1) (g - m)      v' = v + (1 - beta2) (g^2 - v)
 *   p' = p - decay p - stepSize m' / (sqrt(v') rootCorrection + epsilon)
 *
 * Kernel `DimoAdamUpdate` {parameter, gradient, firstMoment, secondMoment, gradientScale, stepSize, rootCorrection,
 * decay, apply}, {beta1, beta2, epsilon} -> [parameter, firstMoment, secondMoment]. Not differentiable.
 */
export function adamUpdate(
  inputs: AdamUpdateInputs,
  attributes: AdamUpdateAttributes,
): [parameter: Tensor, firstMoment: Tensor, secondMoment: Tensor] {
  return runFusable('DimoAdamUpdate', { ...inputs }, { ...attributes }, () => adamComposition(inputs, attributes)) as [
    Tensor,
    Tensor,
    Tensor,
  ];
}

function adamComposition(inputs: AdamUpdateInputs, { beta1, beta2, epsilon }: AdamUpdateAttributes): Tensor[] {
  const { parameter, firstMoment, secondMoment, apply } = inputs;
  // Scalars carry the decision, so that a skipped update costs one selection and not three.
  const zero = tf.zerosLike(inputs.gradient);
  const finite = tf.where(tf.cast(apply, 'bool'), inputs.gradient, zero);
  const gradient = tf.mul(finite, safeScale(inputs.gradientScale, apply));
  const m = tf.add(firstMoment, tf.mul(tf.sub(gradient, firstMoment), tf.mul(apply, 1 - beta1)));
  const v = tf.add(secondMoment, tf.mul(tf.sub(tf.mul(gradient, gradient), secondMoment), tf.mul(apply, 1 - beta2)));
  const denominator = tf.add(tf.mul(tf.sqrt(v), inputs.rootCorrection), epsilon);
  const change = tf.div(tf.mul(m, tf.mul(apply, inputs.stepSize)), denominator);
  const decayed = tf.mul(parameter, tf.sub(1, tf.mul(apply, inputs.decay)));
  return [tf.sub(decayed, change), m, v];
}

/** The scale, or 0 where nothing is applied: the scale of a gradient that is not finite is NaN. */
function safeScale(gradientScale: Scalar, apply: Scalar): Tensor {
  return tf.where(tf.cast(apply, 'bool'), gradientScale, tf.zerosLike(gradientScale));
}
