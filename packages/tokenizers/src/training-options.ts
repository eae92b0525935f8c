/** Settings of tokenizer training. */
import {
  checkLearningRateSchedule,
  OptionError,
  resolveOptimizer,
  type LearningRateSchedule,
  type NonFinitePolicy,
  type OptimizerOptions,
} from '@dimo/core';

/** Settings of tokenizer training. The defaults are those of patch-VQ on MNIST. */
export interface TokenizerTrainingOptions {
  /** @default 1500 */
  readonly numSteps?: number;
  /** Images per step. @default 64 */
  readonly batchSize?: number;
  /** Seed of the weights, the order of the images and the re-seeding. @default 0 */
  readonly seed?: number;
  /** @default Adam, beta 0.9 and 0.95 */
  readonly optimizer?: OptimizerOptions;
  /** Peak learning rate. @default 2e-3 */
  readonly learningRate?: number;
  /** @default cosine to 0.05 after 50 steps of warm-up */
  readonly learningRateSchedule?: LearningRateSchedule;
  /** Weight of the mean squared distance between the encoder's vectors and their codes. @default 0.25 */
  readonly commitment?: number;
  /** Decay of the codebook's moving averages, [0, 1). @default 0.98 */
  readonly codebookDecay?: number;
  /** A code is dead if it is chosen less often than this fraction of the mean over all codes. @default 0.01 */
  readonly deadBelow?: number;
  /** Dead codes are re-seeded during this first fraction of the run. @default 0.7 */
  readonly reseedFraction?: number;
  /** @default 'throw' */
  readonly onNonFinite?: NonFinitePolicy;
}

/** `TokenizerTrainingOptions` with defaults filled in. */
export type ResolvedTokenizerTraining = Required<Omit<TokenizerTrainingOptions, 'optimizer'>> & {
  readonly optimizer: ReturnType<typeof resolveOptimizer>;
};

/** Fills in defaults. @throws OptionError for a value out of its range. */
export function resolveTokenizerTraining(
  options: TokenizerTrainingOptions = {},
  where = 'tokenizerTraining',
): ResolvedTokenizerTraining {
  const resolved: ResolvedTokenizerTraining = {
    numSteps: options.numSteps ?? 1500,
    batchSize: options.batchSize ?? 64,
    seed: options.seed ?? 0,
    optimizer: resolveOptimizer(options.optimizer ?? { beta1: 0.9, beta2: 0.95 }, `${where}.optimizer`),
    learningRate: options.learningRate ?? 2e-3,
    learningRateSchedule: options.learningRateSchedule ?? { kind: 'cosine', warmupSteps: 50, finalFraction: 0.05 },
    commitment: options.commitment ?? 0.25,
    codebookDecay: options.codebookDecay ?? 0.98,
    deadBelow: options.deadBelow ?? 0.01,
    reseedFraction: options.reseedFraction ?? 0.7,
    onNonFinite: options.onNonFinite ?? 'throw',
  };
  const require = (holds: boolean, name: keyof ResolvedTokenizerTraining, expected: string) => {
    if (!holds) throw new OptionError(`${where}.${name} must be ${expected}, got ${String(resolved[name])}`);
  };
  const isCount = (value: number) => Number.isInteger(value) && value >= 1;
  require(isCount(resolved.numSteps), 'numSteps', 'a positive integer');
  require(isCount(resolved.batchSize), 'batchSize', 'a positive integer');
  require(resolved.learningRate > 0 && resolved.learningRate < Infinity, 'learningRate', 'a positive number');
  require(resolved.commitment >= 0 && resolved.commitment < Infinity, 'commitment', 'a number >= 0');
  require(resolved.codebookDecay >= 0 && resolved.codebookDecay < 1, 'codebookDecay', 'in [0, 1)');
  require(resolved.deadBelow >= 0 && resolved.deadBelow < 1, 'deadBelow', 'in [0, 1)');
  require(resolved.reseedFraction >= 0 && resolved.reseedFraction <= 1, 'reseedFraction', 'in [0, 1]');
  require(['throw', 'skip', 'reference'].includes(
    resolved.onNonFinite,
  ), 'onNonFinite', '"throw", "skip" or "reference"');
  checkLearningRateSchedule(resolved.learningRateSchedule, `${where}.learningRateSchedule`);
  return resolved;
}
