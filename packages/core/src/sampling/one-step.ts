/** One-step generation: random and masked tokens in, image tokens out, one forward pass, no guidance. */
import * as tf from '@tensorflow/tfjs-core';
import type { Scalar, Tensor2D, Tensor3D } from '@tensorflow/tfjs-core';
import { numRows, takeRows } from '../tensors/batches.js';
import { checkConditions } from '../model/check-conditions.js';
import { requireInteger } from '../options/check-options.js';
import { checkHostTree, checkSpecTree, checkValues } from '../engine/check-tensors.js';
import { checkTree } from '../tensors/check-tree.js';
import type { DeviceTree, Engine, PureFunction } from '../engine/engine.js';
import { OptionError } from '../errors.js';
import { forwardPass } from '../model/forward-pass.js';
import { conditionSpecs } from '../model/guidance.js';
import { type MaskedDiffusionModel } from '../model/model.js';
import { modelState, type ModelState } from '../model/model-state.js';
import { randomStream } from '../random/random.js';
import { resolveSampling, type ResolvedSampling, type SamplingOptions } from '../model/sampler-options.js';
import { checkTokenDraws, randomTokenDraws, sampleTokens, tokenDrawSpec } from './drawing-tokens.js';
import {
  float32,
  int32,
  scalar,
  sizeOf,
  subtree,
  withPrefix,
  type HostTensor,
  type HostTree,
  type SpecTree,
} from '../tensors/tensors.js';
import { timeInputs, timeSpecs } from '../model/time-conditioning.js';
import {
  checkInitialTokens,
  initialMaskRatio,
  initialTokens,
  resolveTokenInit,
  type InitialMaskRatio,
} from './token-init.js';
import { sequenceLength } from '../model/token-space.js';
import { checkKnownTokens, putBackKnownTokens } from './known-tokens.js';

/** Token initialization of a finished generator: numbers, no schedules. */
export interface GeneratorTokenInit {
  /** In [0, 1]; a range draws one ratio per sample. Keep the training ratio. */
  readonly maskRatio: InitialMaskRatio;
  /** Scale of the embedding perturbation, [0, 1]; 0 for none. */
  readonly embeddingNoise: number;
  /** Standard deviation of the noise that is scaled: 1, or the rms of the token embeddings it was trained with. */
  readonly noiseDeviation: number;
}

/** Random numbers of one batch. */
export interface OneStepDraws {
  /** int32 [batch, L], mask id included. */
  readonly initialTokens: HostTensor<'int32'>;
  /** float32 [batch, L, embeddingWidth], standard normal; needed if there is embedding noise. */
  readonly embeddingNoise?: HostTensor<'float32'>;
  /** As `tokenDrawSpec` says. */
  readonly tokenDraws: HostTensor<'float32'>;
  /** float32 [batch]: fraction of masked initial tokens. */
  readonly initialMaskRatio: HostTensor<'float32'>;
}

/** What `compileOneStep` needs. */
export interface CompileOneStepOptions {
  readonly batchSize: number;
  readonly tokenInit: GeneratorTokenInit;
  readonly sampling?: SamplingOptions;
  /** Where the weights are in the device tree. @default under the model's own names */
  readonly state?: ModelState;
}

/** A compiled generator for one batch size. */
export interface OneStepSampler {
  readonly batchSize: number;
  readonly model: MaskedDiffusionModel;
  readonly tokenInit: GeneratorTokenInit;
  readonly sampling: ResolvedSampling;
  /** Generates one batch: int32 [batch, L]; every id is below codebookSize unless `sampling.reference`. */
  sample(weights: DeviceTree, condition: HostTree, draws: OneStepDraws): Promise<HostTensor<'int32'>>;
  dispose(): Promise<void>;
}

/** One pass of a generator as a pure function: for engines, and for files that other programs run. */
export interface OneStepFunction {
  /** Output `tokens`, int32 [batch, L]. */
  readonly fn: PureFunction;
  /**
   * `condition/<name>`, `initialTokens`, `time/<name>`, `tokenDraws`, and with embedding noise `embeddingNoise` and the
   * scalar `embeddingNoiseScale`.
   */
  inputs(batchSize: number): SpecTree;
}

/**
 * One pass of a generator, from numbers that are drawn to tokens.
 *
 * @throws OptionError for a wrong token initialization or sampling option.
 */
