/** Categorical sampling by inverting the cumulative distribution. */
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor2D, Tensor3D } from '@tensorflow/tfjs-core';
import { runFusable } from './dispatch.js';

/**
 * One id per position: the first whose inclusive cumulative probability exceeds the uniform number times the sum of all.
 *
 * Kernel `DimoSampleCategorical`.
 *
 * @param logits - float32 [batch, L, V]; -Infinity excludes an id (if the engine's softmax allows it) and about -1e9
 *   does so everywhere.
 * @param uniforms - float32 [batch, L] in [0, 1).
 * @returns int32 [batch, L] in [0, V). No gradient.
 */
export function sampleCategorical(logits: Tensor3D, uniforms: Tensor2D): Tensor2D {
  const [ids] = runFusable('DimoSampleCategorical', { logits, uniforms }, {}, () => {
    const [batch, length, numLogits] = logits.shape;
    const cumulative = tf.cumsum(tf.softmax(logits, -1), 2);
    // Rounded, the probabilities sum to a little more or less than 1: without the total a number near 1 could pass them
    // all and draw the last id, whatever its probability.
    const total = tf.slice(cumulative, [0, 0, numLogits - 1], [batch, length, 1]);
    const isPassed = tf.lessEqual(cumulative, tf.mul(tf.expandDims(uniforms, 2), total));
    return [tf.minimum(tf.sum(tf.cast(isPassed, 'int32'), 2), tf.scalar(numLogits - 1, 'int32'))];
  });
  return tf.cast(ids, 'int32') as Tensor2D;
}
