import { int32, OptionError, randomStream } from '@dimo/core';
import { describe, expect, it } from 'vitest';
import { chains, sequenceEntropy, sequenceLength } from './chain.js';
import { chainDataset } from './dataset.js';
import { bigramDivergence, bigramEntropy, negativeLogLikelihood } from './metrics.js';

describe('metrics', () => {
  const truth = chainDataset(2000, 7);
  const swapped = {
    tokens: truth.tokens,
    condition: {
      chain: int32(
        [4000],
        truth.condition['chain']!.data.map((id) => 1 - id),
      ),
    },
  };

  it('tell true sequences from those of the other chain', async () => {
    const expected = (sequenceEntropy(chains[0]!) + sequenceEntropy(chains[1]!)) / 2;
    expect(await negativeLogLikelihood.compute(truth)).toBeCloseTo(expected, 0);
    expect(await bigramDivergence.compute(truth)).toBeLessThan(2e-3);
    expect(await negativeLogLikelihood.compute(swapped)).toBeGreaterThan(2 * expected);
    expect(await bigramDivergence.compute(swapped)).toBeGreaterThan(1);
  });

  it('see collapse: one likely sequence repeated has a good likelihood, a bad divergence and a low entropy', async () => {
    const tokens = int32(
      [100, sequenceLength],
      Array.from({ length: 100 * sequenceLength }, (_, i) => (i % sequenceLength) % 8),
    );
    const samples = { tokens, condition: { chain: int32([100]) } };
    expect(await negativeLogLikelihood.compute(samples)).toBeLessThan(8);
    expect(await bigramDivergence.compute(samples)).toBeGreaterThan(0.3);
    expect(await bigramEntropy.compute(samples)).toBeLessThan(Math.log(8) + 1e-6);
  });

  it('see independent symbols', async () => {
    const tokens = int32([500, sequenceLength], randomStream(5, 0, 'noise').integers(500 * sequenceLength, 8));
    expect(await bigramDivergence.compute({ tokens, condition: { chain: int32([500]) } })).toBeGreaterThan(1);
  });

  it('refuse samples without their conditions', () => {
    expect(() => bigramDivergence.compute({ tokens: truth.tokens, condition: {} })).toThrow(OptionError);
  });
});
