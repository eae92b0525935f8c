/** One golden trace of the official Di[M]O training step, as settings, weights and draws of this implementation. */
import {
  createDistillation,
  float32,
  int32,
  type Distillation,
  type DistillationDraws,
  type DistillationOptions,
  type Divergence,
  type HostTensor,
  type HostTree,
  type PhaseDraws,
  type Teacher,
} from '@dimo/core';
import { maskTransformer } from '@dimo/teacher-maskgit';
import { below, loadJson, loadTensors, reshaped } from './fixtures.js';

interface OfficialOptions {
  distil_loss_type: string;
  true_cfg: number;
  fake_cfg_eval: number;
  fake_cfg_train: number;
  fake_cfg_drop_ratio: number;
  adaptive_cfg: boolean;
  gen_temp: number;
  true_temp: number;
  fake_temp: number;
  temperature_fake: number;
  alpha_fake: number;
  label_smoothing: number;
  ratio_mode: DistillationOptions['maskSchedule'];
  ratio_mode_fake: DistillationOptions['maskSchedule'];
  fixed_ratio: number;
  noise_emb_perturb: number;
  top_k: number;
  top_p: number;
  generator_lr: number;
  fake_lr: number;
  lr_warmup_steps: number;
  adam_beta1: number;
  adam_beta2: number;
  adam_epsilon: number;
  weight_decay: number;
  clip_generator_grad_norm: number | null;
  loss_reduction: 'sum' | 'mean';
  dm_loss_weight: number;
  gradient_accumulation_steps: number;
  fake_rounds: number;
  ema_decay: number;
  ema_freq: number;
  fix_emb_layer: boolean;
  init: 'distinct' | 'teacher-copy';
}

/** Scalars that the official code had after a step. */
export interface StepScalars {
  readonly lr_generator: number;
  readonly lr_auxiliary: number;
  readonly loss_generator?: number;
  readonly mean_forward_kl_masked?: readonly number[];
  readonly grad_norm_generator?: number;
  readonly loss_auxiliary: number;
  readonly loss_auxiliary_hard: readonly number[];
  readonly loss_auxiliary_soft: readonly number[];
  readonly grad_norm_auxiliary: number;
  readonly ema_rate?: number;
}

interface Meta {
  options: OfficialOptions;
  batch: number;
  grid: number;
  steps: number;
  per_step: StepScalars[];
  model: { hidden_dim: number; codebook_size: number; depth: number; heads: number; mlp_dim: number; nclass: number };
}

/** A golden trace. */
export interface DimoStepFixture {
  readonly meta: Meta;
  readonly distillation: Distillation;
  /** Draws and derived tensors by name: `step0.gen.tokens`. */
  readonly saved: HostTree;
  /** Logits and divergence gradients: `step0.gen.divergence_grad`. */
  readonly trace: HostTree;
  /** `generator.<p>`, `auxiliary.<p>`. */
  readonly gradients: HostTree;
  /** `generator.<p>`, `auxiliary.<p>`, `ema.<p>`. */
  readonly finalParameters: HostTree;
  draws(step: number): DistillationDraws;
}

/** Loads `dimo-step/<variant>`. */
export function loadDimoStep(variant: string): DimoStepFixture {
  const folder = ['dimo-step', variant];
  const meta = loadJson<Meta>(...folder, 'meta.json');
  const { options, batch, grid } = meta;
  const saved = loadTensors(...folder, 'draws.safetensors');
  const { teacher, generator, auxiliary } = loadTeacher(meta);
  const isDistinct = options.init === 'distinct';
  return {
    meta,
    saved,
    trace: loadTensors(...folder, 'trace.safetensors'),
    gradients: loadTensors(...folder, 'grads_step0.safetensors'),
    finalParameters: loadTensors(...folder, 'params_final.safetensors'),
    distillation: createDistillation(teacher, optionsOf(meta), {
      trace: true,
      ...(isDistinct ? { initial: { generator, auxiliary } } : {}),
    }),
    draws: (step) => ({
      initialMaskRatio: options.fixed_ratio,
      generator:
        step % options.fake_rounds === 0
          ? microSteps(options, (i) => phaseDraws(saved, drawPrefix(step, 'gen', i, options), [batch, grid * grid]))
          : [],
      auxiliary: microSteps(options, (i) =>
        phaseDraws(saved, drawPrefix(step, 'aux', i, options), [batch, grid * grid]),
      ),
    }),
  };
}

/** `step0.gen.` or, with accumulation, `step0.gen.accum1.`. */
export function drawPrefix(
  step: number,
  phase: 'gen' | 'aux',
  microStep: number,
  options: { gradient_accumulation_steps: number },
): string {
  const accumulation = options.gradient_accumulation_steps > 1 ? `accum${microStep}.` : '';
  return `step${step}.${phase}.${accumulation}`;
}

