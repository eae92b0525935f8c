/** Building blocks of the option schemas of trainings. */
import { z } from 'zod';
import { belowOne, finite, positive, section, whole } from './fields.js';

/** Seed of a training. */
export const seed = whole(0).default(0).describe('Seed of everything random: the same seed gives the same run.');

/** Steps of a training, which has a default of its own. */
export const numSteps = whole(1, 2 ** 32 - 1);

/** Samples that are computed at once. */
export const batchSize = whole(1, 65536);

/** What happens when a loss or gradient is not finite. A run that skips ends all the same, after `maxSkipped` steps in a row. */
export const onNonFinite = z
  .enum(['throw', 'skip', 'reference'])
  .default('skip')
  .describe('A loss or gradient that is not finite: stop, skip the update and count it, or do as the official code.');

/** For `onNonFinite` skip. */
export const maxSkipped = whole(1).default(10).describe('Skipped steps in a row after which the run stops.');

/** How many checkpoints of a run are kept. */
export const keptCheckpoints = whole(1, 10_000).default(3).describe('Newest checkpoints that stay.');

/** Mask ratio schedules. */
export const maskSchedule = z.enum(['linear', 'square', 'cosine', 'arccos', 'mage']);

/** Defaults of a training's own. */
export interface OptimizerDefaults {
  readonly kind?: 'adam' | 'adamw';
  readonly beta1?: number;
  readonly beta2?: number;
  readonly weightDecay?: number;
  readonly clipNorm?: number;
}

/** Settings of Adam or AdamW. */
export function optimizerOptions(own: OptimizerDefaults = {}) {
  const { kind = 'adam', beta1 = 0.9, beta2 = 0.999, weightDecay = 0, clipNorm } = own;
  const largest = 'Largest global gradient norm; larger gradients are scaled down to it.';
  return {
    kind: z
      .enum(['adam', 'adamw'])
      .default(kind)
      .describe('adam: weight decay is added to the gradient; adamw: it is decoupled from it.'),
    beta1: belowOne().default(beta1).describe('Decay of the running mean of gradients.'),
    beta2: belowOne().default(beta2).describe('Decay of the running mean of squared gradients.'),
    epsilon: positive().default(1e-8).describe('Added to the root of the second moment.'),
    weightDecay: finite(0).default(weightDecay).describe('Weight decay.'),
    clipNorm:
      clipNorm === undefined
        ? positive().optional().describe(`${largest} Absent: no clipping.`)
        : positive().optional().default(clipNorm).describe(largest),
  };
}

/** The section of an optimizer. */
export function optimizer(own?: OptimizerDefaults) {
  return section(optimizerOptions(own));
}

/** Defaults of a training's own. */
export interface ScheduleDefaults {
  readonly kind?: 'constant' | 'cosine' | 'linear' | 'constant-then-linear';
  readonly warmupSteps?: number;
  readonly finalFraction?: number;
}

/** The learning rate as a fraction of its peak over the steps of a run. */
export function scheduleOptions({ kind = 'constant', warmupSteps = 0, finalFraction = 0 }: ScheduleDefaults = {}) {
  return {
    kind: z
      .enum(['constant', 'cosine', 'linear', 'constant-then-linear'])
      .default(kind)
      .describe('Course of the learning rate after the warm-up.'),
    warmupSteps: whole(0).default(warmupSteps).describe('Steps of linear warm-up from 0.'),
    finalFraction: finite(0, 1).default(finalFraction).describe('Fraction of the peak at the end.'),
    constantFraction: finite(0, 1).default(0.6).describe('For constant-then-linear: the part of the run at the peak.'),
  };
}

/** The section of a learning rate schedule. */
export function learningRateSchedule(own?: ScheduleDefaults) {
  return section(scheduleOptions(own));
}

/** Scale of the perturbation of embeddings over the steps of a run. */
export const embeddingNoiseOptions = {
  kind: z
    .enum(['fixed', 'linear', 'cosine', 'exponential'])
    .default('fixed')
    .describe('Course of the perturbation: fixed, or a warm-up to `scale`.'),
  scale: finite(0, 1).default(0.1).describe('Sigma of the Gaussian embedding perturbation.'),
  warmupSteps: whole(1).optional().describe('Length of the warm-up, required by every kind but fixed.'),
};
