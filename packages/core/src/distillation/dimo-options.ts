/** The algorithm of the paper, Di[M]O (arXiv 2503.15457), in the slot: its options, stated once, and its phases. */
import { z } from 'zod';
import { belowOne, finite, positive, section, sectionOrNumber, whole } from '../options/fields.js';
import { learningRateSchedule, maskSchedule, optimizer, tokenSampling } from '../options/training-fields.js';
import { defineAlgorithm } from './algorithm.js';
import { createDistillation } from './distillation.js';
import type { DistillationOptions } from './options.js';

/** Options of `dimo` beside those of every distillation: type, range, default and sentence. */
export const dimoOptions = {
  auxiliaryRounds: whole(1, 1000).default(1).describe('Auxiliary updates per generator update.'),
  tokenInit: section({
    maskRatio: z
      .union([finite(0, 1), z.tuple([finite(0, 1), finite(0, 1)])])
      .default(0.6)
      .describe('r_init: fraction of masked tokens in the generator input; a pair [from, to] draws one per step.'),
    embeddingNoise: section({
      kind: z
        .enum(['fixed', 'linear', 'cosine', 'exponential'])
        .default('fixed')
        .describe('Course of the perturbation: fixed, or a warm-up to `scale`.'),
      scale: finite(0, 1).default(0.1).describe('Sigma of the Gaussian embedding perturbation.'),
      warmupSteps: whole(1).optional().describe('Length of the warm-up, required by every kind but fixed.'),
    }).describe('Perturbation of the token embeddings of the generator input.'),
    noiseUnit: z
      .enum(['unit', 'embedding-rms'])
      .default('embedding-rms')
      .describe('What sigma is relative to: standard normal noise (official code), or the rms of the embeddings.'),
  }).describe('Input of the one-step generator.'),
  sampling: tokenSampling().describe('How the tokens of the generator are drawn while distilling.'),
  maskSchedule: maskSchedule.default('arccos').describe('Mask ratio of the re-masked samples, generator phase.'),
  auxiliaryMaskSchedule: maskSchedule.optional().describe('The same in the auxiliary phase. Absent: the same one.'),
  maskRatioRange: z
    .tuple([finite(0, 1), finite(0, 1)])
    .default([0, 1])
    .describe('Mask ratios of both phases outside of it are moved to its ends.'),
  divergence: section({
    kind: z
      .enum(['forward-kl', 'reverse-kl', 'jeffreys'])
      .default('forward-kl')
      .describe('Divergence between teacher and auxiliary model.'),
    beta: finite().default(0).describe('For jeffreys: (1 - beta) forward KL + beta reverse KL; any real number.'),
  }).describe('What the generator lowers.'),
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
  ratioWeight: z
    .enum(['constant', 'ratio', 'inverse-ratio'])
    .default('constant')
    .describe('Weight of a sample as a function of its mask ratio.'),
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
  generatorOptimizer: optimizer({ kind: 'adam', beta1: 0, beta2: 0.999, weightDecay: 0 }).describe(
    'Optimizer of the generator. A low beta1 keeps small models from oscillating.',
  ),
  auxiliaryOptimizer: optimizer({ kind: 'adam', beta1: 0, beta2: 0.999, weightDecay: 0 }).describe(
    'Optimizer of the auxiliary model.',
  ),
  dropout: section({
    teacher: belowOne().default(0).describe('Of the teacher; 0.1 in the official run.'),
    auxiliary: belowOne().default(0).describe('Of the auxiliary model.'),
    generator: belowOne().default(0).describe('Of the generator.'),
  }).describe('Dropout rates, for models that have dropout.'),
  trainEmbeddings: z.boolean().default(false).describe('Train token and position embeddings too.'),
  averageDecay: belowOne().default(0.99).describe('Decay of the moving average of the generator.'),
  averageEvery: whole(1).default(1).describe('Generator updates per update of the average.'),
};

const schema = z.strictObject(dimoOptions);

/** The algorithm. */
export const dimoAlgorithm = defineAlgorithm({
  name: 'dimo',
  description:
    'one step by the divergence of teacher and auxiliary model on the generator\u2019s own samples (arXiv 2503.15457)',
  options: schema,
  prepare({ teacher, options, run, models, negativeCondition, shard }) {
    return createDistillation(
      teacher,
      { ...run, ...dimoDistillationOptions(options) },
      { models, ...(negativeCondition ? { negativeCondition } : {}), ...(shard ? { shard } : {}) },
    );
  },
});

/** Checked options of the algorithm as `createDistillation` takes them. */
export function dimoDistillationOptions(options: z.output<typeof schema>): DistillationOptions {
  const { divergence, teacherGuidance, tokenInit, generatorOptimizer, auxiliaryOptimizer, ...others } = options;
  const { auxiliaryMaskSchedule, conditionDrop, ...same } = others;
  const { warmupSteps, ...noise } = tokenInit.embeddingNoise;
  return {
    ...same,
    ...(auxiliaryMaskSchedule === undefined ? {} : { auxiliaryMaskSchedule }),
    ...(conditionDrop === undefined ? {} : { conditionDrop }),
    tokenInit: { ...tokenInit, embeddingNoise: { ...noise, ...(warmupSteps === undefined ? {} : { warmupSteps }) } },
    divergence:
      divergence.kind === 'jeffreys' ? { kind: 'jeffreys', beta: divergence.beta } : { kind: divergence.kind },
    teacherGuidance:
      teacherGuidance.kind === 'constant'
        ? teacherGuidance.scale
        : { kind: 'ratio-adaptive', scale: teacherGuidance.scale },
    generatorOptimizer: withoutUndefined(generatorOptimizer),
    auxiliaryOptimizer: withoutUndefined(auxiliaryOptimizer),
  };
}

function withoutUndefined({ clipNorm, ...rest }: z.output<typeof schema>['generatorOptimizer']) {
  return { ...rest, ...(clipNorm === undefined ? {} : { clipNorm }) };
}
