/** What every distillation is told, whatever its algorithm. */
import type { GivenOptions, ResolvedOptions } from '../options/option-types.js';
import { whole } from '../options/fields.js';
import { batchSize, numSteps, onNonFinite, seed } from '../options/training-fields.js';

/** Options that every distillation has. */
export const distillationRunOptions = {
  numSteps: numSteps.default(1000).describe('Iterations; each updates the auxiliary model.'),
  batchSize: batchSize.default(64).describe('Samples per micro-step.'),
  accumulation: whole(1, 4096).default(1).describe('Micro-steps whose gradients are added before an update.'),
  seed,
  onNonFinite,
};

/** What a distillation may be told. */
export type DistillationRunOptions = GivenOptions<typeof distillationRunOptions>;

/** `DistillationRunOptions` with defaults filled in. */
export type DistillationRun = ResolvedOptions<typeof distillationRunOptions>;
