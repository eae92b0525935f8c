/** Settings of a distillation: their meaning, defaults and checks. */
import { divergenceBeta, type Divergence } from './divergence.js';
import { OptionError } from '../errors.js';
import { checkGuidance, isGuided, type Guidance } from '../model/guidance.js';
import type { MaskRatioRange } from '../model/masking.js';
import type { TokenDivergenceAttributes } from '../ops/token-divergence.js';
import {
  resolveOptimizer,
  type NonFinitePolicy,
  type OptimizerOptions,
  type ResolvedOptimizerOptions,
} from '../training/optimizer.js';
import { checkSampling } from '../sampling/drawing-tokens.js';
import {
  checkLearningRateSchedule,
  maskRatioAt,
  type LearningRateSchedule,
  type MaskRatioSchedule,
} from '../model/schedule.js';
import { resolveTokenInit, type ResolvedTokenInit, type TokenInit } from '../sampling/token-init.js';
import type { SamplingOptions } from '../model/sampler-options.js';

/**
 * Settings of a distillation. The defaults suit a small teacher on a laptop; `officialDistillation` has those of the
 * official MaskGIT run.
 */
export interface DistillationOptions {
  /** Iterations; each updates the auxiliary, and every `auxiliaryRounds`-th the generator. @default 1000 */
  readonly numSteps?: number;
  /** Samples per micro-step. @default 64 */
  readonly batchSize?: number;
  /** Micro-steps whose gradients are added before an update. @default 1 */
  readonly accumulation?: number;
  /** Auxiliary updates per generator update. @default 1 */
  readonly auxiliaryRounds?: number;
  /** @default 0 */
  readonly seed?: number;

  /** Input of the generator. */
  readonly tokenInit?: TokenInit;
  /** How the generator's tokens are drawn from its logits while distilling. */
  readonly sampling?: SamplingOptions;
  /** Mask ratio of the re-masked samples in the generator phase. @default 'arccos' */
  readonly maskSchedule?: MaskRatioSchedule;
  /** Mask ratio in the auxiliary phase. @default the same */
  readonly auxiliaryMaskSchedule?: MaskRatioSchedule;

  /** Mask ratios of both phases outside of it are moved to its ends; the official Meissonic run: 0.02 to 0.98. @default [0, 1] */
  readonly maskRatioRange?: MaskRatioRange;

  /** @default forward KL */
  readonly divergence?: Divergence;
  /** Divides the guided teacher logits. @default 1 */
  readonly teacherTemperature?: number;
  /** Divides the auxiliary logits in the divergence. @default 1 */
  readonly auxiliaryTemperature?: number;
  /** Guidance of the teacher; 1 = off. @default 1.3 */
  readonly teacherGuidance?: Guidance;
  /** Guidance of the auxiliary model in the generator phase; 1 = off. @default 1 */
  readonly auxiliaryGuidance?: number;
  /** Guidance of the auxiliary model while it is trained; 1 = off. @default 1 */
  readonly auxiliaryTrainingGuidance?: number;
  /**
   * Probability with which the auxiliary model is trained without condition. @default 0.1 if one of its guidance scales
   * is not 1, else 0
   */
  readonly conditionDrop?: number;
  /** Weight w of a sample with mask ratio r: `constant` 1, `ratio` r, `inverse-ratio` 1/r. @default 'constant' */
  readonly ratioWeight?: 'constant' | 'ratio' | 'inverse-ratio';
  /** Sum over tokens divided by the batch size, or mean over all elements of the logits. @default 'sum' */
  readonly lossReduction?: 'sum' | 'mean';
  /** Multiplies the generator's loss. @default 1 */
  readonly lossWeight?: number;

  /** Label smoothing of the auxiliary cross-entropy; keep it equal to the teacher's. @default 0.1 */
  readonly labelSmoothing?: number;
  /** alpha: weight of the KL to the generator's distribution against the cross-entropy, [0, 1]. @default 0 */
  readonly softWeight?: number;
  /** Temperature of both distributions in that KL. @default 1 */
  readonly softTemperature?: number;

