/** The soft half of the auxiliary loss: KL from the generator's own token distribution. */
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor2D, Tensor3D } from '@tensorflow/tfjs-core';

/** Arguments of `softCrossEntropy`. */
export interface SoftCrossEntropyInputs {
  /** Prediction, float32 [batch, L, V]. */
  readonly logits: Tensor3D;
  /** Logits of the target distribution, same shape. */
  readonly target: Tensor3D;
  /** float32 [batch, L], 0 at positions that do not count. */
  readonly weights: Tensor2D;
}

/**
 * weight T^2 / V sum_v q (log q - log softmax(logits / T)), q = softmax(target / T), per position, and the gradient of
 * its sum with respect to the logits, weight T / V (softmax(logits / T) - q). The division by V is the official code's
 * (a mean over the last axis).
 *
 * @returns loss float32 [batch, L], nats; gradient float32 [batch, L, V].
 */
export function softCrossEntropy(
  { logits, target, weights }: SoftCrossEntropyInputs,
  temperature: number,
): { loss: Tensor2D; gradient: Tensor3D } {
  const numLogits = logits.shape[2];
  const logQ = tf.logSoftmax(tf.div(target, temperature), -1);
  const logP = tf.logSoftmax(tf.div(logits, temperature), -1);
  const q = tf.exp(logQ);
  const divergence = tf.sum(tf.mul(q, tf.sub(logQ, logP)), 2);
  const scale = (temperature * temperature) / numLogits;
  const gradientWeights = tf.expandDims(tf.mul(weights, temperature / numLogits), 2);
  return {
    loss: tf.mul(tf.mul(divergence, weights), scale),
    gradient: tf.mul(tf.sub(tf.exp(logP), q), gradientWeights),
  };
}
