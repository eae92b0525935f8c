/** Options of evaluations: type, range, default and sentence of each. */
import { fields } from '@dimo/core';
import { z } from 'zod';

const { batchSize, belowOne, numSteps, positive, seed, whole } = fields;

/** Neighbours that define the balls of precision, recall, density and coverage. */
export const manifoldOptions = {
  /** With 3, as first published, real images score 0.88 here. */
  precisionNeighbors: whole(1, 100)
    .default(5)
    .describe('k of precision and recall; with 5, real images score about 0.95.'),
  densityNeighbors: whole(1, 100).default(5).describe('k of density and coverage.'),
};

/** How the metrics are computed. */
export const metricOptions = {
  ...manifoldOptions,
  inceptionSplits: whole(1).default(10).describe('Parts that the inception score is averaged over.'),
};

/** The subset of the training images that a reference keeps. */
export const referenceOptions = {
  /** Images in the subset. */
  sampleCount: whole(2, 1_000_000).default(5000).describe('Samples per row of the table; never compare across counts.'),
  /** Draws the subset. */
  seed,
};

/** Usual width of the features of a classifier: of the last hidden layer, after its ReLU. */
export const classifierFeatureLength = 128;

/** Training of the classifier. */
export const classifierTrainingOptions = {
  epochs: positive().default(3).describe('Passes over the training split.'),
  numSteps: numSteps.optional().describe('Training steps, instead of `epochs`.'),
  batchSize: batchSize.default(128).describe('Images per training step.'),
  /** Peak of the one-cycle schedule. */
  learningRate: positive().default(2e-3).describe('Peak learning rate of its training.'),
  /** Probability with which a feature is dropped. */
  dropout: belowOne().default(0.3).describe('Dropout rate of its features in training.'),
  featureLength: whole(2, 4096).default(classifierFeatureLength).describe('Width of its features.'),
  /** Of weights, order and dropout. */
  seed: seed.describe('Seed of its weights and training.'),
};

const { epochs: _epochs, ...ofClassifier } = classifierTrainingOptions;

/** How a judge is made. */
export const judgeOptions = {
  kind: z
    .enum(['auto', 'trained', 'random'])
    .default('auto')
    .describe(
      'A classifier trained on the images of the dataset, or a random network; auto: trained where there are classes. MNIST has a bundled one, used while all of these settings are the defaults.',
    ),
  ...ofClassifier,
  numSteps: numSteps
    .optional()
    .describe('Training steps. Absent: three passes over the images, at least 1400, at most 5000.'),
};
