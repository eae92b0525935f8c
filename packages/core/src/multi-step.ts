/**
 * The teacher's own sampler: MaskGIT's confidence decoding (Chang et al., arXiv 2202.04200) with a guidance ramp and
 * Gumbel noise on the confidences, as in Halton-MaskGIT. The device draws tokens; the host, in float64, decides which
 * of them stay.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor1D, Tensor2D } from '@tensorflow/tfjs-core';
import { numRows, takeRows } from './batches.js';
import { checkConditions } from './check-conditions.js';
import { requireInteger, sizeLimits } from './check-options.js';
import { checkHostTree, checkValues } from './check-tensors.js';
import { checkTree } from './check-tree.js';
import type { CompiledFunction, DeviceTree, Engine, PureFunction } from './engine.js';
import { OptionError } from './errors.js';
import { conditionSpecs, guidedLogits, withBatchAxis } from './guidance.js';
import { sequenceLength, type MaskedDiffusionModel, type TeacherDefinition, type TokenSpace } from './model.js';
import { modelState, type ModelState } from './model-state.js';
import { randomMultiStepDraws, selectConfident, type MultiStepDraws } from './multi-step-host.js';
import {
  checkSampling,
  checkTokenDraws,
  drawTokens,
  samplingLogits,
  tokenDrawSpec,
  type SamplingOptions,
} from './sampling.js';
import { tokensPerStep, type UnmaskingSchedule } from './schedule.js';
import { float32, int32, subtree, withPrefix, type HostTensor, type HostTree, type SpecTree } from './tensors.js';
import { timeInputs, timeSpecs } from './time-conditioning.js';
import { checkInitialTokens } from './token-init.js';

/** Settings of the multi-step sampler. */
export interface MultiStepOptions extends SamplingOptions {
  /** T, number of forward passes, >= 1. @default 16 */
  readonly numSteps?: number;
  /** How many tokens each step decides. @default 'arccos' */
  readonly schedule?: UnmaskingSchedule;
  /** Guidance scale of the last step; 1 = off. @default 1 */
  readonly guidanceScale?: number;
  /** `linear`: from 1 at the first step to `guidanceScale` at the last. `constant`: always. @default 'linear' */
  readonly guidanceRamp?: 'linear' | 'constant';
  /**
   * `linear`: log-probability of the drawn token plus Gumbel noise times the choice temperature of the step.
   * `warm-up`: uniformly random in the first two steps, then the probability. `random`: always uniformly random.
   * @default 'linear'
   */
  readonly confidence?: 'linear' | 'warm-up' | 'random';
  /** Gumbel noise on the confidences at the first step, >= 0. @default 4.5 */
  readonly choiceTemperature?: number;
  /** The same at the last step, >= 0; linear in between. @default 0 */
  readonly finalChoiceTemperature?: number;
}

/** `MultiStepOptions` with defaults filled in. */
export type ResolvedMultiStepOptions = Required<MultiStepOptions>;

