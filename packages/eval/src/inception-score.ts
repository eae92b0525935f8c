/** Inception score (Salimans et al. 2016, arXiv 1606.03498) from any classifier's probabilities. */
import { OptionError } from '@dimo/core';
import { checkMatrix, rowOf, type Matrix } from './matrix.js';

/** Score of a set of samples. */
export interface InceptionScore {
  /** Mean over the splits, from 1 to the number of classes. */
  readonly mean: number;
  /** Standard deviation over the splits (divisor: their number); 0 for one split. */
  readonly deviation: number;
}

/**
 *   exp( mean over x of KL( p(y|x) || p(y) ) ),    p(y) the mean of p(y|x) over the split
 *
 * @param probabilities - one row per sample, each summing to 1.
 * @param splits - contiguous parts of (nearly) equal size that are scored on their own. @default 1
 * @throws OptionError if a part would be empty or a probability is negative.
 */
export function inceptionScore(probabilities: Matrix, splits = 1): InceptionScore {
  const { rows, columns } = probabilities;
  if (!Number.isInteger(splits) || splits < 1)
    throw new OptionError(`inceptionScore: splits must be a positive integer, got ${splits}`);
  checkMatrix('inceptionScore', probabilities, splits);
  if (probabilities.data.some((value: number) => value < 0))
    throw new OptionError('inceptionScore: probabilities must not be negative; apply softmaxRows to logits first');
  const scores = Array.from({ length: splits }, (_, split) => {
    const first = Math.floor((split * rows) / splits);
    const last = Math.floor(((split + 1) * rows) / splits);
    const marginal = new Float64Array(columns);
    let negativeEntropy = 0;
    for (let i = first; i < last; i++) {
      const row = rowOf(probabilities, i);
      for (let c = 0; c < columns; c++) {
        marginal[c]! += row[c]!;
        negativeEntropy += timesLog(row[c]!);
      }
    }
    // Mean KL = mean of sum p log p - sum of m log m, m the marginal.
    let divergence = negativeEntropy / (last - first);
    for (const sum of marginal) divergence -= timesLog(sum / (last - first));
    return Math.exp(Math.max(0, divergence));
  });
  const mean = scores.reduce((sum, score) => sum + score, 0) / splits;
  const variance = scores.reduce((sum, score) => sum + (score - mean) ** 2, 0) / splits;
  return { mean, deviation: Math.sqrt(variance) };
}

/** p log p, 0 at 0. */
function timesLog(p: number): number {
  return p > 0 ? p * Math.log(p) : 0;
}
