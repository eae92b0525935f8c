/** One golden trace of the official Di[M]O training step, as settings, weights and draws of this implementation. */
import {
  createDistillation,
  float32,
  int32,
  type Distillation,
  type DistillationDraws,
  type DistillationExtras,
  type DistillationOptions,
  type HostTensor,
  type HostTree,
  type PhaseDraws,
  type Teacher,
} from '@dimo/core';
import { maskTransformer } from '@dimo/teacher-maskgit';
import { below, loadJson, loadTensors, reshaped } from './fixtures.js';
import { officialScript, type OfficialScriptOptions } from './official-script.js';

interface OfficialOptions extends OfficialScriptOptions {
  label_smoothing: number;
  noise_emb_perturb: number;
  top_k: number;
  top_p: number;
  adam_beta1: number;
  adam_beta2: number;
  adam_epsilon: number;
  weight_decay: number;
  clip_generator_grad_norm: number | null;
  dm_loss_weight: number;
  ema_freq: number;
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
export function loadDimoStep(variant: string, extras: DistillationExtras = {}): DimoStepFixture {
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
      ...extras,
      ...(isDistinct ? { models: { generator: { weights: generator }, auxiliary: { weights: auxiliary } } } : {}),
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
    contract: 2,
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
  return {
    ...officialScript(options, {
      numSteps: steps,
      batchSize: batch,
      optimizer: {
        beta1: options.adam_beta1,
        beta2: options.adam_beta2,
        epsilon: options.adam_epsilon,
        weightDecay: options.weight_decay,
      },
      clipNorm: options.clip_generator_grad_norm ?? undefined,
    }),
    tokenInit: { maskRatio: options.fixed_ratio, embeddingNoise: options.noise_emb_perturb, noiseUnit: 'unit' },
    sampling: { temperature: options.gen_temp, topK: options.top_k, topP: options.top_p, reference: true },
    lossWeight: options.dm_loss_weight,
    labelSmoothing: options.label_smoothing,
    averageEvery: options.ema_freq,
  };
}
