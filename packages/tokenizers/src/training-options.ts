/** Settings of tokenizer training. */
import { fields, parseOptions, type GivenOptions, type ResolvedOptions } from '@dimo/core';
import { z } from 'zod';

const { batchSize, belowOne, finite, learningRateSchedule, numSteps, onNonFinite, optimizer, positive, seed } = fields;

/** Options of tokenizer training. The defaults are those of patch-VQ on MNIST. */
export const tokenizerTrainingOptions = {
  numSteps: numSteps.default(1500).describe('Training steps.'),
  batchSize: batchSize.default(64).describe('Images per step.'),
  /** Of the weights, the order of the images and the re-seeding. */
  seed,
  learningRate: positive().default(2e-3).describe('Peak learning rate.'),
  learningRateSchedule: learningRateSchedule({ kind: 'cosine', warmupSteps: 50, finalFraction: 0.05 }).describe(
    'Course of the learning rate.',
  ),
  optimizer: optimizer({ beta2: 0.95 }).describe('Optimizer.'),
  /** The mean squared distance between the encoder's vectors and their codes. */
  commitment: finite(0).default(0.25).describe('Weight of the pull of the encoder to its codes.'),
  codebookDecay: belowOne().default(0.98).describe('Decay of the moving averages of the codebook.'),
  /** The mean over all codes. */
  deadBelow: belowOne().default(0.01).describe('Codes chosen less often than this part of the mean are re-seeded.'),
  reseedFraction: finite(0, 1).default(0.7).describe('Part of the run, from its start, that re-seeds dead codes.'),
  onNonFinite,
};

const schema = z.strictObject(tokenizerTrainingOptions);

/** Settings of tokenizer training. */
export type TokenizerTrainingOptions = GivenOptions<typeof tokenizerTrainingOptions>;

/** `TokenizerTrainingOptions` with defaults filled in. */
export type ResolvedTokenizerTraining = ResolvedOptions<typeof tokenizerTrainingOptions>;

/** Fills in defaults. @throws OptionError for a value out of its range. */
export function resolveTokenizerTraining(
  options: TokenizerTrainingOptions = {},
  where = 'tokenizerTraining',
): ResolvedTokenizerTraining {
  return parseOptions(schema, options, where);
}