  /** Peak. @default 2e-4 */
  readonly generatorLearningRate?: number;
  /** Peak. @default 5e-4 */
  readonly auxiliaryLearningRate?: number;
  /** Of both, over iterations. @default 20 steps of warm-up, constant to 60 %, linear to 5 % */
  readonly learningRateSchedule?: LearningRateSchedule;
  /** @default Adam, beta1 0 (larger ones oscillate on small models), beta2 0.999, no clipping */
  readonly generatorOptimizer?: OptimizerOptions;
  /** @default the same */
  readonly auxiliaryOptimizer?: OptimizerOptions;
  /**
   * Dropout rates of the networks, [0, 1). The official run drops out 0.1 in all three, the teacher included; its uniforms
   * are drawn on the host, so this is for small models. @default 0
   */
  readonly dropout?: Partial<Record<NetworkRole, number>>;
  /** Whether `embeddingParameters` are trained too. @default false */
  readonly trainEmbeddings?: boolean;
  /** Limit of the decay of the generator's moving average. @default 0.99 */
  readonly averageDecay?: number;
  /** Generator updates per update of the average. @default 1 */
  readonly averageEvery?: number;
  /** @default 'throw' */
  readonly onNonFinite?: NonFinitePolicy;
}

/** The networks of a distillation. */
export type NetworkRole = 'teacher' | 'auxiliary' | 'generator';

/** `DistillationOptions` with defaults filled in. */
export type ResolvedDistillation = Required<
  Omit<DistillationOptions, 'tokenInit' | 'generatorOptimizer' | 'auxiliaryOptimizer' | 'dropout'>
> & {
  readonly dropout: Readonly<Record<NetworkRole, number>>;
  readonly tokenInit: ResolvedTokenInit;
  readonly generatorOptimizer: ResolvedOptimizerOptions;
  readonly auxiliaryOptimizer: ResolvedOptimizerOptions;
  /** Divergence and temperatures as the op takes them. */
  readonly divergenceAttributes: TokenDivergenceAttributes;
};

/** Settings of the official MaskGIT run (batch size of its launch script). */
export const officialDistillation = {
  numSteps: 50001,
  batchSize: 64,
  tokenInit: { maskRatio: 0.6, embeddingNoise: 0.1, noiseUnit: 'unit' },
  sampling: { reference: true },
  teacherGuidance: 2,
  generatorLearningRate: 1e-5,
  auxiliaryLearningRate: 1e-5,
  learningRateSchedule: { kind: 'constant', warmupSteps: 100 },
  generatorOptimizer: { beta1: 0.9, beta2: 0.999, epsilon: 1e-6, clipNorm: 1 },
  auxiliaryOptimizer: { beta1: 0.9, beta2: 0.999, epsilon: 1e-6 },
  averageDecay: 0.9999,
  onNonFinite: 'reference',
} as const satisfies DistillationOptions;

/**
 * Fills in defaults.
 *
 * @param where - path of the options, for messages.
 * @throws OptionError for a value out of its range.
 */
