/** Categorical sampling by inverting the cumulative distribution. */
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor2D, Tensor3D } from '@tensorflow/tfjs-core';
import { runFusable } from './dispatch.js';

/**
 * One id per position: the first whose inclusive cumulative probability exceeds the uniform number.
 *
 * Kernel `DimoSampleCategorical` {logits, uniforms} -> int32 [batch, L].
 *
 * @param logits - float32 [batch, L, V]; -Infinity excludes an id (if the engine's softmax allows it) and about -1e9
 *   does so everywhere.
 * @param uniforms - float32 [batch, L] in [0, 1).
 * @returns int32 [batch, L] in [0, V). No gradient.
 */
export function sampleCategorical(logits: Tensor3D, uniforms: Tensor2D): Tensor2D {
  const [ids] = runFusable('DimoSampleCategorical', { logits, uniforms }, {}, () => {
    const numLogits = logits.shape[2];
    const cumulative = tf.cumsum(tf.softmax(logits, -1), 2);
    const passed = tf.cast(tf.lessEqual(cumulative, tf.expandDims(uniforms, 2)), 'int32');
    return [tf.minimum(tf.sum(passed, 2), tf.scalar(numLogits - 1, 'int32'))];
  });
  return tf.cast(ids!, 'int32') as Tensor2D;
}
