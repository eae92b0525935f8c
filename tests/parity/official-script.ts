/** What the training scripts of the two official runs have in common, as options of this implementation. */
import type { DistillationOptions, Divergence } from '@dimo/core';

/** Options that both scripts have, under their names. */
export interface OfficialScriptOptions {
  readonly distil_loss_type: string;
  readonly true_cfg: number;
  readonly fake_cfg_eval: number;
  readonly fake_cfg_train: number;
  readonly fake_cfg_drop_ratio: number;
  readonly adaptive_cfg: boolean;
  readonly gen_temp: number;
  readonly true_temp: number;
  readonly fake_temp: number;
  readonly temperature_fake: number;
  readonly alpha_fake: number;
  readonly ratio_mode: NonNullable<DistillationOptions['maskSchedule']>;
  readonly ratio_mode_fake: NonNullable<DistillationOptions['maskSchedule']>;
  readonly fixed_ratio: number;
  readonly generator_lr: number;
  readonly fake_lr: number;
  readonly lr_warmup_steps: number;
  readonly loss_reduction: 'sum' | 'mean';
  readonly gradient_accumulation_steps: number;
  readonly fake_rounds: number;
  readonly ema_decay: number;
  readonly fix_emb_layer: boolean;
}

/** What a script has in its own words. */
interface ScriptSizes {
  readonly numSteps: number;
  readonly batchSize: number;
  /** Of both networks. */
  readonly optimizer: NonNullable<DistillationOptions['auxiliaryOptimizer']>;
  /** Of the generator alone. */
  readonly clipNorm: number | undefined;
}

/** The options that follow from those that both scripts have. */
export function officialScript(options: OfficialScriptOptions, sizes: ScriptSizes) {
  const { numSteps, batchSize, optimizer, clipNorm } = sizes;
  return {
    numSteps,
    batchSize,
    accumulation: options.gradient_accumulation_steps,
    auxiliaryRounds: options.fake_rounds,
    maskSchedule: options.ratio_mode,
    auxiliaryMaskSchedule: options.ratio_mode_fake,
    divergence: divergenceOf(options.distil_loss_type),
    teacherTemperature: options.true_temp,
    auxiliaryTemperature: options.fake_temp,
    teacherGuidance: options.adaptive_cfg ? { kind: 'ratio-adaptive', scale: options.true_cfg } : options.true_cfg,
    auxiliaryGuidance: options.fake_cfg_eval,
    auxiliaryTrainingGuidance: options.fake_cfg_train,
    conditionDrop: options.fake_cfg_train === 1 ? 0 : options.fake_cfg_drop_ratio,
    lossReduction: options.loss_reduction,
    softWeight: options.alpha_fake,
    softTemperature: options.temperature_fake,
    generatorLearningRate: options.generator_lr,
    auxiliaryLearningRate: options.fake_lr,
    learningRateSchedule: { kind: 'constant', warmupSteps: options.lr_warmup_steps },
    generatorOptimizer: { ...optimizer, ...(clipNorm === undefined ? {} : { clipNorm }) },
    auxiliaryOptimizer: optimizer,
    trainEmbeddings: !options.fix_emb_layer,
    averageDecay: options.ema_decay,
  } satisfies DistillationOptions;
}

/** `FKL`, `RKL`, or `Jeffreys_<beta>`. */
function divergenceOf(official: string): Divergence {
  if (official === 'FKL') return { kind: 'forward-kl' };
  if (official === 'RKL') return { kind: 'reverse-kl' };
  const beta = /^Jeffreys_(-?[\d.]+)$/.exec(official)?.[1];
  if (beta === undefined) throw new Error(`unknown divergence in fixture: ${official}`);
  return { kind: 'jeffreys', beta: Number(beta) };
}