function microSteps<T>(options: OfficialOptions, make: (i: number) => T): T[] {
  return Array.from({ length: options.gradient_accumulation_steps }, (_, i) => make(i));
}

function phaseDraws(saved: HostTree, prefix: string, [batch, length]: [number, number]): PhaseDraws {
  const tensors = below(prefix, saved);
  const row = <T extends HostTensor>(name: string) => reshaped(tensors[name] as T, [batch, length]);
  return {
    condition: { label: tensors['labels']! },
    initialCodes: row<HostTensor<'int32'>>('init_code'),
    initialMaskUniforms: row<HostTensor<'float32'>>('init_mask_uniforms'),
    embeddingNoise: tensors['noise'] as HostTensor<'float32'>,
    tokenDraws: row<HostTensor<'float32'>>('sample_uniforms'),
    maskRatioUniforms: tensors['mask_ratio_r'] as HostTensor<'float32'>,
    maskUniforms: row<HostTensor<'float32'>>('mask_uniforms'),
    dropUniforms:
      (tensors['drop_uniforms'] as HostTensor<'float32'>) ?? float32([batch], new Float32Array(batch).fill(1)),
  };
}

function loadTeacher({ model, grid }: Meta): { teacher: Teacher; generator: HostTree; auxiliary: HostTree } {
  const weights = (name: string) => loadTensors('dimo-step', 'init', `${name}.safetensors`);
  const teacher: Teacher = {
    contract: 1,
    name: 'maskgit',
    model: maskTransformer({
      hidden: model.hidden_dim,
      depth: model.depth,
      heads: model.heads,
      mlp: model.mlp_dim,
      codebookSize: model.codebook_size,
      numClasses: model.nclass,
      grid,
    }),
    nullCondition: { label: int32([], [model.nclass]) },
    conditions: {
      sample: (random, count) => ({ label: int32([count], random.integers(count, model.nclass)) }),
      parse: (texts) => ({ label: int32([texts.length], texts.map(Number)) }),
    },
    config: {},
    weights: weights('teacher'),
  };
  return { teacher, generator: weights('generator'), auxiliary: weights('auxiliary') };
}

function optionsOf({ options, batch, steps }: Meta): DistillationOptions {
  const optimizer = {
    beta1: options.adam_beta1,
    beta2: options.adam_beta2,
    epsilon: options.adam_epsilon,
    weightDecay: options.weight_decay,
  };
  return {
    numSteps: steps,
    batchSize: batch,
    accumulation: options.gradient_accumulation_steps,
    auxiliaryRounds: options.fake_rounds,
    tokenInit: { maskRatio: options.fixed_ratio, embeddingNoise: options.noise_emb_perturb, noiseUnit: 'unit' },
    sampling: { temperature: options.gen_temp, topK: options.top_k, topP: options.top_p, reference: true },
    maskSchedule: options.ratio_mode!,
    auxiliaryMaskSchedule: options.ratio_mode_fake!,
    divergence: divergenceOf(options.distil_loss_type),
    teacherTemperature: options.true_temp,
    auxiliaryTemperature: options.fake_temp,
    teacherGuidance: options.adaptive_cfg ? { kind: 'ratio-adaptive', scale: options.true_cfg } : options.true_cfg,
    auxiliaryGuidance: options.fake_cfg_eval,
    auxiliaryTrainingGuidance: options.fake_cfg_train,
    conditionDrop: options.fake_cfg_train === 1 ? 0 : options.fake_cfg_drop_ratio,
    lossReduction: options.loss_reduction,
    lossWeight: options.dm_loss_weight,
    labelSmoothing: options.label_smoothing,
    softWeight: options.alpha_fake,
    softTemperature: options.temperature_fake,
    generatorLearningRate: options.generator_lr,
    auxiliaryLearningRate: options.fake_lr,
    learningRateSchedule: { kind: 'constant', warmupSteps: options.lr_warmup_steps },
    generatorOptimizer: {
      ...optimizer,
      ...(options.clip_generator_grad_norm === null ? {} : { clipNorm: options.clip_generator_grad_norm }),
    },
    auxiliaryOptimizer: optimizer,
    trainEmbeddings: !options.fix_emb_layer,
    averageDecay: options.ema_decay,
    averageEvery: options.ema_freq,
  };
}

/** `FKL`, `RKL`, or `Jeffreys_<beta>`. */
function divergenceOf(official: string): Divergence {
  if (official === 'FKL') return { kind: 'forward-kl' };
  if (official === 'RKL') return { kind: 'reverse-kl' };
  const beta = /^Jeffreys_(-?[\d.]+)$/.exec(official)?.[1];
  if (beta === undefined) throw new Error(`unknown divergence in fixture: ${official}`);
  return { kind: 'jeffreys', beta: Number(beta) };
}
