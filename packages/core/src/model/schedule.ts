/**
 * Schedules: plain functions from a number to a number, computed on the host. Mask ratio schedules for training and for
 * the multi-step sampler, learning rates, embedding noise and the ramp of the weight average.
 */
import { z } from 'zod';
import { requireInteger } from '../options/check-options.js';
import type { GivenOptions } from '../options/option-types.js';
import { parseOptions } from '../options/parse-options.js';
import { embeddingNoiseOptions, maskSchedule, scheduleOptions } from '../options/training-fields.js';
import { OptionError } from '../errors.js';
import { truncatedNormalQuantile } from '../random/truncated-normal.js';

/** How the mask ratio of a training sample follows from a uniform number r in [0, 1). */
export type MaskRatioSchedule = z.output<typeof maskSchedule>;

/** Names of the mask ratio schedules. */
export const maskRatioSchedules: readonly MaskRatioSchedule[] = maskSchedule.options;

/**
 * Mask ratio of a uniform number r: linear r, square r^2, cosine cos(r pi/2), arccos acos(r) / (pi/2), mage (Li et al.,
 * arXiv 2211.09117) the quantile r of a normal(0.55, 0.25) truncated to [0.5, 1].
 *
 * @param schedule - which one.
 * @param r - in [0, 1].
 * @returns mask ratio in [0, 1], rounded to float32 as the official code's.
 * @throws OptionError for an unknown schedule, or r outside of [0, 1].
 */
export function maskRatioAt(schedule: MaskRatioSchedule, r: number): number {
  if (!(r >= 0 && r <= 1)) throw new OptionError(`mask ratio schedule: r must be in [0, 1], got ${String(r)}`);
  switch (schedule) {
    case 'linear':
      return Math.fround(r);
    case 'square':
      return Math.fround(r * r);
    case 'cosine':
      // In float32 the cosine of pi/2 is below 0.
      return Math.max(0, Math.fround(Math.cos(Math.fround(Math.fround(r * Math.PI) / 2))));
    case 'arccos':
      return Math.fround(Math.fround(Math.acos(r)) / (Math.PI / 2));
    case 'mage':
      return Math.fround(truncatedNormalQuantile(r, { mean: 0.55, deviation: 0.25, lower: 0.5, upper: 1 }));
    default:
      schedule satisfies never;
      throw new OptionError(
        `mask ratio schedule must be one of ${maskRatioSchedules.join(', ')}, got ${String(schedule)}`,
      );
  }
}

/** Names of the unmasking schedules. */
export const unmaskingSchedules = ['root', 'linear', 'square', 'cosine', 'arccos', 'cosine-remaining'] as const;

/** How many tokens each step of the multi-step sampler decides, as a function of its progress. */
export type UnmaskingSchedule = (typeof unmaskingSchedules)[number];

/** Forward passes that a sampler may make; every token is decided after one pass each. */
const maximumSteps = 100_000;

/**
 * Tokens per step of the multi-step sampler. With r_i = 1 - i / (T - 1) and v_i = 1 - sqrt(r), 1 - r, 1 - r^2,
 * cos(r pi/2) or acos(r) / (pi/2): t_i = round(v_i / sum v * L), half to even, zeros become 1, the last entry makes the
 * sum L. (The last entry can be zero or negative when there are many steps for few tokens; the sampler has then already
 * decided every token.) One step decides all tokens.
 *
 * `cosine-remaining` is that of the original MaskGIT in JAX, of aMUSEd and of Meissonic: after step i floor(L cos(pi/2
 * (i + 1) / T)) tokens stay masked, fewer than before and, until the last step, at least one.
 *
 * @param schedule - shape.
 * @param numSteps - T >= 1.
 * @param numTokens - L.
 * @throws OptionError for a number of steps or tokens that is none, or an unknown schedule.
 */
export function tokensPerStep(schedule: UnmaskingSchedule, numSteps: number, numTokens: number): number[] {
  if (!Number.isInteger(numSteps) || numSteps < 1 || numSteps > maximumSteps)
    throw new OptionError(`sampler: numSteps must be an integer in [1, ${maximumSteps}], got ${String(numSteps)}`);
  requireInteger(numTokens, 'sampler: the number of tokens');
  if (numSteps === 1) return [numTokens];
  if (schedule === 'cosine-remaining') return remainingPerStep(numSteps, numTokens);
  const values = Array.from({ length: numSteps }, (_, i) => unmaskingValue(schedule, 1 - i / (numSteps - 1)));
  const total = values.reduce((sum, value) => sum + value, 0);
  const counts = values.map((value) => Math.max(1, roundHalfEven(Math.fround((value / total) * numTokens))));
  const before = counts.slice(0, -1).reduce((sum, count) => sum + count, 0);
  counts[numSteps - 1] = numTokens - before;
  return counts;
}

function remainingPerStep(numSteps: number, numTokens: number): number[] {
  let numMasked = numTokens;
  return Array.from({ length: numSteps }, (_, i) => {
    const before = numMasked;
    const ratio = Math.fround(Math.cos(Math.fround(((i + 1) / numSteps) * (Math.PI / 2))));
    const scheduled = Math.floor(Math.fround(numTokens * ratio));
    numMasked = i === numSteps - 1 ? 0 : Math.max(1, Math.min(scheduled, before - 1));
    return before - numMasked;
  });
}

