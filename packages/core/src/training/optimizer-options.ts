/** Options that trainings share: those of the optimizer, and what happens to numbers that are not finite. */
import { z } from 'zod';
import type { GivenOptions, ResolvedOptions } from '../options/option-types.js';
import { parseOptions } from '../options/parse-options.js';
import { optimizerOptions, type onNonFinite } from '../options/training-fields.js';

const schema = z.strictObject(optimizerOptions());

/** Settings of Adam or AdamW. Di[M]O on small models wants a beta1 of 0 or 0.5; the official bf16 runs an epsilon of 1e-6. */
export type OptimizerOptions = GivenOptions<ReturnType<typeof optimizerOptions>>;

/** `OptimizerOptions` with every default filled in; `clipNorm` stays absent for no clipping. */
export type ResolvedOptimizerOptions = ResolvedOptions<ReturnType<typeof optimizerOptions>>;

/**
 * Fills in defaults: Adam, without weight decay and clipping.
 *
 * @param where - the option's path, for messages: `distillation.generatorOptimizer`.
 * @throws OptionError for a value out of its range.
 */
export function resolveOptimizer(options: OptimizerOptions = {}, where = 'optimizer'): ResolvedOptimizerOptions {
  return parseOptions(schema, options, where);
}

/**
 * What happens when a loss or gradient is not finite. `throw`: the run stops with `NonFiniteError`, the state is unchanged.
 * `skip`: the update leaves the state unchanged and is counted. `reference`, the official code: after clipping, NaN becomes
 * 0 and infinities +-1e5, and the update is made.
 */
export type NonFinitePolicy = z.output<typeof onNonFinite>;
