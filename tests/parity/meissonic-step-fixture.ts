/** A golden trace of the official Meissonic distillation as settings, weights and draws of this implementation. */
import {
  createDistillation,
  float32,
  type Distillation,
  type DistillationDraws,
  type DistillationOptions,
  type Divergence,
  type EmbeddingNoiseSchedule,
  type HostTensor,
  type HostTree,
  type PhaseDraws,
  type Teacher,
} from '@dimo/core';
import { below, loadJson, loadTensors, reshaped } from './fixtures.js';
import {
  channelsLast,
  conditionOf,
  defaultMicroConditions,
  fixtureTransformer,
  tensor,
  tokensOf,
  transformerWeights,
} from './meissonic-fixtures.js';

/** Options of the official script. */
export interface OfficialSettings {
  readonly fixed_ratio: number;
  readonly noise_emb_perturb: string;
  readonly distil_loss_type: string;
  readonly true_cfg: number;
  readonly train_batch_size: number;
  readonly gradient_accumulation_steps: number;
  readonly fix_emb_layer: boolean;
  readonly adaptive_cfg: boolean;
  readonly distil_neg_prompt: boolean;
  readonly alpha_fake: number;
  readonly temperature_fake: number;
  readonly loss_reduction: 'sum' | 'mean';
  readonly lr_warmup_steps: number;
  readonly generator_lr: number;
  readonly fake_lr: number;
  readonly mixed_precision: 'no' | 'fp16' | 'bf16';
  readonly gen_temp: number;
  readonly true_temp: number;
  readonly fake_temp: number;
  readonly fake_rounds: number;
  readonly ratio_mode: NonNullable<DistillationOptions['maskSchedule']>;
  readonly ratio_mode_fake: NonNullable<DistillationOptions['maskSchedule']>;
  readonly fake_cfg_eval: number;
  readonly fake_cfg_train: number;
  readonly fake_cfg_drop_ratio: number;
  readonly ema_decay: number;
  readonly max_grad_norm: number;
  readonly max_train_steps: number;
  readonly patch_size: number;
  readonly adam_betas: readonly [number, number];
}

/** A golden trace. */
export interface MeissonicStepFixture {
  readonly settings: OfficialSettings;
  /** `log` holds two entries per step; `step0.generator.lr` and so on are numbers. */
  readonly scalars: Readonly<Record<string, unknown>>;
  readonly distillation: Distillation;
  /** `step0.gen0.codes`. */
  readonly io: HostTree;
  /** `generator.grad.<p>`, `aux.grad.<p>` of step 0. */
  readonly gradients: HostTree;
  /** `step1.generator.param.<p>`, `step1.aux.param.<p>`, `final.ema.param.<p>`. */
  readonly parameters: HostTree;
  draws(step: number): DistillationDraws;
}

/** Loads `meissonic/training/<name>`. */
export function loadMeissonicStep(name: string): MeissonicStepFixture {
  const folder = ['meissonic', 'training', name];
  const { settings, scalars } = loadJson<{ settings: OfficialSettings; scalars: Record<string, unknown> }>(
    ...folder,
    'trace.json',
  );
  const io = loadTensors(...folder, 'io.safetensors');
  const teacher = teacherOf(settings, io);
  const micro = (step: number, phase: 'gen' | 'aux') =>
    Array.from({ length: settings.gradient_accumulation_steps }, (_, i) =>
      phaseDraws(below(`step${step}.${phase}${i}.`, io), teacher.model.embeddingWidth),
    );
  const negative = textCondition(below(settings.distil_neg_prompt ? 'in.negative.' : 'in.empty.', io));
  return {
    settings,
    scalars,
    io,
    gradients: below('step0.', loadTensors(...folder, 'grads.safetensors')),
    parameters: loadTensors(...folder, 'params.safetensors'),
    distillation: createDistillation(teacher, optionsOf(settings), {
      trace: true,
      negativeCondition: withoutBatchAxis(negative),
    }),
    draws: (step) => ({
      initialMaskRatio: settings.fixed_ratio,
      generator: step % settings.fake_rounds === 0 ? micro(step, 'gen') : [],
      auxiliary: micro(step, 'aux'),
    }),
  };
}

function teacherOf(settings: OfficialSettings, io: HostTree): Teacher {
  const empty = textCondition(below('in.empty.', io));
  const textLength = tensor(empty, 'textStates').shape[1]!;
  return {
    contract: 1,
    name: 'meissonic',
    model: fixtureTransformer(['tiny_release', 'transformer'], { grid: settings.patch_size, textLength }),
    nullCondition: withoutBatchAxis(empty),
    conditions: {
      sample: () => Promise.reject(new Error('the conditions are replayed')),
      parse: () => Promise.reject(new Error('the conditions are replayed')),
    },
    config: {},
    weights: transformerWeights('tiny_release', 'transformer'),
  };
}

