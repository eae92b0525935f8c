/** Options of the algorithm of the paper, Di[M]O (arXiv 2503.15457): type, range, default and sentence of each. */
import { z } from 'zod';
import { tokenOptions } from '../model/sampler-options.js';
import { belowOne, finite, positive, section, sectionOrNumber, whole } from '../options/fields.js';
import { learningRateSchedule, maskSchedule, optimizer } from '../options/training-fields.js';
import { tokenInitOptions } from '../sampling/token-init.js';
import { divergenceOptions } from './divergence.js';

/** Options of `dimo` beside those of every distillation. The defaults suit a small teacher on a laptop. */
export const dimoOptions = {
  auxiliaryRounds: whole(1, 1000).default(1).describe('Auxiliary updates per generator update.'),
  tokenInit: section(tokenInitOptions).describe('Input of the one-step generator.'),
  sampling: section(tokenOptions).describe('How the tokens of the generator are drawn while distilling.'),
  maskSchedule: maskSchedule.default('arccos').describe('Mask ratio of the re-masked samples, generator phase.'),
  auxiliaryMaskSchedule: maskSchedule.optional().describe('The same in the auxiliary phase. Absent: the same one.'),
  /** The official Meissonic run: 0.02 to 0.98. */
  maskRatioRange: z
    .tuple([finite(0, 1), finite(0, 1)])
    .default([0, 1])
    .describe('Mask ratios of both phases outside of it are moved to its ends.'),
  divergence: section(divergenceOptions).describe('What the generator lowers.'),
  teacherTemperature: positive().default(1).describe('Divides the guided teacher logits.'),
  auxiliaryTemperature: positive().default(1).describe('Divides the auxiliary logits in the divergence.'),
  teacherGuidance: sectionOrNumber(
    {
      kind: z
        .enum(['constant', 'ratio-adaptive'])
        .default('constant')
        .describe('One scale for all samples, or weaker where less is masked.'),
      scale: finite()
        .default(1.3)
        .describe(
          'Classifier-free guidance scale of the teacher; 1: off. `teacherGuidance: 1.3` is short for a constant scale.',
        ),
    },
    'scale',
  ).describe('Guidance of the teacher: a section, or a plain number for a constant scale.'),
  auxiliaryGuidance: finite().default(1).describe('Guidance scale of the auxiliary model, generator phase; 1: off.'),
  auxiliaryTrainingGuidance: finite().default(1).describe('Guidance scale of the auxiliary model in training; 1: off.'),
  conditionDrop: finite(0, 1)
    .optional()
    .describe('Probability of training the auxiliary model without condition. Absent: 0.1 where it is guided, else 0.'),
  /** With mask ratio r: `constant` 1, `ratio` r, `inverse-ratio` 1/r. */
  ratioWeight: z
    .enum(['constant', 'ratio', 'inverse-ratio'])
    .default('constant')
    .describe('Weight of a sample as a function of its mask ratio.'),
  /** The sum is divided by the batch size; the mean is over all elements of the logits. */
  lossReduction: z.enum(['sum', 'mean']).default('sum').describe('Sum over tokens, or mean over all logits.'),
  lossWeight: finite().default(1).describe('Multiplies the generator loss.'),
  labelSmoothing: belowOne().default(0.1).describe('Of the auxiliary cross-entropy; keep it equal to the teacher.'),
  softWeight: finite(0, 1).default(0).describe('Weight of the KL to the generator distribution (alpha).'),
  softTemperature: positive().default(1).describe('Temperature of both distributions in that KL.'),
  generatorLearningRate: positive().default(2e-4).describe('Peak learning rate of the generator.'),
  auxiliaryLearningRate: positive().default(5e-4).describe('Peak learning rate of the auxiliary model.'),
  learningRateSchedule: learningRateSchedule({
    kind: 'constant-then-linear',
    warmupSteps: 20,
    finalFraction: 0.05,
  }).describe('Course of both learning rates.'),
  generatorOptimizer: optimizer({ beta1: 0 }).describe(
    'Optimizer of the generator. A low beta1 keeps small models from oscillating.',
  ),
  auxiliaryOptimizer: optimizer({ beta1: 0 }).describe('Optimizer of the auxiliary model.'),
  /**
   * The official run drops out 0.1 in all three, the teacher included; the uniforms are drawn on the host, so this is for
   * small models.
   */
  dropout: section({
    teacher: belowOne().default(0).describe('Of the teacher; 0.1 in the official run.'),
    auxiliary: belowOne().default(0).describe('Of the auxiliary model.'),
    generator: belowOne().default(0).describe('Of the generator.'),
  }).describe('Dropout rates, for models that have dropout.'),
  trainEmbeddings: z.boolean().default(false).describe('Train token and position embeddings too.'),
  averageDecay: belowOne().default(0.99).describe('Decay of the moving average of the generator.'),
  averageEvery: whole(1).default(1).describe('Generator updates per update of the average.'),
};