export function resolveDistillation(options: DistillationOptions = {}, where = 'distillation'): ResolvedDistillation {
  const { divergence = { kind: 'forward-kl' }, teacherTemperature = 1, auxiliaryTemperature = 1 } = options;
  const { auxiliaryGuidance = 1, auxiliaryTrainingGuidance = 1, maskSchedule = 'arccos' } = options;
  const defaultDrop = isGuided(auxiliaryGuidance) || isGuided(auxiliaryTrainingGuidance) ? 0.1 : 0;
  const resolved: ResolvedDistillation = {
    numSteps: options.numSteps ?? 1000,
    batchSize: options.batchSize ?? 64,
    accumulation: options.accumulation ?? 1,
    auxiliaryRounds: options.auxiliaryRounds ?? 1,
    seed: options.seed ?? 0,
    tokenInit: resolveTokenInit(options.tokenInit, `${where}.tokenInit`),
    sampling: options.sampling ?? {},
    maskSchedule,
    auxiliaryMaskSchedule: options.auxiliaryMaskSchedule ?? maskSchedule,
    maskRatioRange: options.maskRatioRange ?? [0, 1],
    divergence,
    teacherTemperature,
    auxiliaryTemperature,
    divergenceAttributes: {
      beta: divergenceBeta(divergence, `${where}.divergence`),
      teacherTemperature,
      auxiliaryTemperature,
    },
    teacherGuidance: options.teacherGuidance ?? 1.3,
    auxiliaryGuidance,
    auxiliaryTrainingGuidance,
    conditionDrop: options.conditionDrop ?? defaultDrop,
    ratioWeight: options.ratioWeight ?? 'constant',
    lossReduction: options.lossReduction ?? 'sum',
    lossWeight: options.lossWeight ?? 1,
    labelSmoothing: options.labelSmoothing ?? 0.1,
    softWeight: options.softWeight ?? 0,
    softTemperature: options.softTemperature ?? 1,
    generatorLearningRate: options.generatorLearningRate ?? 2e-4,
    auxiliaryLearningRate: options.auxiliaryLearningRate ?? 5e-4,
    learningRateSchedule: options.learningRateSchedule ?? {
      kind: 'constant-then-linear',
      warmupSteps: 20,
      constantFraction: 0.6,
      finalFraction: 0.05,
    },
    generatorOptimizer: resolveOptimizer(options.generatorOptimizer ?? { beta1: 0 }, `${where}.generatorOptimizer`),
    auxiliaryOptimizer: resolveOptimizer(options.auxiliaryOptimizer ?? { beta1: 0 }, `${where}.auxiliaryOptimizer`),
    dropout: { teacher: 0, auxiliary: 0, generator: 0, ...options.dropout },
    trainEmbeddings: options.trainEmbeddings ?? false,
    averageDecay: options.averageDecay ?? 0.99,
    averageEvery: options.averageEvery ?? 1,
    onNonFinite: options.onNonFinite ?? 'throw',
  };
  check(resolved, where);
  return resolved;
}

function check(settings: ResolvedDistillation, where: string): void {
  const require = (holds: boolean, name: keyof ResolvedDistillation, expected: string) => {
    if (!holds) throw new OptionError(`${where}.${name} must be ${expected}, got ${JSON.stringify(settings[name])}`);
  };
  const oneOf = (name: keyof ResolvedDistillation, values: readonly string[]) =>
    require(values.includes(settings[name] as string), name, values.map((value) => `"${value}"`).join(' or '));
  for (const name of ['numSteps', 'batchSize', 'accumulation', 'auxiliaryRounds', 'averageEvery'] as const)
    require(Number.isInteger(settings[name]) && settings[name] >= 1, name, 'a positive integer');
  require(Number.isSafeInteger(settings.seed) && settings.seed >= 0, 'seed', 'an integer >= 0');
  for (const name of [
    'teacherTemperature',
    'auxiliaryTemperature',
    'softTemperature',
    'generatorLearningRate',
    'auxiliaryLearningRate',
  ] as const)
    require(settings[name] > 0 && settings[name] < Infinity, name, 'a positive number');
  for (const name of ['conditionDrop', 'softWeight'] as const)
    require(settings[name] >= 0 && settings[name] <= 1, name, 'in [0, 1]');
  for (const name of ['labelSmoothing', 'averageDecay'] as const)
    require(settings[name] >= 0 && settings[name] < 1, name, 'in [0, 1)');
  for (const name of ['auxiliaryGuidance', 'auxiliaryTrainingGuidance', 'lossWeight'] as const)
    require(Number.isFinite(settings[name]), name, 'a finite number');
  const rates = Object.values(settings.dropout);
  require(rates.length === 3 &&
    rates.every((rate) => rate >= 0 && rate < 1), 'dropout', 'rates in [0, 1) of teacher, auxiliary and generator');
  oneOf('ratioWeight', ['constant', 'ratio', 'inverse-ratio']);
  oneOf('lossReduction', ['sum', 'mean']);
  oneOf('onNonFinite', ['throw', 'skip', 'reference']);
  const [lowest, highest, ...more] = settings.maskRatioRange;
  require(lowest >= 0 && lowest <= highest && highest <= 1 && more.length === 0, 'maskRatioRange', 'a range in [0, 1]');
  maskRatioAt(settings.maskSchedule, 0.5);
  maskRatioAt(settings.auxiliaryMaskSchedule, 0.5);
  checkGuidance(settings.teacherGuidance, `${where}.teacherGuidance`);
  checkSampling(settings.sampling, `${where}.sampling`);
  checkLearningRateSchedule(settings.learningRateSchedule, `${where}.learningRateSchedule`);
}
