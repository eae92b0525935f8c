/** The soft half of the auxiliary loss: KL from the generator's own token distribution. */
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor2D, Tensor3D } from '@tensorflow/tfjs-core';
import { runFusable } from './dispatch.js';

/** Arguments of `softCrossEntropy`. */
export interface SoftCrossEntropyInputs {
  /** Prediction, float32 [batch, L, V]. */
  readonly logits: Tensor3D;
  /** Logits of the target distribution, same shape. */
  readonly target: Tensor3D;
  /** float32 [batch, L], 0 at positions that do not count. */
  readonly weights: Tensor2D;
}

/** Results of `softCrossEntropy`. */
export interface SoftCrossEntropyResult {
  /** float32 [batch, L], nats. */
  readonly loss: Tensor2D;
  /** Gradient of the sum of `loss` with respect to the logits, float32 [batch, L, V]. */
  readonly gradient: Tensor3D;
}

/**
 * weight T^2 / V sum_v q (log q - log softmax(logits / T)), q = softmax(target / T), per position, and the gradient of
 * its sum with respect to the logits, weight T / V (softmax(logits / T) - q). The division by V is the official code's
 * (a mean over the last axis).
 *
 * Kernel `DimoSoftCrossEntropy`. The gradient is a result; nothing here is recorded by tfjs.
 *
 * @param temperature - T, > 0.
 */
export function softCrossEntropy(
  { logits, target, weights }: SoftCrossEntropyInputs,
  temperature: number,
): SoftCrossEntropyResult {
  const [loss, gradient] = runFusable('DimoSoftCrossEntropy', { logits, target, weights }, { temperature }, () => {
    const numLogits = logits.shape[2];
    const logQ = tf.logSoftmax(tf.div(target, temperature), -1);
    const logP = tf.logSoftmax(tf.div(logits, temperature), -1);
    const q = tf.exp(logQ);
    const divergence = tf.sum(tf.mul(q, tf.sub(logQ, logP)), 2);
    const scale = (temperature * temperature) / numLogits;
    const gradientWeights = tf.expandDims(tf.mul(weights, temperature / numLogits), 2);
    return [tf.mul(tf.mul(divergence, weights), scale), tf.mul(tf.sub(tf.exp(logP), q), gradientWeights)];
  });
  return { loss: loss as Tensor2D, gradient: gradient as Tensor3D };
}