/** Fills in defaults. @throws OptionError for a value out of its range. */
export function resolveMultiStep(options: MultiStepOptions = {}, where = 'sampler'): ResolvedMultiStepOptions {
  const resolved: ResolvedMultiStepOptions = {
    numSteps: options.numSteps ?? 16,
    schedule: options.schedule ?? 'arccos',
    guidanceScale: options.guidanceScale ?? 1,
    guidanceRamp: options.guidanceRamp ?? 'linear',
    confidence: options.confidence ?? 'linear',
    choiceTemperature: options.choiceTemperature ?? 4.5,
    finalChoiceTemperature: options.finalChoiceTemperature ?? 0,
    temperature: options.temperature ?? 1,
    topK: options.topK ?? 0,
    topP: options.topP ?? 0,
    method: options.method ?? 'inverse-cdf',
    reference: options.reference ?? false,
  };
  checkSampling(resolved, where);
  requireInteger(resolved.numSteps, `${where}.numSteps`, 1, undefined, sizeLimits.samplerSteps);
  tokensPerStep(resolved.schedule, resolved.numSteps, 1);
  const { guidanceScale, guidanceRamp, confidence, choiceTemperature, finalChoiceTemperature } = resolved;
  if (!Number.isFinite(guidanceScale))
    throw new OptionError(`${where}.guidanceScale must be a finite number, got ${guidanceScale}`);
  if (guidanceRamp !== 'linear' && guidanceRamp !== 'constant')
    throw new OptionError(`${where}.guidanceRamp must be "linear" or "constant", got ${String(guidanceRamp)}`);
  if (confidence !== 'linear' && confidence !== 'warm-up' && confidence !== 'random')
    throw new OptionError(`${where}.confidence must be "linear", "warm-up" or "random", got ${String(confidence)}`);
  for (const [name, value] of Object.entries({ choiceTemperature, finalChoiceTemperature }))
    if (!(value >= 0 && value < Infinity))
      throw new OptionError(`${where}.${name} must be a number >= 0, got ${value}`);
  return resolved;
}

/** Guidance scale of step i of T; a single step uses the full scale. */
export function guidanceScaleAt(options: ResolvedMultiStepOptions, i: number): number {
  const { guidanceScale, guidanceRamp, numSteps } = options;
  if (guidanceRamp === 'constant' || numSteps === 1) return guidanceScale;
  return 1 + (guidanceScale - 1) * (i / (numSteps - 1));
}

/** One batch to sample. */
export interface MultiStepRequest {
  /** Conditions, every tensor with the leading axis batchSize. */
  readonly condition: HostTree;
  /**
   * What guidance leads away from, every tensor with the leading axis batchSize: a negative prompt for each sample.
   * @default the teacher's null condition
   */
  readonly nullCondition?: HostTree;
  /** Numbers to use; see `randomMultiStepDraws`. */
  readonly draws: MultiStepDraws;
  /** int32 [batch, L] with the mask id where tokens are wanted, to complete a given image. @default all masked */
  readonly initialTokens?: HostTensor<'int32'>;
  /** Called after each step with a copy of the tokens, masked ones included, and awaited. What it throws ends the sampling. */
  readonly onStep?: (progress: { readonly step: number; readonly tokens: HostTensor<'int32'> }) => unknown;
}

/** A compiled sampler for one batch size. */
export interface MultiStepSampler {
  readonly batchSize: number;
  readonly options: ResolvedMultiStepOptions;
  /** Samples one batch: int32 [batch, L], every id below codebookSize. */
  sample(weights: DeviceTree, request: MultiStepRequest): Promise<HostTensor<'int32'>>;
  dispose(): Promise<void>;
}

/** What `compileMultiStep` needs. */
export interface CompileMultiStepOptions extends MultiStepOptions {
  readonly batchSize: number;
  /** Where the weights are in the device tree. @default under the model's own names */
  readonly state?: ModelState;
}

