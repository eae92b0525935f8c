/**
 * Codebook as a moving average of the vectors that choose each code (van den Oord et al. 2017, appendix A.1), with codes
 * that hardly any vector chooses moved onto badly represented vectors.
 */
import { matrixProduct } from '@dimo/core';
import * as tf from '@tensorflow/tfjs-core';
import type { Scalar, Tensor1D, Tensor2D } from '@tensorflow/tfjs-core';

/** Codebook and its statistics. */
export interface CodebookState {
  /** float32 [K, D]. */
  readonly codebook: Tensor2D;
  /** Average number of vectors per step that choose each code, float32 [K]. */
  readonly counts: Tensor1D;
  /** Average sum of those vectors, float32 [K, D]. */
  readonly sums: Tensor2D;
}

/** One batch as the codebook sees it. */
export interface CodebookBatch {
  /** float32 [N, D]. */
  readonly vectors: Tensor2D;
  /** Their nearest codes, int32 [N]. */
  readonly codes: Tensor1D;
  /** Which vectors replace dead codes: float32 [K], uniform in [0, 1). */
  readonly reseedUniforms: Tensor1D;
  /** Codes whose average count is below are dead; 0 turns re-seeding off. */
  readonly reseedBelow: Scalar;
}

/** The next state of the codebook, and how it is used. */
export interface CodebookUpdate extends CodebookState {
  /** exp of the entropy of the batch's codes: how many codes are in use, effectively. */
  readonly perplexity: Scalar;
  /** Number of dead codes that were moved. */
  readonly numReseeded: Scalar;
}

/**
 * Next codebook: counts and sums decay by `decay` towards those of the batch; a code is sum / count. A dead code becomes
 * a vector of the batch drawn with probability proportional to its squared distance from its code (as k-means++
 * chooses centres), with twice the count below which it would be dead, so that a useless one is soon moved again.
 */
export function updateCodebook(state: CodebookState, batch: CodebookBatch, decay: number): CodebookUpdate {
  const { codebook, counts, sums } = state;
  const { vectors, codes, reseedBelow } = batch;
  const [numCodes] = codebook.shape;
  const chosen = tf.cast(tf.oneHot(codes, numCodes), 'float32') as Tensor2D; // [N, K]
  const batchCounts = tf.sum(chosen, 0) as Tensor1D;
  const average = <T extends tf.Tensor>(old: T, now: T): T => tf.add(tf.mul(old, decay), tf.mul(now, 1 - decay));
  const nextCounts = average(counts, batchCounts);
  const nextSums = average(sums, matrixProduct(chosen, vectors, true, false));
  // A code that was never chosen keeps its place: 1e-5 is far below any count that a vector can leave for long.
  const isUsed = tf.expandDims(tf.greater(nextCounts, 1e-5), 1);
  const means = tf.div(nextSums, tf.expandDims(tf.maximum(nextCounts, 1e-5), 1));
  const moved = tf.where(isUsed, means, codebook) as Tensor2D;

  const isDead = tf.less(nextCounts, reseedBelow);
  const dead = tf.cast(isDead, 'float32');
  const replacements = drawVectors(vectors, tf.gather(codebook, codes), batch.reseedUniforms);
  const resetCounts = tf.mul(tf.onesLike(nextCounts), tf.mul(reseedBelow, 2)) as Tensor1D;
  const finalCounts = tf.where(isDead, resetCounts, nextCounts);
  const finalCodebook = tf.where(tf.expandDims(isDead, 1), replacements, moved) as Tensor2D;
  return {
    codebook: finalCodebook,
    counts: finalCounts,
    sums: tf.where(tf.expandDims(isDead, 1), tf.mul(replacements, tf.expandDims(finalCounts, 1)), nextSums) as Tensor2D,
    perplexity: perplexity(tf.div(batchCounts, vectors.shape[0])),
    numReseeded: tf.sum(dead),
  };
}

/** Vectors drawn with probability proportional to their squared distance from their codes, by inverting its sum. */
function drawVectors(vectors: Tensor2D, chosenCodes: Tensor2D, uniforms: Tensor1D): Tensor2D {
  const [numVectors] = vectors.shape;
  const difference = tf.sub(vectors, chosenCodes);
  // The small constant draws uniformly when every vector is its code.
  const distances = tf.add(tf.sum(tf.mul(difference, difference), 1), 1e-12);
  const cumulative = tf.cumsum(distances, 0) as Tensor1D;
  const thresholds = tf.mul(uniforms, tf.sum(distances)); // [K]
  const isPassed = tf.lessEqual(tf.expandDims(cumulative, 0), tf.expandDims(thresholds, 1)); // [K, N]
  const rows = tf.sum(tf.cast(isPassed, 'int32'), 1);
  return tf.gather(vectors, tf.minimum(rows, tf.scalar(numVectors - 1, 'int32')) as Tensor1D);
}

function perplexity(frequencies: tf.Tensor): Scalar {
  return tf.exp(tf.neg(tf.sum(tf.mul(frequencies, tf.log(tf.add(frequencies, 1e-10))))));
}