function unmaskingValue(schedule: Exclude<UnmaskingSchedule, 'cosine-remaining'>, r: number): number {
  switch (schedule) {
    case 'root':
      return 1 - Math.sqrt(r);
    case 'linear':
      return 1 - r;
    case 'square':
      return 1 - r * r;
    case 'cosine':
      return Math.cos((r * Math.PI) / 2);
    case 'arccos':
      return Math.acos(r) / (Math.PI / 2);
    default:
      schedule satisfies never;
      throw new OptionError(
        `sampler: schedule must be one of ${unmaskingSchedules.join(', ')}, got ${String(schedule)}`,
      );
  }
}

/** Nearest integer, halves to the even one, as PyTorch's and NumPy's `round`. */
export function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  const fraction = x - floor;
  if (fraction !== 0.5) return Math.round(x);
  return floor % 2 === 0 ? floor : floor + 1;
}

/** Throws unless the number is finite and >= 0. */
function requireAtLeast0(what: string, value: number): void {
  if (!(value >= 0 && value < Infinity)) throw new OptionError(`${what} must be a number >= 0, got ${String(value)}`);
}

const learningRateSchema = z.strictObject(scheduleOptions());
const embeddingNoiseSchema = z.strictObject(embeddingNoiseOptions);

/**
 * Learning rate as a fraction of its peak over the steps of a run. Step k < warmupSteps has the multiplier k / warmupSteps,
 * so the first update has learning rate 0. Then `constant`; `cosine` or `linear` to `finalFraction`; or
 * `constant-then-linear`: constant up to `constantFraction` of all steps, then linear to `finalFraction`.
 */
export type LearningRateSchedule = GivenOptions<ReturnType<typeof scheduleOptions>>;

/**
 * Multiplier of the peak learning rate at a step.
 *
 * @param schedule - the schedule; what is left out is that of a constant learning rate without warm-up.
 * @param step - 0-based.
 * @param numSteps - length of the run.
 * @throws OptionError for a value out of its range, or a step that is none.
 */
export function learningRateFactor(schedule: LearningRateSchedule, step: number, numSteps: number): number {
  requireAtLeast0('learning rate schedule: step', step);
  requireAtLeast0('learning rate schedule: numSteps', numSteps);
  const { kind, warmupSteps, finalFraction, constantFraction } = parseOptions(
    learningRateSchema,
    schedule,
    'learning rate schedule',
  );
  if (step < warmupSteps) return step / warmupSteps;
  const start = kind === 'constant-then-linear' ? Math.max(warmupSteps, constantFraction * numSteps) : warmupSteps;
  if (step < start) return 1;
  const progress = numSteps > start ? Math.min(1, (step - start) / (numSteps - start)) : 1;
  switch (kind) {
    case 'constant':
      return 1;
    case 'cosine':
      return finalFraction + (1 - finalFraction) * 0.5 * (1 + Math.cos(Math.PI * progress));
    case 'linear':
    case 'constant-then-linear':
      return 1 + (finalFraction - 1) * progress;
    default:
      return kind satisfies never;
  }
}

/**
 * Scale sigma of the Gaussian embedding perturbation over the steps of a run: `fixed`, or a warm-up to `scale`: `linear`
 * min(1, step/n), `cosine` (1 - cos(pi min(1, step/n))) / 2, `exponential` 1 - exp(-step/n), n = warmupSteps.
 */
export type EmbeddingNoiseSchedule = GivenOptions<typeof embeddingNoiseOptions>;

/** Scale of the embedding noise at a 0-based step. @throws OptionError for a value out of its range, or a step that is none */
export function embeddingNoiseScale(schedule: EmbeddingNoiseSchedule, step: number): number {
  const { kind, scale, warmupSteps } = parseOptions(embeddingNoiseSchema, schedule, 'embedding noise');
  requireAtLeast0('embedding noise: step', step);
  if (kind === 'fixed') return scale;
  const progress = warmupSteps === undefined ? Infinity : step / warmupSteps;
  switch (kind) {
    case 'linear':
      return scale * Math.min(1, progress);
    case 'cosine':
      return scale * 0.5 * (1 - Math.cos(Math.PI * Math.min(1, progress)));
    case 'exponential':
      return scale * (1 - Math.exp(-progress));
    default:
      return kind satisfies never;
  }
}

/**
 * Decay of the moving average of weights with its ramp: min(decay, (1 + s) / (10 + s)).
 *
 * @param decay - limit, [0, 1).
 * @param s - updates made before this one.
 * @throws OptionError for a decay or number of updates that is none.
 */
export function movingAverageDecay(decay: number, s: number): number {
  requireAtLeast0('moving average: updates', s);
  if (!(decay >= 0 && decay < 1))
    throw new OptionError(`moving average: decay must be in [0, 1), got ${String(decay)}`);
  return Math.min(decay, (1 + s) / (10 + s));
}
