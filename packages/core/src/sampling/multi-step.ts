/** Runs a multi-step sampler on an engine: its passes on the device, its decisions on the host. */
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor, Tensor1D, Tensor2D, Tensor3D } from '@tensorflow/tfjs-core';
import { numRows, takeRows } from '../tensors/batches.js';
import { checkConditions } from '../model/check-conditions.js';
import { requireInteger } from '../options/check-options.js';
import { checkHostTree, checkValues } from '../engine/check-tensors.js';
import type { CompiledFunction, DeviceTree, Engine, PureFunction } from '../engine/engine.js';
import { DimoError, OptionError } from '../errors.js';
import { conditionSpecs, guidedLogits, withBatchAxis } from '../model/guidance.js';
import type { MaskedDiffusionModel, TeacherDefinition } from '../model/model.js';
import { modelState, type ModelState } from '../model/model-state.js';
import type { SamplerSettings, SamplingOptions } from '../model/sampler-options.js';
import { checkTokenDraws, drawTokens, samplingLogits, tokenDrawSpec } from './drawing-tokens.js';
import { samplingPlan } from './plan.js';
import { resolveSampler, type ResolvedSampler, type SamplerRegistry } from './resolve-sampler.js';
import { randomMultiStepDraws, samplerRandom, type SamplerDraws } from './sampler-random.js';
import type { Pass, PassRequest, PassStatistic } from './sampler.js';
import {
  float32,
  int32,
  subtree,
  withPrefix,
  type HostTensor,
  type HostTree,
  type SpecTree,
} from '../tensors/tensors.js';
import { timeInputs, timeSpecs } from '../model/time-conditioning.js';
import { sequenceLength } from '../model/token-space.js';

/** One batch to sample. */
export interface MultiStepRequest {
  /** Conditions, every tensor with the leading axis batchSize. */
  readonly condition: HostTree;
  /**
   * What guidance leads away from, every tensor with the leading axis batchSize: a negative prompt for each sample.
   * @default the teacher's null condition
   */
  readonly nullCondition?: HostTree | undefined;
  /** Numbers to use; see `randomMultiStepDraws`. */
  readonly draws: SamplerDraws;
  /**
   * int32 [batch, L]: tokens that are known and stay, the mask id where they are wanted; to complete a given image.
   * @default all are wanted
   */
  readonly knownTokens?: HostTensor<'int32'> | undefined;
  /** Called after each step with a copy of the tokens, masked ones included, and awaited. What it throws ends the sampling. */
  readonly onStep?: (progress: { readonly step: number; readonly tokens: HostTensor<'int32'> }) => unknown;
  /** Called at the end with the forward passes that each sample took, [batch]. */
  readonly onPasses?: (passes: readonly number[]) => void;
}

/** A compiled sampler for one batch size. */
export interface MultiStepSampler extends ResolvedSampler {
  readonly batchSize: number;
  /** Most forward passes of a sample. */
  readonly maximumPasses: number;
  /** Samples one batch: int32 [batch, L], every id below codebookSize. */
  sample(weights: DeviceTree, request: MultiStepRequest): Promise<HostTensor<'int32'>>;
  dispose(): Promise<void>;
}

/** What `compileMultiStep` needs. */
export interface CompileMultiStepOptions {
  readonly batchSize: number;
  /** Sampler and options that go before the teacher's own; see `resolveSampler`. */
  readonly sampler?: SamplerSettings | undefined;
  /** Samplers by name. @default those of core */
  readonly samplers?: SamplerRegistry | undefined;
  /** Where the weights are in the device tree. @default under the model's own names */
  readonly state?: ModelState;
}

/**
 * Compiles the sampler of a teacher.
 *
 * @throws OptionError for an unknown sampler or a wrong option.
 */