export function oneStepFunction(
  model: MaskedDiffusionModel,
  { tokenInit, sampling: asked, state = modelState(model) }: Omit<CompileOneStepOptions, 'batchSize'>,
): OneStepFunction {
  const sampling = resolveSampling(asked);
  checkTokenInit(tokenInit);
  return {
    fn(stateTensors, given) {
      const normal = given['embeddingNoise'] as Tensor3D | undefined;
      const noise = normal && tf.mul<Tensor3D>(normal, tokenInit.noiseDeviation);
      const logits = forwardPass(model, state.weights(stateTensors), {
        tokens: given['initialTokens'] as Tensor2D,
        condition: subtree('condition', given),
        time: subtree('time', given),
        ...(noise ? { embeddingNoise: { noise, scale: given['embeddingNoiseScale'] as Scalar } } : {}),
      });
      return { outputs: { tokens: sampleTokens(logits, given['tokenDraws']!, model.tokenSpace, sampling) } };
    },
    inputs(batchSize) {
      const row = [batchSize, sequenceLength(model.tokenSpace)];
      const draws = tokenDrawSpec(model.tokenSpace, sampling);
      return {
        ...conditionSpecs(model, batchSize),
        initialTokens: { dtype: 'int32', shape: row },
        ...timeSpecs(model, batchSize),
        tokenDraws: { ...draws, shape: [batchSize, ...draws.shape] },
        ...(tokenInit.embeddingNoise > 0
          ? {
              embeddingNoise: { dtype: 'float32', shape: [...row, model.embeddingWidth] },
              embeddingNoiseScale: { dtype: 'float32', shape: [] },
            }
          : {}),
      };
    },
  };
}

/**
 * Compiles a generator.
 *
 * @throws OptionError for a wrong batch size, token initialization or sampling option.
 */
export async function compileOneStep(
  engine: Engine,
  model: MaskedDiffusionModel,
  options: CompileOneStepOptions,
): Promise<OneStepSampler> {
  const { batchSize, tokenInit, state = modelState(model) } = options;
  requireInteger(batchSize, 'one-step generator: batchSize');
  const sampling = resolveSampling(options.sampling);
  const oneStep = oneStepFunction(model, { tokenInit, sampling, state });
  const hasNoise = tokenInit.embeddingNoise > 0;
  const inputs = oneStep.inputs(batchSize);
  const compiled = await engine.compile(oneStep.fn, { state: state.specs, inputs });
  return {
    batchSize,
    model,
    tokenInit,
    sampling,
    async sample(weights, condition, draws) {
      checkConditions(where, model, condition, batchSize);
      checkDraws(draws, inputs, { model, sampling });
      const outputs = await compiled.run(weights, {
        ...withPrefix('condition', condition),
        initialTokens: draws.initialTokens,
        ...timeInputs(model, { maskRatio: draws.initialMaskRatio }),
        tokenDraws: draws.tokenDraws,
        ...(hasNoise && draws.embeddingNoise
          ? {
              embeddingNoise: draws.embeddingNoise,
              embeddingNoiseScale: scalar(tokenInit.embeddingNoise),
            }
          : {}),
      });
      return outputs['tokens'] as HostTensor<'int32'>;
    },
    dispose: () => compiled.dispose(),
  };
}

/** What messages begin with. */
const where = 'one-step generator';

/** Checks a token initialization that was given as numbers. @throws OptionError */
function checkTokenInit({ maskRatio, embeddingNoise, noiseDeviation }: GeneratorTokenInit): void {
  resolveTokenInit({ maskRatio, embeddingNoise }, `${where}: tokenInit`);
  if (!(noiseDeviation >= 0 && noiseDeviation < Infinity))
    throw new OptionError(`${where}: tokenInit.noiseDeviation must be a number >= 0, got ${String(noiseDeviation)}`);
}

/** Checks random numbers that were given: a wrong one would make a picture of nothing, without a word. */
function checkDraws(
  draws: OneStepDraws,
  specs: SpecTree,
  { model, sampling }: Pick<OneStepSampler, 'model' | 'sampling'>,
): void {
  const { initialTokens: tokens, tokenDraws, initialMaskRatio: ratios, embeddingNoise } = draws;
  const needed = { initialTokens: tokens, tokenDraws, ...(specs['embeddingNoise'] ? { embeddingNoise } : {}) };
  checkHostTree(`${where}: draws`, { ...needed, initialMaskRatio: ratios });
  for (const name of Object.keys(needed))
    checkTree(`${where}: draws`, { [name]: specs[name]! }, { [name]: needed[name as keyof typeof needed]! });
  checkTree(`${where}: draws`, { ratios: { dtype: 'float32', shape: [tokens.shape[0]!] } }, { ratios });
  checkInitialTokens(tokens, model.tokenSpace, where);
  checkTokenDraws(tokenDraws, sampling, where);
  checkValues(`${where}: initialMaskRatio`, ratios, { from: 0 });
  if (needed.embeddingNoise) checkValues(`${where}: embeddingNoise`, needed.embeddingNoise, {});
}

