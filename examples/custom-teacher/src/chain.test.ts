/** The mathematics of the true chains, against sums over all sequences where that is possible. */
import { int32, randomStream } from '@dimo/core';
import { describe, expect, it } from 'vitest';
import {
  chains,
  divergence,
  empiricalBigrams,
  entropy,
  logProbability,
  numSymbols,
  sampleChain,
  sequenceEntropy,
  trueBigrams,
} from './chain.js';

/** All sequences of `length` symbols. */
function* allSequences(length: number): Generator<number[]> {
  for (let code = 0; code < numSymbols ** length; code++)
    yield Array.from({ length }, (_, i) => Math.floor(code / numSymbols ** i) % numSymbols);
}

describe.each(chains.map((chain) => [chain.name, chain] as const))('chain %s', (_name, chain) => {
  it('has rows that sum to 1, and the uniform distribution as its stationary one', () => {
    for (let a = 0; a < numSymbols; a++) {
      const row = chain.transitions.subarray(a * numSymbols, (a + 1) * numSymbols);
      expect(row.reduce((sum, p) => sum + p, 0)).toBeCloseTo(1, 12);
      const column = Array.from({ length: numSymbols }, (_, b) => chain.transitions[b * numSymbols + a]!);
      expect(column.reduce((sum, p) => sum + p, 0)).toBeCloseTo(1, 12);
    }
  });

  it('gives probabilities that sum to 1 over all sequences, and the entropy that the formula says', () => {
    let total = 0;
    let bits = 0;
    for (const sequence of allSequences(4)) {
      const logP = logProbability(chain, sequence);
      total += Math.exp(logP);
      bits -= Math.exp(logP) * logP;
    }
    expect(total).toBeCloseTo(1, 10);
    expect(bits).toBeCloseTo(sequenceEntropy(chain, 4), 10);
  });

  it('samples with its own statistics', () => {
    const tokens = sampleChain(chain, randomStream(3, 0, 'test'), 4000);
    // 60,000 neighbours in 64 cells: the expected divergence of an exact sample is (64 - 1) / (2 * 60,000) = 5e-4.
    expect(divergence(empiricalBigrams(tokens), trueBigrams(chain))).toBeLessThan(1.5e-3);
    let mean = 0;
    for (let row = 0; row < 4000; row++) mean -= logProbability(chain, tokens.data.subarray(row * 16, row * 16 + 16));
    // Standard error: about 4 nats / sqrt(4000) = 0.06.
    expect(mean / 4000).toBeCloseTo(sequenceEntropy(chain), 0);
  });
});

describe('entropy and divergence', () => {
  it('are exact on a coin: H(1/2, 1/2) = log 2, KL((1/2, 1/2) || (1/4, 3/4)) = log(2 / sqrt 3)', () => {
    expect(entropy(Float64Array.of(0.5, 0.5))).toBeCloseTo(Math.log(2), 14);
    expect(divergence(Float64Array.of(0.5, 0.5), Float64Array.of(0.25, 0.75))).toBeCloseTo(
      Math.log(2 / Math.sqrt(3)),
      14,
    );
  });

  it('counts neighbours: 0 1 1 has (0, 1) and (1, 1), half each', () => {
    const frequencies = empiricalBigrams(int32([1, 3], [0, 1, 1]));
    expect(frequencies[1]).toBe(0.5);
    expect(frequencies[numSymbols + 1]).toBe(0.5);
  });
});