export async function compileMultiStep(
  engine: Engine,
  teacher: Pick<TeacherDefinition, 'model' | 'nullCondition' | 'sampler'>,
  { batchSize, sampler: asked, samplers, state = modelState(teacher.model) }: CompileMultiStepOptions,
): Promise<MultiStepSampler> {
  const { model } = teacher;
  const resolved = resolveSampler(asked, teacher.sampler, samplers);
  requireInteger(batchSize, 'sampler: batchSize');
  const { sampler, options, sampling } = resolved;
  const length = sequenceLength(model.tokenSpace);
  const inputs = passInputs(model, batchSize, sampling);
  const guidedInputs: SpecTree = {
    ...inputs,
    ...conditionSpecs(model, batchSize, 'nullCondition'),
    guidanceScale: { dtype: 'float32', shape: [batchSize] },
  };
  const compiled = new Map<string, Promise<CompiledFunction>>();
  let isDisposed = false;

  /** Passes whose scale is 1 run the conditional pass alone. */
  function functionFor(isGuided: boolean, statistics: readonly PassStatistic[]): Promise<CompiledFunction> {
    if (isDisposed) throw new OptionError('sampler: it has been disposed; compile another one');
    const key = [isGuided, ...statistics].join();
    const known =
      compiled.get(key) ??
      engine.compile(passFunction({ model, state, sampling, isGuided, statistics }), {
        state: state.specs,
        inputs: isGuided ? guidedInputs : inputs,
      });
    compiled.set(key, known);
    return known;
  }

  return {
    ...resolved,
    batchSize,
    maximumPasses: sampler.maximumPasses(options, length),
    async sample(weights, { condition, draws, onStep, onPasses, ...request }) {
      checkConditions('sampler: condition', model, condition, batchSize);
      if (request.nullCondition) checkConditions('sampler: nullCondition', model, request.nullCondition, batchSize);
      const nullCondition = request.nullCondition ?? takeRows(withBatchAxis(teacher.nullCondition), 0, batchSize);
      const plan = samplingPlan(model.tokenSpace, batchSize, request.knownTokens);
      const passes = new Array<number>(batchSize).fill(0);
      let pass = 0;
      async function denoise({ guidanceScale = 1, stepsLeft, statistics = [] }: PassRequest = {}): Promise<Pass> {
        const isGuided = guidanceScale !== 1;
        for (let b = 0; b < batchSize; b++) if (plan.maskedIn(b).length > 0) passes[b]!++;
        const fn = await functionFor(isGuided, statistics);
        const tokenDraws = float32(inputs['tokenDraws']!.shape, draws.tokenDraws(pass++));
        checkTokenDraws(tokenDraws, sampling, 'sampler');
        const outputs = await fn.run(weights, {
          ...withPrefix('condition', condition),
          tokens: plan.snapshot(),
          ...timeInputs(model, { maskRatio: plan.maskRatio(), ...(stepsLeft === undefined ? {} : { stepsLeft }) }),
          tokenDraws,
          ...(isGuided ? withPrefix('nullCondition', nullCondition) : {}),
          ...(isGuided ? { guidanceScale: float32([batchSize], new Float32Array(batchSize).fill(guidanceScale)) } : {}),
        });
        checkValues('sampler: logits (are all weights finite?)', outputs['logSumExp']!);
        for (const name of statistics) checkValues(`sampler: ${name} (are all weights finite?)`, outputs[name]!);
        return passResult(outputs);
      }

      let step = 0;
      const random = samplerRandom(draws, batchSize, length);
      for await (const _ of sampler.run({ options, plan, denoise, random }))
        await onStep?.({ step: step++, tokens: plan.snapshot() });
      // The original's schedule may leave some, which it clamps as below.
      if (plan.isOpen() && !sampling.reference)
        throw new DimoError('internal', `sampler "${sampler.name}" ended with ${plan.masked().length} masked tokens`);
      onPasses?.(passes);
      // The original can draw the mask token, which the decoder does not know, and clamps.
      const largest = model.tokenSpace.codebookSize - 1;
      return int32(
        [batchSize, length],
        plan.tokens.map((token) => Math.min(token, largest)),
      );
    },
    async dispose() {
      isDisposed = true;
      // What failed to compile was reported by `sample`.
      for (const fn of compiled.values()) await (await fn.catch(() => undefined))?.dispose();
    },
  };
}

/** Any number of samples. */
export interface MultiStepSamples extends Pick<MultiStepRequest, 'condition' | 'onPasses'> {
  readonly weights: DeviceTree;
  /** What guidance leads away from; leading axis of the conditions, or 1 for all samples. @default the teacher's */
  readonly nullCondition?: HostTree | undefined;
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
  const { weights, condition, nullCondition, seed, firstSample = 0, onPasses } = request;
  checkHostTree('sampler: condition', condition);
  if (nullCondition) checkHostTree('sampler: nullCondition', nullCondition);
  const total = numRows(condition);
  const length = sequenceLength(model.tokenSpace);
  const tokens = new Int32Array(total * length);
  const passes = new Array<number>(total).fill(0);
  let next = 0;
  let hasFailed = false;
  /** Samples batches until none is left. */
  async function lane(): Promise<void> {
    while (next < total && !hasFailed) {
      const first = next;
      next += sampler.batchSize;
      const used = Math.min(sampler.batchSize, total - first);
      const batch = await sampler.sample(weights, {
        condition: takeRows(condition, first, sampler.batchSize),
        draws: randomMultiStepDraws(seed, firstSample + first, {
          batchSize: sampler.batchSize,
          tokenSpace: model.tokenSpace,
          sampling: sampler.sampling,
        }),
        ...(nullCondition ? { nullCondition: takeRows(nullCondition, first, sampler.batchSize) } : {}),
        onPasses: (counts) => passes.splice(first, used, ...counts.slice(0, used)),
      });
      tokens.set(batch.data.subarray(0, used * length), first * length);
    }
  }
  // While the device works for one batch, the host decides for the other.
  const fail = (error: unknown): never => {
    hasFailed = true;
    throw error;
  };
  const lanes = await Promise.allSettled([lane().catch(fail), lane().catch(fail)]);
  for (const result of lanes) if (result.status === 'rejected') throw result.reason;
  onPasses?.(passes);
  return int32([total, length], tokens);
}

