/** Bidirectional multi-head attention. */
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor, Tensor3D, Tensor4D } from '@tensorflow/tfjs-core';
import { ShapeError } from '../errors.js';
import { isRecordingGradient, runFusable, withGradient } from './dispatch.js';
import { matrixProduct } from './linear.js';

/** Options of `attention`. */
export interface AttentionOptions {
  /** Heads; divides the width. */
  readonly numHeads: number;
  /** Factor of the scores. @default 1 / sqrt(width / numHeads) */
  readonly scale?: number;
}

/**
 * softmax(scale * q k^T) v in each head, without any mask.
 *
 * Kernel `DimoAttention` {query, key, value}, {numHeads, scale} -> [batch, S, width], used where no gradient is
 * recorded; with a gradient the composition keeps the probabilities.
 *
 * @param query - float32 [batch, S, width].
 * @param key - float32 [batch, T, width].
 * @param value - float32 [batch, T, width].
 * @returns float32 [batch, S, width]; differentiable in all three.
 * @throws ShapeError if the width is no multiple of the number of heads.
 */
export function attention(query: Tensor3D, key: Tensor3D, value: Tensor3D, options: AttentionOptions): Tensor3D {
  const { numHeads } = options;
  const width = query.shape[2];
  if (width % numHeads !== 0) throw new ShapeError(`attention: width ${width} is no multiple of ${numHeads} heads`);
  const scale = options.scale ?? 1 / Math.sqrt(width / numHeads);
  const composition = () =>
    joinHeads(
      attentionHeads(splitHeads(query, numHeads), splitHeads(key, numHeads), splitHeads(value, numHeads), scale),
    );
  if (isRecordingGradient()) return composition();
  const [result] = runFusable('DimoAttention', { query, key, value }, { numHeads, scale }, () => [composition()]);
  return result as Tensor3D;
}

function splitHeads(x: Tensor3D, numHeads: number): Tensor4D {
  const [batch, length, width] = x.shape;
  return tf.transpose(tf.reshape(x, [batch, length, numHeads, width / numHeads]), [0, 2, 1, 3]); // [batch, heads, S, d]
}

function joinHeads(x: Tensor4D): Tensor3D {
  const [batch, numHeads, length, headWidth] = x.shape;
  return tf.reshape(tf.transpose(x, [0, 2, 1, 3]), [batch, length, numHeads * headWidth]);
}

/** Attention on [batch, heads, S, d] with a hand-written gradient that keeps the probabilities. */
function attentionHeads(query: Tensor4D, key: Tensor4D, value: Tensor4D, scale: number): Tensor4D {
  return withGradient([query, key, value], (inputs, save) => {
    const [q, k, v] = inputs as [Tensor, Tensor, Tensor];
    // The scale goes onto the queries: S*d products instead of S*T.
    const scaled = tf.mul(q, scale);
    const probabilities = tf.softmax(matrixProduct(scaled, k, false, true), -1);
    save([scaled, k, v, probabilities]);
    return {
      value: matrixProduct(probabilities, v),
      gradient: (dy, saved) => {
        const [q1, k1, v1, p] = saved as [Tensor, Tensor, Tensor, Tensor];
        const dValue = matrixProduct(p, dy, true, false);
        const dProbabilities = tf.mul(matrixProduct(dy, v1, false, true), p);
        const dScores = tf.sub(dProbabilities, tf.mul(p, tf.sum(dProbabilities, -1, true)));
        return [tf.mul(matrixProduct(dScores, k1), scale), matrixProduct(dScores, q1, true, false), dValue];
      },
    };
  }) as Tensor4D;
}
