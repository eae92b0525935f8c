/** A golden trace of the official Meissonic distillation as settings, weights and draws of this implementation. */
import {
  createDistillation,
  float32,
  type Distillation,
  type DistillationDraws,
  type DistillationOptions,
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
import { officialScript, type OfficialScriptOptions } from './official-script.js';

/** Options of the official script. */
export interface OfficialSettings extends OfficialScriptOptions {
  readonly noise_emb_perturb: string;
  readonly train_batch_size: number;
  readonly distil_neg_prompt: boolean;
  readonly mixed_precision: 'no' | 'fp16' | 'bf16';
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
    contract: 2,
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
  const [beta1, beta2] = settings.adam_betas;
  return {
    ...officialScript(settings, {
      numSteps: settings.max_train_steps,
      batchSize: settings.train_batch_size,
      optimizer: { beta1, beta2, epsilon: isHalf ? 1e-6 : 1e-8 },
      clipNorm: isHalf ? settings.max_grad_norm : undefined,
    }),
    tokenInit: {
      maskRatio: settings.fixed_ratio,
      embeddingNoise: noiseOf(settings.noise_emb_perturb),
      noiseUnit: 'unit',
    },
    sampling: { temperature: settings.gen_temp, method: 'exponential-race' },
    maskRatioRange: [0.02, 0.98],
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
