/**
 * One full distillation step (generator update, then auxiliary update) of a small MaskGIT on an engine, and how far two
 * engines' results are apart. Same weights and random numbers everywhere; what differs is the engine.
 */
import {
  createDistillation,
  randomStream,
  runTraining,
  type Distillation,
  type Engine,
  type HostTree,
  type TrainingProgram,
} from '@dimo/core';
import { defineMaskgit } from '@dimo/teacher-maskgit';

/** Sizes of the step. */
export interface FullStepOptions {
  readonly hidden: number;
  readonly depth: number;
  readonly grid: number;
  readonly codebookSize: number;
  readonly batchSize: number;
  /** Steps in all; what is compared are the outputs of the last. @default 1 */
  readonly numSteps?: number;
  /** Whether the results of the phases are handed out, which leaves batches whole. @default true */
  readonly trace?: boolean;
}

/** Outputs of the two calls, and the state after them. */
export interface FullStep {
  readonly generator: HostTree;
  readonly auxiliary: HostTree;
  readonly state: HostTree;
}

/** The largest differences between two engines' results of a step. */
export interface StepDifference {
  /** Sampled tokens that differ, of both phases. */
  readonly tokens: number;
  /** Absolute, all logits of both phases. */
  readonly logits: number;
  /** Absolute, gradient of the divergence with respect to the logits. */
  readonly divergenceGradient: number;
  /** Relative, losses of both phases. */
  readonly losses: number;
  /** Absolute over the largest element of the tensor, all parameter gradients of both phases. */
  readonly parameterGradients: number;
  /** Absolute, all weights and averages after the step (the learning rate is 1e-4). */
  readonly weights: number;
  /** Absolute over the largest element of the tensor, all optimizer moments after the step. */
  readonly moments: number;
}

/** Adam, clipping, guidance and embedding noise as in the official run. */
export function fullStepDistillation(options: FullStepOptions): Distillation {
  const { hidden, depth, grid, codebookSize, batchSize, numSteps = 1, trace = true } = options;
  const numClasses = 4;
  const definition = defineMaskgit({
    transformer: { hidden, depth, heads: 4, mlp: 4 * hidden, codebookSize, grid: [grid, grid], numClasses },
    tokenizer: null,
  });
  const teacher = { ...definition, weights: definition.model.initialize(randomStream(5, 0, 'teacher')) };
  const optimizer = { beta1: 0.9, beta2: 0.999, epsilon: 1e-6, clipNorm: 1 };
  return createDistillation(
    teacher,
    {
      numSteps,
      batchSize,
      tokenInit: { maskRatio: 0.6, embeddingNoise: 0.1 },
      teacherGuidance: 2,
      divergence: { kind: 'jeffreys', beta: -0.2 },
      generatorLearningRate: 1e-4,
      auxiliaryLearningRate: 1e-4,
      learningRateSchedule: { kind: 'constant', warmupSteps: 0 },
      generatorOptimizer: optimizer,
      auxiliaryOptimizer: optimizer,
      conditionDrop: 0.1,
    },
    // An auxiliary model unlike the teacher, so that the divergence has something to say.
    { models: { auxiliary: { weights: definition.model.initialize(randomStream(6, 0, 'auxiliary')) } }, trace },
  );
}

/** Runs the step. */
export async function runFullStep(engine: Engine, distillation: Distillation): Promise<FullStep> {
  let outputs: readonly HostTree[] = [];
  const { program } = distillation;
  const observed: typeof program = {
    ...program,
    finish(step, counters, results) {
      outputs = results;
      return program.finish(step, counters, results);
    },
  };
  const { state } = await runTraining(observed as TrainingProgram<unknown>, { engine });
  const [generator, auxiliary] = outputs;
  return { generator: generator!, auxiliary: auxiliary!, state };
}

/** How far `actual` is from `expected`. */
export function stepDifference(actual: FullStep, expected: FullStep): StepDifference {
  const largest = (phases: readonly (keyof FullStep)[], isMeant: (name: string) => boolean, relative = false) =>
    Math.max(
      ...phases.flatMap((phase) =>
        Object.keys(expected[phase])
          .filter(isMeant)
          .map((name) => {
            const [got, wanted] = [actual[phase][name]!.data, expected[phase][name]!.data];
            return largestDifference(got, wanted) / (relative ? Math.max(largestDifference(wanted), 1e-30) : 1);
          }),
      ),
    );
  const both = ['generator', 'auxiliary'] as const;
  return {
    tokens: both
      .map((phase) => countDifferent(actual[phase]['tokens']!.data, expected[phase]['tokens']!.data))
      .reduce((a, b) => a + b),
    logits: largest(both, (name) => name.endsWith('Logits')),
    divergenceGradient: largest(['generator'], (name) => name === 'divergenceGradient'),
    losses: largest(both, (name) => name === 'loss', true),
    parameterGradients: largest(both, (name) => name.startsWith('gradient/'), true),
    weights: largest(['state'], (name) => !name.includes('Optimizer/')),
    moments: largest(['state'], (name) => name.includes('Optimizer/'), true),
  };
}

/** max |a - b|, or max |a| without b; NaN if there is one. */
function largestDifference(a: ArrayLike<number>, b?: ArrayLike<number>): number {
  let worst = 0;
  for (let i = 0; i < a.length; i++) worst = Math.max(worst, Math.abs(a[i]! - (b ? b[i]! : 0)));
  return worst;
}

function countDifferent(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let count = 0;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) count++;
  return count;
}