/**
 * Draws for samples `firstSample`, `firstSample + 1`, ... Each depends on the seed and its own index alone, so the batch
 * size changes nothing.
 */
export function randomOneStepDraws(
  seed: number,
  firstSample: number,
  {
    batchSize,
    model,
    tokenInit,
    sampling,
    knownTokens,
  }: Pick<OneStepSampler, 'batchSize' | 'model' | 'tokenInit'> & {
    readonly sampling: SamplingOptions;
    /** int32 [batch, L]: tokens of a given image in the place of random codes, the mask id for those. @default none */
    readonly knownTokens?: HostTensor<'int32'> | undefined;
  },
): OneStepDraws {
  const { tokenSpace, embeddingWidth } = model;
  const length = sequenceLength(tokenSpace);
  requireInteger(batchSize, `${where}: batchSize`);
  randomStream(seed, firstSample, 'one-step');
  if (knownTokens) checkKnownTokens(knownTokens, tokenSpace, batchSize, where);
  checkSpecTree(where, { embeddingNoise: { dtype: 'float32', shape: [batchSize, length, embeddingWidth] } });
  const tokens = new Int32Array(batchSize * length);
  const noise = tokenInit.embeddingNoise > 0 ? new Float32Array(batchSize * length * embeddingWidth) : undefined;
  const { shape: drawShape } = tokenDrawSpec(tokenSpace, sampling);
  const drawsPerSample = sizeOf(drawShape);
  const tokenDraws = new Float32Array(batchSize * drawsPerSample);
  const ratios = new Float32Array(batchSize);
  for (let b = 0; b < batchSize; b++) {
    const stream = randomStream(seed, firstSample + b, 'one-step');
    ratios[b] = initialMaskRatio(tokenInit.maskRatio, stream.fork('mask-ratio').uniform(1)[0]!);
    const codes = int32([1, length], stream.fork('codes').integers(length, tokenSpace.codebookSize));
    const known = knownTokens && int32([1, length], knownTokens.data.slice(b * length, (b + 1) * length));
    const initial = initialTokens(
      {
        codes: known ? putBackKnownTokens(codes, known, tokenSpace) : codes,
        maskUniforms: float32([1, length], stream.fork('mask').uniform(length)),
      },
      ratios[b]!,
      tokenSpace,
    );
    tokens.set(initial.data, b * length);
    noise?.set(stream.fork('embedding-noise').normal(length * embeddingWidth), b * length * embeddingWidth);
    tokenDraws.set(randomTokenDraws(stream.fork('tokens'), drawsPerSample, sampling), b * drawsPerSample);
  }
  return {
    initialTokens: int32([batchSize, length], tokens),
    initialMaskRatio: float32([batchSize], ratios),
    tokenDraws: float32([batchSize, ...drawShape], tokenDraws),
    ...(noise ? { embeddingNoise: float32([batchSize, length, embeddingWidth], noise) } : {}),
  };
}

/** What `sampleOneStep` needs. */
export interface OneStepSamples {
  readonly weights: DeviceTree;
  readonly condition: HostTree;
  readonly seed: number;
  /** Index of the first sample, to draw a long series in parts. @default 0 */
  readonly firstSample?: number;
}

/** Generates any number of conditions in batches; sample i depends on seed and i alone. */
export async function sampleOneStep(sampler: OneStepSampler, request: OneStepSamples): Promise<HostTensor<'int32'>> {
  const { weights, condition, seed, firstSample = 0 } = request;
  const { batchSize, model } = sampler;
  checkHostTree(`${where}: condition`, condition);
  const total = numRows(condition);
  const length = sequenceLength(model.tokenSpace);
  const tokens = new Int32Array(total * length);
  let draws = randomOneStepDraws(seed, firstSample, sampler);
  for (let first = 0; first < total; first += batchSize) {
    const pending = sampler.sample(weights, takeRows(condition, first, batchSize), draws);
    // The next batch's numbers are made while the device works.
    if (first + batchSize < total) draws = randomOneStepDraws(seed, firstSample + first + batchSize, sampler);
    const batch = await pending;
    const used = Math.min(batchSize, total - first);
    tokens.set(batch.data.subarray(0, used * length), first * length);
  }
  return int32([total, length], tokens);
}
