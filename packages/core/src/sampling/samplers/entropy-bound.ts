/**
 * Entropy-bounded unmasking (EB-sampler, Ben-Hamu et al., arXiv 2505.24857): as many tokens in one pass as the uncertainty
 * allows, so easy pictures take fewer passes.
 */
import { z } from 'zod';
import { finite } from '../../options/fields.js';
import { defineSampler, stepOptions, tokenOptions } from '../sampler.js';

/** The sampler. For models that do not see how much is masked. */
export const entropyBoundSampler = defineSampler({
  name: 'entropy-bound',
  description: 'as many tokens a pass as a bound on their joint entropy allows (arXiv 2505.24857)',
  options: z.strictObject({
    gamma: finite(0)
      .default(0.1)
      .describe('Bound on the entropy of the tokens of a pass but the most uncertain one, nats; 0: one token a pass.'),
    guidanceScale: stepOptions.guidanceScale.describe('Classifier-free guidance scale; 1: off.'),
    ...tokenOptions,
  }),
  maximumPasses: (_options, numTokens) => numTokens,
  async *run({ options, plan, denoise }) {
    while (plan.isOpen()) {
      const { tokens, entropies } = await denoise({
        guidanceScale: options.guidanceScale,
        statistics: ['entropies'],
      });
      for (let sample = 0; sample < plan.batchSize; sample++) {
        let sum = 0;
        // Ascending, so the last one is the largest.
        for (const [k, i] of plan
          .maskedIn(sample)
          .sort((a, b) => entropies[a]! - entropies[b]! || a - b)
          .entries()) {
          if (k > 0 && sum > options.gamma) break;
          sum += entropies[i]!;
          plan.unmask(i, tokens[i]!);
        }
      }
      yield;
    }
  },
});
