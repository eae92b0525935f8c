/**
 * Confidence threshold (Fast-dLLM, Wu et al., arXiv 2505.22618): a pass decides every position whose most probable token
 * is probable enough, and at least the surest one.
 */
import { z } from 'zod';
import { finite } from '../../options/fields.js';
import { defineSampler, stepOptions, tokenOptions } from '../sampler.js';

/** The sampler. For models that do not see how much is masked. */
export const confidenceThresholdSampler = defineSampler({
  name: 'confidence-threshold',
  description: 'every token that is probable enough, at least one a pass (arXiv 2505.22618)',
  options: z.strictObject({
    threshold: finite(0, 1)
      .default(0.9)
      .describe('Probability of the most probable token from which on it is decided.'),
    guidanceScale: stepOptions.guidanceScale.describe('Classifier-free guidance scale; 1: off.'),
    ...tokenOptions,
  }),
  maximumPasses: (_options, numTokens) => numTokens,
  async *run({ options, plan, denoise }) {
    while (plan.isOpen()) {
      const { tokens, largestProbabilities } = await denoise({
        guidanceScale: options.guidanceScale,
        statistics: ['largestProbabilities'],
      });
      for (let sample = 0; sample < plan.batchSize; sample++) {
        const masked = plan
          .maskedIn(sample)
          .sort((a, b) => largestProbabilities[b]! - largestProbabilities[a]! || a - b);
        for (const [k, i] of masked.entries())
          if (k === 0 || largestProbabilities[i]! >= options.threshold) plan.unmask(i, tokens[i]!);
      }
      yield;
    }
  },
});