/** Condition from `encoder_hidden_states` and `pooled_projections`. */
function textCondition(tensors: HostTree): HostTree {
  const textStates = tensor(tensors, 'encoder_hidden_states');
  return conditionOf(textStates, tensor(tensors, 'pooled_projections'), defaultMicroConditions(textStates.shape[0]!));
}

function withoutBatchAxis(condition: HostTree): HostTree {
  return Object.fromEntries(
    Object.entries(condition).map(([name, value]) => [name, reshaped(value, value.shape.slice(1))]),
  );
}

function phaseDraws(tensors: HostTree, width: number): PhaseDraws {
  const initialCodes = tokensOf(tensor(tensors, 'draw.init_codes'));
  const [batch, length] = initialCodes.shape as [number, number];
  const noise = tensors['draw.emb_noise'];
  return {
    condition: textCondition(below('in.', tensors)),
    initialCodes,
    initialMaskUniforms: tensor(tensors, 'draw.mask_uniform'),
    // The original draws none while the scale is 0.
    embeddingNoise: noise ? channelsLast(noise) : float32([batch, length, width]),
    tokenDraws: tensor(tensors, 'draw.exponential'),
    maskRatioUniforms: tensor(tensors, 'draw.ratio_uniform'),
    maskUniforms: tensor(tensors, 'draw.remask_uniform'),
    dropUniforms: (tensors['draw.drop_uniform'] as HostTensor<'float32'>) ?? float32([batch], Array(batch).fill(1)),
  };
}

function optionsOf(settings: OfficialSettings): DistillationOptions {
  const isHalf = settings.mixed_precision !== 'no';
  const optimizer = {
    beta1: settings.adam_betas[0],
    beta2: settings.adam_betas[1],
    epsilon: isHalf ? 1e-6 : 1e-8,
  };
  return {
    numSteps: settings.max_train_steps,
    batchSize: settings.train_batch_size,
    accumulation: settings.gradient_accumulation_steps,
    auxiliaryRounds: settings.fake_rounds,
    tokenInit: {
      maskRatio: settings.fixed_ratio,
      embeddingNoise: noiseOf(settings.noise_emb_perturb),
      noiseUnit: 'unit',
    },
    sampling: { temperature: settings.gen_temp, method: 'exponential-race' },
    maskSchedule: settings.ratio_mode,
    auxiliaryMaskSchedule: settings.ratio_mode_fake,
    maskRatioRange: [0.02, 0.98],
    divergence: divergenceOf(settings.distil_loss_type),
    teacherTemperature: settings.true_temp,
    auxiliaryTemperature: settings.fake_temp,
    teacherGuidance: settings.adaptive_cfg ? { kind: 'ratio-adaptive', scale: settings.true_cfg } : settings.true_cfg,
    auxiliaryGuidance: settings.fake_cfg_eval,
    auxiliaryTrainingGuidance: settings.fake_cfg_train,
    conditionDrop: settings.fake_cfg_train === 1 ? 0 : settings.fake_cfg_drop_ratio,
    lossReduction: settings.loss_reduction,
    softWeight: settings.alpha_fake,
    softTemperature: settings.temperature_fake,
    generatorLearningRate: settings.generator_lr,
    auxiliaryLearningRate: settings.fake_lr,
    learningRateSchedule: { kind: 'constant', warmupSteps: settings.lr_warmup_steps },
    generatorOptimizer: { ...optimizer, ...(isHalf ? { clipNorm: settings.max_grad_norm } : {}) },
    auxiliaryOptimizer: optimizer,
    trainEmbeddings: !settings.fix_emb_layer,
    averageDecay: settings.ema_decay,
    onNonFinite: 'reference',
  };
}

/** `fix_X`, `warmup_N`, `warmup_exp_N` or `warmup_cos_N`. */
function noiseOf(official: string): number | EmbeddingNoiseSchedule {
  const [, kind, number] = /^(fix|warmup|warmup_exp|warmup_cos)_([\d.]+)$/.exec(official) ?? [];
  const kinds = { warmup: 'linear', warmup_exp: 'exponential', warmup_cos: 'cosine' } as const;
  if (kind === 'fix') return Number(number);
  return { kind: kinds[kind as keyof typeof kinds], scale: 1, warmupSteps: Number(number) };
}

/** `FKL`, `RKL`, or `Jeffreys_<beta>`. */
function divergenceOf(official: string): Divergence {
  if (official === 'FKL') return { kind: 'forward-kl' };
  if (official === 'RKL') return { kind: 'reverse-kl' };
  const beta = /^Jeffreys_(-?[\d.]+)$/.exec(official)?.[1];
  if (beta === undefined) throw new Error(`unknown divergence in fixture: ${official}`);
  return { kind: 'jeffreys', beta: Number(beta) };
}
