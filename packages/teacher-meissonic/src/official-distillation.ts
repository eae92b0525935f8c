/** Settings of the official run. */
import { officialDistillation, type DistillationOptions } from '@dimo/core';

/** Optimizers, averaging and what happens to numbers that are not finite: as in the official run on MaskGIT. */
const { learningRateSchedule, generatorOptimizer, auxiliaryOptimizer, averageDecay, onNonFinite } =
  officialDistillation;

/**
 * Settings of the official Di[M]O run on Meissonic (its configuration file; the launch script uses batches of 2 and 8
 * micro-steps). With them go the official negative prompt for the teacher's guidance, `officialNegativePrompt`, and the
 * timestep mode `official`.
 */
export const officialMeissonicDistillation = {
  numSteps: 20000,
  batchSize: 4,
  tokenInit: { maskRatio: 0.5, embeddingNoise: 0.3, noiseUnit: 'unit' },
  maskSchedule: 'cosine',
  maskRatioRange: [0.02, 0.98],
  divergence: { kind: 'jeffreys', beta: 0 },
  teacherGuidance: 4,
  generatorLearningRate: 1e-6,
  auxiliaryLearningRate: 1e-6,
  learningRateSchedule,
  generatorOptimizer,
  auxiliaryOptimizer,
  averageDecay,
  onNonFinite,
} as const satisfies DistillationOptions;
