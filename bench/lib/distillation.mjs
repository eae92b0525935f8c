/** The distillation that the training benchmarks run. */
import { createDistillation, int32, randomStream } from '@dimo/core';
import { maskTransformer } from '@dimo/teacher-maskgit';

/** A fresh teacher and its distillation; `weights` are the teacher's, which all three networks start from. */
export function benchDistillation({ model, batch, step, seed }) {
  const network = maskTransformer({
    hidden: model.hidden,
    depth: model.depth,
    heads: model.heads,
    mlp: model.mlp,
    grid: model.grid,
    codebookSize: model.codes,
    numClasses: model.classes,
    embeddingDeviation: 0.1,
  });
  const weights = network.initialize(randomStream(seed, 0, 'bench/weights'));
  const teacher = {
    contract: 2,
    name: 'bench',
    model: network,
    nullCondition: { label: int32([], [model.classes]) },
    conditions: {
      sample: (random, count) => ({ label: int32([count], random.integers(count, model.classes)) }),
      parse: () => ({}),
    },
    config: {},
    weights,
  };
  const adam = { beta1: step.beta1, beta2: step.beta2, epsilon: step.epsilon };
  const distillation = createDistillation(teacher, {
    numSteps: 1_000_000,
    batchSize: batch,
    seed,
    tokenInit: { maskRatio: step.initialMaskRatio, embeddingNoise: step.noise, noiseUnit: 'unit' },
    // The original's sampling, as in the PyTorch script: the mask token has a logit and can be drawn.
    sampling: { reference: true },
    teacherGuidance: step.guidance,
    labelSmoothing: step.labelSmoothing,
    generatorLearningRate: step.generatorLearningRate,
    auxiliaryLearningRate: step.auxiliaryLearningRate,
    learningRateSchedule: { kind: 'constant', warmupSteps: 0 },
    generatorOptimizer: { ...adam, clipNorm: step.clipNorm },
    auxiliaryOptimizer: adam,
    averageDecay: step.averageDecay,
  });
  return { distillation, teacher, weights };
}
