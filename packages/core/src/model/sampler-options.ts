/** Settings of samplers, plain data: what a teacher may give as its own and a user may change. */
import { z } from 'zod';
import { finite, whole } from '../options/fields.js';
import type { GivenOptions, ResolvedOptions } from '../options/option-types.js';
import { parseOptions } from '../options/parse-options.js';

/** How a token is drawn from logits: options that every sampler has. */
export const tokenOptions = {
  // Logits divided by less overflow, and then every token is the first.
  temperature: finite(1e-6).default(1).describe('Divides the logits.'),
  topK: whole(0).default(0).describe('Only the k most probable ids; 0: all.'),
  /** The id that crosses the mass is one of them. */
  topP: finite(0, 1)
    .default(0)
    .describe('Only the most probable ids up to this probability mass, of what topK leaves; 0: all.'),
  /**
   * `inverse-cdf`: one uniform number per position inverts the cumulative distribution. `exponential-race`: one standard
   * exponential number E per position and id, argmax(p / E), which is what PyTorch's `multinomial` does and the same as
   * Gumbel-max; for replaying its draws, because it needs V times the numbers.
   */
  method: z
    .enum(['inverse-cdf', 'exponential-race'])
    .default('inverse-cdf')
    .describe('How an id is drawn: by one uniform number, or by a race of exponential ones as PyTorch does.'),
  reference: z
    .boolean()
    .default(false)
    .describe('As the original code: ids that the decoder does not know can be drawn.'),
};

const schema = z.strictObject(tokenOptions);

/** How tokens are drawn. */
export type SamplingOptions = GivenOptions<typeof tokenOptions>;

/** `SamplingOptions` with defaults filled in. */
export type ResolvedSampling = ResolvedOptions<typeof tokenOptions>;

/** Fills in defaults. @throws OptionError for a value out of its range */
export function resolveSampling(options: SamplingOptions = {}, where = 'sampling'): ResolvedSampling {
  return parseOptions(schema, options, where);
}

/**
 * A multi-step sampler and its options, flat: `{ name: 'halton', numSteps: 8 }`. Plain data, checked by the sampler that
 * `name` says.
 */
export interface SamplerSettings {
  /** @default 'maskgit' */
  readonly name?: string;
  readonly [option: string]: unknown;
}