/** Compiles the sampler of a teacher. */
export async function compileMultiStep(
  engine: Engine,
  teacher: Pick<TeacherDefinition, 'model' | 'nullCondition'>,
  options: CompileMultiStepOptions,
): Promise<MultiStepSampler> {
  const { batchSize, state = modelState(teacher.model) } = options;
  const resolved = resolveMultiStep(options);
  requireInteger(batchSize, 'sampler: batchSize');
  const { model } = teacher;
  const inputs = multiStepInputs(model, batchSize, resolved);
  const guidedInputs = {
    ...inputs,
    ...conditionSpecs(model, batchSize, 'nullCondition'),
    guidanceScale: { dtype: 'float32', shape: [batchSize] },
  } as const;
  const compiled: { plain?: Promise<CompiledFunction>; guided?: Promise<CompiledFunction> } = {};

  let isDisposed = false;

  /** Steps whose scale is 1 run the conditional pass alone. */
  function functionFor(scale: number): Promise<CompiledFunction> {
    if (isDisposed) throw new OptionError('sampler: it has been disposed; compile another one');
    const fn = multiStepFunction(model, state, resolved, scale !== 1);
    if (scale === 1) return (compiled.plain ??= engine.compile(fn, { state: state.specs, inputs }));
    return (compiled.guided ??= engine.compile(fn, { state: state.specs, inputs: guidedInputs }));
  }

  return {
    batchSize,
    options: resolved,
    async sample(weights, request) {
      const { condition, draws, onStep } = request;
      checkConditions('sampler: condition', model, condition, batchSize);
      if (request.nullCondition) checkConditions('sampler: nullCondition', model, request.nullCondition, batchSize);
      const nullCondition = request.nullCondition ?? takeRows(withBatchAxis(teacher.nullCondition), 0, batchSize);
      const plan = createPlan(model.tokenSpace, batchSize, request.initialTokens);
      const counts = tokensPerStep(resolved.schedule, resolved.numSteps, sequenceLength(model.tokenSpace));
      for (let step = 0; step < resolved.numSteps && plan.isMasked.includes(1); step++) {
        const scale = guidanceScaleAt(resolved, step);
        const fn = await functionFor(scale);
        const tokenDraws = float32(inputs['tokenDraws']!.shape, draws.tokenDraws(step));
        checkTokenDraws(tokenDraws, resolved, 'sampler');
        const result = await fn.run(weights, {
          ...withPrefix('condition', condition),
          tokens: int32([batchSize, plan.length], plan.tokens.slice()),
          ...timeInputs(model, { maskRatio: plan.maskRatio(), stepsLeft: resolved.numSteps - 1 - step }),
          tokenDraws,
          ...(scale === 1 ? {} : withPrefix('nullCondition', nullCondition)),
          ...(scale === 1 ? {} : { guidanceScale: float32([batchSize], new Float32Array(batchSize).fill(scale)) }),
        });
        checkValues(
          'sampler: log-probabilities of the drawn tokens (are all weights finite?)',
          result['logProbabilities']!,
        );
        selectConfident(plan, {
          step,
          count: counts[step]!,
          drawnTokens: result['tokens']!.data as Int32Array,
          logProbabilities: result['logProbabilities']!.data as Float32Array,
          draws,
          options: resolved,
        });
        await onStep?.({ step, tokens: int32([batchSize, plan.length], plan.tokens.slice()) });
      }
      // The original can draw the mask token, which the decoder does not know, and clamps.
      const largest = model.tokenSpace.codebookSize - 1;
      return int32(
        [batchSize, plan.length],
        plan.tokens.map((token) => Math.min(token, largest)),
      );
    },
    async dispose() {
      isDisposed = true;
      // What failed to compile was reported by `sample`.
      for (const fn of [compiled.plain, compiled.guided]) await (await fn?.catch(() => undefined))?.dispose();
    },
  };
}

/** Any number of samples. */
export interface MultiStepSamples extends Pick<MultiStepRequest, 'condition'> {
  readonly weights: DeviceTree;
  /** What guidance leads away from; leading axis of the conditions, or 1 for all samples. @default the teacher's */
  readonly nullCondition?: HostTree;
  readonly seed: number;
  /** Index of the first sample, to draw a long series in parts. @default 0 */
  readonly firstSample?: number;
}