function passInputs(model: MaskedDiffusionModel, batchSize: number, sampling: SamplingOptions): SpecTree {
  const draws = tokenDrawSpec(model.tokenSpace, sampling);
  return {
    ...conditionSpecs(model, batchSize),
    tokens: { dtype: 'int32', shape: [batchSize, sequenceLength(model.tokenSpace)] },
    ...timeSpecs(model, batchSize),
    tokenDraws: { ...draws, shape: [batchSize, ...draws.shape] },
  };
}

/** Statistics from the logits that tokens are drawn from, [batch, L, K], and the tokens. */
const statisticsOf: Record<PassStatistic, (logits: Tensor3D, tokens: Tensor2D) => Tensor> = {
  logProbabilities(logits, tokens) {
    const chosen = tf.cast(tf.oneHot(tokens, logits.shape[2]), 'float32');
    return tf.sum(tf.mul(tf.logSoftmax(logits, -1), chosen), 2);
  },
  entropies: (logits) => tf.neg(tf.sum(tf.mul(tf.softmax(logits, -1), tf.logSoftmax(logits, -1)), 2)),
  largestProbabilities: (logits) => tf.max(tf.softmax(logits, -1), 2),
  probabilities: (logits) => tf.softmax(logits, -1),
};

/** Statistics of the guided model itself; the others are of what tokens are drawn from. */
const ofModel: ReadonlySet<PassStatistic> = new Set(['entropies', 'largestProbabilities']);

/** One pass: drawn tokens, and the statistics that were asked for. */
function passFunction(of: {
  readonly model: MaskedDiffusionModel;
  readonly state: ModelState;
  readonly sampling: SamplingOptions;
  readonly isGuided: boolean;
  readonly statistics: readonly PassStatistic[];
}): PureFunction {
  const { model, state, sampling, isGuided, statistics } = of;
  return (stateTensors, inputs) => {
    const modelInputs = {
      tokens: inputs['tokens'] as Tensor2D,
      condition: subtree('condition', inputs),
      time: subtree('time', inputs),
    };
    const guidance = isGuided
      ? { nullCondition: subtree('nullCondition', inputs), scale: inputs['guidanceScale'] as Tensor1D }
      : undefined;
    const guided = guidedLogits(model, state.weights(stateTensors), modelInputs, guidance);
    // Filters and drawing turn logits that are no numbers into tokens like any other, so they are checked before.
    const unfiltered = samplingLogits(guided, model.tokenSpace, { ...sampling, temperature: 1, topK: 0, topP: 0 });
    const logits = samplingLogits(guided, model.tokenSpace, sampling);
    const tokens = drawTokens(logits, inputs['tokenDraws']!, sampling);
    return {
      outputs: {
        tokens,
        logSumExp: tf.logSumExp(unfiltered, 2),
        ...Object.fromEntries(
          // How sure the model is does not depend on how tokens are drawn.
          statistics.map((name) => [name, statisticsOf[name](ofModel.has(name) ? unfiltered : logits, tokens)]),
        ),
      },
    };
  };
}

function passResult(outputs: HostTree): Pass {
  const statistic = (name: PassStatistic): Float32Array => {
    const tensor = outputs[name];
    if (!tensor) throw new DimoError('internal', `sampler: the pass was not asked for ${name}`);
    return tensor.data as Float32Array;
  };
  return {
    tokens: outputs['tokens']!.data as Int32Array,
    get logProbabilities() {
      return statistic('logProbabilities');
    },
    get entropies() {
      return statistic('entropies');
    },
    get largestProbabilities() {
      return statistic('largestProbabilities');
    },
    get probabilities() {
      return statistic('probabilities');
    },
  };
}
