/** Settings of teacher training. */
import { z } from 'zod';
import { belowOne, finite, positive } from '../options/fields.js';
import type { GivenOptions, ResolvedOptions } from '../options/option-types.js';
import { parseOptions } from '../options/parse-options.js';
import {
  batchSize,
  learningRateSchedule,
  maskSchedule,
  numSteps,
  onNonFinite,
  optimizer,
  seed,
} from '../options/training-fields.js';

/** Options of teacher training. The defaults are those of a small model that trains in minutes. */
export const teacherTrainingOptions = {
  numSteps: numSteps.default(2200).describe('Training steps.'),
  batchSize: batchSize.default(64).describe('Sequences per step.'),
  /** Of the weights, the order of the data and the masks. */
  seed,
  maskSchedule: maskSchedule.default('arccos').describe('Distribution of the mask ratio.'),
  labelSmoothing: belowOne().default(0.1).describe('Label smoothing of the cross-entropy.'),
  conditionDrop: finite(0, 1).default(0.1).describe('Probability of training without condition, for guidance.'),
  /** The uniforms are drawn on the host. */
  dropout: belowOne().default(0).describe('Dropout rate, for models that have dropout.'),
  learningRate: positive().default(2e-3).describe('Peak learning rate.'),
  learningRateSchedule: learningRateSchedule({ kind: 'cosine', warmupSteps: 100 }).describe(
    'Course of the learning rate.',
  ),
  optimizer: optimizer({ kind: 'adamw', beta2: 0.96, weightDecay: 0.01, clipNorm: 1 }).describe('Optimizer.'),
  averageDecay: belowOne().default(0.998).describe('Decay of the moving average of the weights, the result.'),
  onNonFinite,
};

const schema = z.strictObject(teacherTrainingOptions);

/** Settings of teacher training. */
export type TeacherTrainingOptions = GivenOptions<typeof teacherTrainingOptions>;

/** `TeacherTrainingOptions` with defaults filled in. */
export type ResolvedTeacherTraining = ResolvedOptions<typeof teacherTrainingOptions>;

/** Fills in defaults. @throws OptionError for a value out of its range. */
export function resolveTeacherTraining(
  options: TeacherTrainingOptions = {},
  where = 'teacherTraining',
): ResolvedTeacherTraining {
  return parseOptions(schema, options, where);
}
