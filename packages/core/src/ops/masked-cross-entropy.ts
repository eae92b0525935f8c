/** Weighted cross-entropy of token predictions with its gradient. */
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor, Tensor2D, Tensor3D } from '@tensorflow/tfjs-core';
import { runFusable } from './dispatch.js';

/** Arguments of `maskedCrossEntropy`. */
export interface MaskedCrossEntropyInputs {
  /** float32 [batch, L, V]. */
  readonly logits: Tensor3D;
  /** int32 [batch, L] in [0, V). */
  readonly targets: Tensor2D;
  /** float32 [batch, L], 0 at positions that do not count. */
  readonly weights: Tensor2D;
}

/** Results of `maskedCrossEntropy`. */
export interface MaskedCrossEntropyResult {
  /** Cross-entropy with label smoothing, times the weight, float32 [batch, L], nats. */
  readonly loss: Tensor2D;
  /** -log p[target], times the weight, float32 [batch, L], nats. */
  readonly negativeLogLikelihood: Tensor2D;
  /** Gradient of the sum of `loss` with respect to the logits, float32 [batch, L, V]. */
  readonly gradient: Tensor3D;
}

/**
 * Cross-entropy against the target (1 - e) onehot(target) + e / V, e the label smoothing. Kernel
 * `DimoMaskedCrossEntropy`.
 *
 *   loss = weight ((1 - e) (-log p[target]) + e / V sum_v (-log p[v]))      gradient = weight (p - target)
 *
 * The gradient is a result; nothing here is recorded by tfjs.
 */
export function maskedCrossEntropy(inputs: MaskedCrossEntropyInputs, labelSmoothing: number): MaskedCrossEntropyResult {
  const [loss, negativeLogLikelihood, gradient] = runFusable('DimoMaskedCrossEntropy', inputs, { labelSmoothing }, () =>
    crossEntropyComposition(inputs, labelSmoothing),
  ) as readonly [Tensor2D, Tensor2D, Tensor3D];
  return { loss, negativeLogLikelihood, gradient };
}

function crossEntropyComposition(inputs: MaskedCrossEntropyInputs, labelSmoothing: number): [Tensor, Tensor, Tensor] {
  const { logits, targets, weights } = inputs;
  const numLogits = logits.shape[2];
  const logProbabilities = tf.logSoftmax(logits, -1);
  // Cast, because the wasm backend's float32 oneHot returns the bits of integers.
  const chosen = tf.cast(tf.oneHot(targets, numLogits), 'float32');
  const negativeLogLikelihood = tf.neg(tf.sum(tf.mul(logProbabilities, chosen), 2));
  const smoothed =
    labelSmoothing === 0
      ? negativeLogLikelihood
      : tf.sub(
          tf.mul(negativeLogLikelihood, 1 - labelSmoothing),
          tf.mul(tf.sum(logProbabilities, 2), labelSmoothing / numLogits),
        );
  const target = labelSmoothing === 0 ? chosen : tf.add(tf.mul(chosen, 1 - labelSmoothing), labelSmoothing / numLogits);
  const gradient = tf.mul(tf.sub(tf.exp(logProbabilities), target), tf.expandDims(weights, 2));
  return [tf.mul(smoothed, weights), tf.mul(negativeLogLikelihood, weights), gradient];
}
