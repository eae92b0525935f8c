/** Multi-head attention. */
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor, Tensor3D, Tensor4D } from '@tensorflow/tfjs-core';
import { ShapeError } from '../errors.js';
import { hasKernel, isRecordingGradient, runFusable, runKernel, withGradient } from './dispatch.js';
import type { FusableAttributes } from './fusable-kernels.js';
import { matrixProduct } from './linear.js';

/** Options of `attention`. */
export interface AttentionOptions {
  /** Heads; divides the width. */
  readonly numHeads: number;
  /** Factor of the scores. @default 1 / sqrt(width / numHeads) */
  readonly scale?: number;
  /** Position i attends to positions 0 to i only; needs as many keys as queries. @default false */
  readonly causal?: boolean;
}

/** Added to the scores of later positions: far below any score, and finite, so that 0 * mask is not NaN. */
const maskedScore = -1e9;

/**
 * softmax(scale * q k^T) v in each head, over all positions or, if causal, over those up to the query's own.
 *
 * Kernel `DimoAttention`, used where no gradient is recorded. With a gradient the composition keeps the probabilities,
 * unless the backend has `DimoAttentionForward` and with it `DimoAttentionGrad`.
 *
 * @param query - float32 [batch, S, width].
 * @param key - float32 [batch, T, width].
 * @param value - float32 [batch, T, width].
 * @returns float32 [batch, S, width]; differentiable in all three.
 * @throws ShapeError if the width is no multiple of the number of heads, or causal attention has S other than T.
 */
export function attention(query: Tensor3D, key: Tensor3D, value: Tensor3D, options: AttentionOptions): Tensor3D {
  const { numHeads, causal = false } = options;
  const width = query.shape[2];
  if (width % numHeads !== 0) throw new ShapeError(`attention: width ${width} is no multiple of ${numHeads} heads`);
  const scale = options.scale ?? 1 / Math.sqrt(width / numHeads);
  if (causal && query.shape[1] !== key.shape[1])
    throw new ShapeError(`attention: causal needs as many keys as queries, got ${key.shape[1]} and ${query.shape[1]}`);
  const composition = () => {
    const [q, k, v] = [query, key, value].map((x) => splitHeads(x, numHeads)) as [Tensor4D, Tensor4D, Tensor4D];
    return joinHeads(attentionHeads(q, k, v, { scale, causal }));
  };
  const attributes = { numHeads, scale, causal };
  if (!isRecordingGradient()) {
    const [result] = runFusable('DimoAttention', { query, key, value }, attributes, () => [composition()]);
    return result as Tensor3D;
  }
  return hasKernel('DimoAttentionForward') ? recomputedAttention([query, key, value], attributes) : composition();
}

/** Attention whose gradient computes the probabilities again: nothing of size S x T is kept. */
function recomputedAttention(
  inputs: [Tensor3D, Tensor3D, Tensor3D],
  attributes: FusableAttributes<'DimoAttention'>,
): Tensor3D {
  return withGradient(inputs, (given, save) => {
    const [query, key, value] = given as [Tensor, Tensor, Tensor];
    const [output, logSumExp] = runKernel('DimoAttentionForward', { query, key, value }, attributes);
    save([query, key, value, output, logSumExp]);
    return {
      value: output,
      gradient: (dy, saved) => {
        const [query1, key1, value1, output1, logSumExp1] = saved as [Tensor, Tensor, Tensor, Tensor, Tensor];
        const tensors = { query: query1, key: key1, value: value1, output: output1, logSumExp: logSumExp1, dy };
        return runKernel('DimoAttentionGrad', tensors, attributes);
      },
    };
  }) as Tensor3D;
}

function splitHeads(x: Tensor3D, numHeads: number): Tensor4D {
  const [batch, length, width] = x.shape;
  return tf.transpose(tf.reshape(x, [batch, length, numHeads, width / numHeads]), [0, 2, 1, 3]); // [batch, heads, S, d]
}

function joinHeads(x: Tensor4D): Tensor3D {
  const [batch, numHeads, length, headWidth] = x.shape;
  return tf.reshape(tf.transpose(x, [0, 2, 1, 3]), [batch, length, numHeads * headWidth]);
}

/** float32 [length, length]: 0 on and below the diagonal, `maskedScore` above. */
function causalMask(length: number): Tensor {
  const positions = tf.range(0, length);
  const isLater = tf.greater(tf.reshape(positions, [1, length]), tf.reshape(positions, [length, 1]));
  return tf.mul(tf.cast(isLater, 'float32'), maskedScore);
}

/** Attention on [batch, heads, S, d] with a hand-written gradient that keeps the probabilities. */
function attentionHeads(
  query: Tensor4D,
  key: Tensor4D,
  value: Tensor4D,
  { scale, causal }: { readonly scale: number; readonly causal: boolean },
): Tensor4D {
  return withGradient([query, key, value], (inputs, save) => {
    const [q, k, v] = inputs as [Tensor, Tensor, Tensor];
    // The scale goes onto the queries: S*d products instead of S*T.
    const scaled = tf.mul(q, scale);
    const scores = matrixProduct(scaled, k, false, true);
    const probabilities = tf.softmax(causal ? tf.add(scores, causalMask(q.shape[2]!)) : scores, -1);
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
