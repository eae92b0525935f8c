/** Metrics against the true chains. */
import { int32, OptionError, type HostTensor, type HostTree, type MetricPlugin } from '@dimo/core';
import {
  chains,
  divergence,
  empiricalBigrams,
  entropy,
  logProbability,
  sequenceLength,
  trueBigrams,
  type Chain,
} from './chain.js';

/** The mean over all sequences of what `measure` says of each chain's sequences. */
function meanOverChains(
  samples: { readonly tokens: HostTensor<'int32'>; readonly condition: HostTree },
  measure: (chain: Chain, tokens: HostTensor<'int32'>) => number,
): number {
  const ids = samples.condition['chain'];
  const count = samples.tokens.shape[0]!;
  if (!ids || ids.data.length !== count || count === 0)
    throw new OptionError(
      `markov-chain metrics: need at least one sequence and the condition "chain" for each of them, got ${count} sequences`,
    );
  let sum = 0;
  chains.forEach((chain, id) => {
    const rows = [...ids.data].flatMap((value, row) => (value === id ? [row] : []));
    if (rows.length === 0) return;
    const tokens = new Int32Array(rows.length * sequenceLength);
    rows.forEach((row, i) =>
      tokens.set(samples.tokens.data.subarray(row * sequenceLength, (row + 1) * sequenceLength), i * sequenceLength),
    );
    sum += rows.length * measure(chain, int32([rows.length, sequenceLength], tokens));
  });
  return sum / count;
}

/**
 * Mean of -log p(sequence | chain), nats. True sequences have the chains' entropy (16.8); more is unlikely
 * sequences, less is a loss of variety.
 */
export const negativeLogLikelihood: MetricPlugin = {
  name: 'negative-log-likelihood',
  description: 'mean -log p of a sequence under its true chain, nats',
  higherIsBetter: false,
  compute: (samples) =>
    meanOverChains(samples, (chain, tokens) => {
      let sum = 0;
      for (let start = 0; start < tokens.data.length; start += sequenceLength)
        sum -= logProbability(chain, tokens.data.subarray(start, start + sequenceLength));
      return sum / tokens.shape[0]!;
    }),
};

/** KL(neighbours in the samples || neighbours in the true chain), nats; 0 for the truth. */
export const bigramDivergence: MetricPlugin = {
  name: 'bigram-divergence',
  description: 'KL divergence of neighbouring symbols to the true chain, nats',
  higherIsBetter: false,
  compute: (samples) =>
    meanOverChains(samples, (chain, tokens) => divergence(empiricalBigrams(tokens), trueBigrams(chain))),
};

/** Entropy of neighbours in the samples, nats; the guard against collapse. The truth has 3.06. */
export const bigramEntropy: MetricPlugin = {
  name: 'bigram-entropy',
  description: 'entropy of neighbouring symbols, nats (a low value means collapse)',
  higherIsBetter: true,
  compute: (samples) => meanOverChains(samples, (_chain, tokens) => entropy(empiricalBigrams(tokens))),
};
