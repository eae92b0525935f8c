/** What an evaluation compares: a teacher at several numbers of steps, generators at one, and the real images. */
import {
  asTeacher,
  float32,
  numRows,
  OptionError,
  readImages,
  readPixels,
  resolveSampler,
  sequenceLength,
  type Dataset,
  type Engine,
  type HostTensor,
  type HostTree,
  type LoadedGenerator,
  type PluginRegistry,
  type SamplerSettings,
  type Teacher,
  type TeacherDefinition,
} from '@dimo/core';
import { encodeImages } from '@dimo/tokenizers';
import type { DimoConfig } from '../config/schema.js';
import { generatorSettings } from '../models/sampler-asked.js';
import { openDecoder, residentModel, samplingOf, type ModelParts, type NetworkSettings } from '@dimo/pipeline';

/** Draws samples; sample i depends on the seed and i alone. */
export interface Sampler {
  /** Mean number of forward passes of the last samples. */
  meanPasses?(): number;
  /** Tokens int32 [count, L]. @param first - index of the first sample. @default 0 */
  tokens(condition: HostTree, seed: number, first?: number): Promise<HostTensor<'int32'>>;
  /** Images float32 [count, H, W, C] in [0, 1]; absent if the tokens are the product. */
  readonly images?: (tokens: HostTensor<'int32'>) => Promise<HostTensor<'float32'>>;
  dispose(): Promise<void>;
}

/** One row of the tables. */
export interface EvaluationMethod {
  readonly name: string;
  /** Passes per sample; absent for real images. */
  readonly steps?: number;
  open(): Promise<Sampler>;
}

/** What the methods are made from. */
export interface MethodContext {
  readonly engine: Engine;
  readonly config: DimoConfig;
}

/** A teacher at each number of steps; once, where its sampler takes as many passes as it needs. */
export function teacherMethods(
  teacher: Teacher,
  { engine, config, registry }: MethodContext & { readonly registry: Pick<PluginRegistry, 'samplers'> },
): EvaluationMethod[] {
  const { batchSize, teacherSteps } = config.eval;
  const { samplers } = registry;
  const { sampler, options } = resolveSampler(config.sampler, teacher.sampler, samplers);
  const method = (steps: number, asked: SamplerSettings): EvaluationMethod => ({
    name: config.sampler['name'] === undefined ? 'teacher' : `teacher, ${sampler.name}`,
    steps,
    open: () =>
      modelSampler(engine, { teacher }, { batchSize, samplers, network: { kind: 'teacher', sampler: asked } }),
  });
  if ('numSteps' in options) return teacherSteps.map((numSteps) => method(numSteps, { ...config.sampler, numSteps }));
  return [method(sampler.maximumPasses(options, sequenceLength(teacher.model.tokenSpace)), config.sampler)];
}

/** A generator; its name is shown if there are several. */
export function generatorMethod(
  generator: LoadedGenerator,
  shownName: string | undefined,
  { engine, config, registry }: MethodContext & { readonly registry: Pick<PluginRegistry, 'samplers'> },
): EvaluationMethod {
  const { batchSize } = config.eval;
  if (generator.description.sampler) {
    const { samplers } = registry;
    const teacher = asTeacher(generator);
    const { temperature, embeddingNoise, topK, topP } = config.sample;
    if (embeddingNoise !== undefined)
      throw new OptionError('sample.embeddingNoise has no effect on a generator of several passes', {
        hint: 'leave it out',
      });
    // 0 is the default of both and means all ids: then what the generator says holds.
    const asked = {
      ...(temperature === undefined ? {} : { temperature }),
      ...(topK === 0 ? {} : { topK }),
      ...(topP === 0 ? {} : { topP }),
    };
    const { sampler, options } = resolveSampler(asked, teacher.sampler, samplers);
    return {
      name: shownName === undefined ? 'generator' : `generator ${shownName}`,
      steps: sampler.maximumPasses(options, sequenceLength(teacher.model.tokenSpace)),
      open: () =>
        modelSampler(engine, { teacher }, { batchSize, samplers, network: { kind: 'teacher', sampler: asked } }),
    };
  }
  const { sampling, tokenInit } = samplingOf(generator, config.sample);
  return {
    name: [
      shownName === undefined ? 'generator' : `generator ${shownName}`,
      ...(sampling.temperature === 1 ? [] : [`temperature ${sampling.temperature}`]),
      ...(config.sample.embeddingNoise === undefined ? [] : [`embedding noise ${tokenInit.embeddingNoise}`]),
    ].join(', '),
    steps: 1,
    open: () =>
      modelSampler(
        engine,
        { generator },
        { batchSize, network: { kind: 'generator', ...generatorSettings(config.sample) } },
      ),
  };
}

/**
 * The training images that the prompts describe, as they are and after the tokenizer: what the best teacher could reach.
 *
 * @param images - indices of the images.
 */
export function realMethods(
  definition: Pick<TeacherDefinition, 'decoder'>,
  decoderWeights: HostTree | undefined,
  { dataset, images }: { readonly dataset: Dataset; readonly images: readonly number[] },
  { engine, config }: MethodContext,
): EvaluationMethod[] {
  const { decoder } = definition;
  const real = () => readImages(dataset.imageShape, dataset.train, images);
  const noTokens: HostTensor<'int32'> = { dtype: 'int32', shape: [images.length, 0], data: new Int32Array() };
  const plain: EvaluationMethod = {
    name: 'training images',
    open: () =>
      Promise.resolve({
        tokens: () => Promise.resolve(noTokens),
        images: real,
        dispose: () => Promise.resolve(),
      }),
  };
  if (!decoder?.encode || !decoderWeights) return [plain];
  return [
    plain,
    {
      name: 'training images as tokens',
      async open() {
        const open = await openDecoder(engine, { decoder }, decoderWeights, config.eval);
        const pixels = await readPixels(dataset.imageShape, dataset.train, images);
        return {
          tokens: () =>
            encodeImages(engine, { decoder, weights: decoderWeights, images: { count: images.length, pixels } }),
          images: (tokens) => open!.images(tokens),
          dispose: () => open!.dispose(),
        };
      },
    },
  ];
}

interface ModelSamplerOptions {
  readonly network: NetworkSettings;
  readonly batchSize: number;
  readonly samplers?: PluginRegistry['samplers'];
}

function modelSampler(
  engine: Engine,
  parts: ModelParts,
  { network, batchSize, samplers }: ModelSamplerOptions,
): Promise<Sampler> {
  const model = residentModel(engine, parts, samplers ? { samplers } : {});
  let mean = 0;
  return Promise.resolve({
    meanPasses: () => mean,
    async tokens(condition, seed, first = 0) {
      const samples = Array.from({ length: numRows(condition) }, (_, i) => ({ seed, index: first + i }));
      const { tokens, passes } = await model.tokens({ network, condition, samples, batchSize });
      mean = passes.reduce((sum, count) => sum + count, 0) / Math.max(1, passes.length);
      return tokens;
    },
    ...(model.definition.decoder ? { images: async (tokens) => (await model.images(tokens, batchSize))! } : {}),
    dispose: () => model.dispose(),
  });
}

/** The first images of many. */
export function firstImages(images: HostTensor<'float32'>, count: number): HostTensor<'float32'> {
  const size = images.data.length / images.shape[0]!;
  const used = Math.min(count, images.shape[0]!);
  return float32([used, ...images.shape.slice(1)], images.data.subarray(0, used * size));
}