/** Samples any number of conditions in batches; sample i depends on seed and i alone. */
export async function sampleMultiStep(
  sampler: MultiStepSampler,
  model: MaskedDiffusionModel,
  request: MultiStepSamples,
): Promise<HostTensor<'int32'>> {
  const { weights, condition, nullCondition, seed, firstSample = 0 } = request;
  checkHostTree('sampler: condition', condition);
  if (nullCondition) checkHostTree('sampler: nullCondition', nullCondition);
  const total = numRows(condition);
  const length = sequenceLength(model.tokenSpace);
  const tokens = new Int32Array(total * length);
  let next = 0;
  /** Samples batches until none is left. */
  async function lane(): Promise<void> {
    while (next < total) {
      const first = next;
      next += sampler.batchSize;
      const batch = await sampler.sample(weights, {
        condition: takeRows(condition, first, sampler.batchSize),
        draws: randomMultiStepDraws(seed, firstSample + first, {
          batchSize: sampler.batchSize,
          tokenSpace: model.tokenSpace,
          sampling: sampler.options,
        }),
        ...(nullCondition ? { nullCondition: takeRows(nullCondition, first, sampler.batchSize) } : {}),
      });
      const used = Math.min(sampler.batchSize, total - first);
      tokens.set(batch.data.subarray(0, used * length), first * length);
    }
  }
  // While the device works for one batch, the host decides for the other.
  await Promise.all([lane(), lane()]);
  return int32([total, length], tokens);
}

function multiStepInputs(model: MaskedDiffusionModel, batchSize: number, sampling: SamplingOptions): SpecTree {
  const draws = tokenDrawSpec(model.tokenSpace, sampling);
  return {
    ...conditionSpecs(model, batchSize),
    tokens: { dtype: 'int32', shape: [batchSize, sequenceLength(model.tokenSpace)] },
    ...timeSpecs(model, batchSize),
    tokenDraws: { ...draws, shape: [batchSize, ...draws.shape] },
  };
}

/** One pass of the sampler: drawn tokens, and the log-probability of each. */
function multiStepFunction(
  model: MaskedDiffusionModel,
  state: ModelState,
  options: ResolvedMultiStepOptions,
  guided: boolean,
): PureFunction {
  return (stateTensors, inputs) => {
    const modelInputs = {
      tokens: inputs['tokens'] as Tensor2D,
      condition: subtree('condition', inputs),
      time: subtree('time', inputs),
    };
    const guidance = guided
      ? { nullCondition: subtree('nullCondition', inputs), scale: inputs['guidanceScale'] as Tensor1D }
      : undefined;
    const logits = guidedLogits(model, state.weights(stateTensors), modelInputs, guidance);
    const drawn = samplingLogits(logits, model.tokenSpace, options);
    const tokens = drawTokens(drawn, inputs['tokenDraws']!, options);
    const chosen = tf.cast(tf.oneHot(tokens, drawn.shape[2]), 'float32');
    const logProbabilities = tf.sum(tf.mul(tf.logSoftmax(drawn, -1), chosen), 2);
    return { outputs: { tokens, logProbabilities } };
  };
}

/** Tokens and mask of a batch while it is being sampled. */
export interface MultiStepPlan {
  readonly length: number;
  /** [batch * L]. */
  readonly tokens: Int32Array;
  /** [batch * L], 1 where a token is still wanted. */
  readonly isMasked: Uint8Array;
  /** Fraction of masked positions, float32 [batch]. */
  maskRatio(): HostTensor<'float32'>;
}

function createPlan(space: TokenSpace, batchSize: number, given?: HostTensor<'int32'>): MultiStepPlan {
  const length = sequenceLength(space);
  if (given) {
    checkHostTree('sampler', { initialTokens: given });
    const specs = { initialTokens: { dtype: 'int32', shape: [batchSize, length] } } as const;
    checkTree('sampler', specs, { initialTokens: given });
    checkInitialTokens(given, space, 'sampler');
  }
  const tokens = given ? given.data.slice() : new Int32Array(batchSize * length).fill(space.maskTokenId);
  const isMasked = Uint8Array.from(tokens, (token) => (token === space.maskTokenId ? 1 : 0));
  return {
    length,
    tokens,
    isMasked,
    maskRatio() {
      const ratios = new Float32Array(batchSize);
      for (let b = 0; b < batchSize; b++)
        ratios[b] = isMasked.subarray(b * length, (b + 1) * length).reduce((sum, masked) => sum + masked, 0) / length;
      return float32([batchSize], ratios);
    },
  };
}
