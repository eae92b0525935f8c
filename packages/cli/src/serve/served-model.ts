/** A model that is kept on an engine and answers requests of any size, batch by batch. */
import {
  oneStepTokenInit,
  compileDecoder,
  compileMultiStep,
  compileOneStep,
  OptionError,
  prepareTeacher,
  sampleMultiStep,
  sampleOneStep,
  takeRows,
  type CompiledDecoder,
  type Engine,
  type HostTensor,
  type HostTree,
  type SamplerRegistry,
  type SamplerSettings,
  type Teacher,
  type TeacherDefinition,
} from '@dimo/core';
import type { FoundModel } from '../models.js';
import { conditionsFor } from '../samplers.js';

/** What to generate. */
export interface GenerateRequest {
  readonly texts: readonly string[];
  readonly count: number;
  readonly seed: number;
  /** @default what the generator recommends; generators only */
  readonly temperature: number | undefined;
  readonly signal: AbortSignal;
}

/** Some of the samples of a request. */
export interface GeneratedBatch {
  /** Index of the first one. */
  readonly first: number;
  /** float32 [count, H, W, C] in [0, 1]. */
  readonly images: HostTensor<'float32'>;
  readonly labels: readonly string[];
}

/** A model, ready to generate. */
export interface ServedModel {
  readonly name: string;
  readonly kind: 'generator' | 'teacher';
  readonly classNames: readonly string[] | undefined;
  readonly imageShape: readonly [height: number, width: number, channels: number];
  /**
   * Generates in batches; sample i depends on the seed and i alone. Ends early when the signal is given.
   *
   * @throws OptionError for a text that the model does not understand.
   */
  generate(request: GenerateRequest): AsyncGenerator<GeneratedBatch, void, undefined>;
  dispose(): Promise<void>;
}

/** Large requests run in batches of this size, the rest one by one: a single image must not cost a whole batch. */
const batchSizes = [8, 1] as const;

/** Compiled variants that are kept. */
const maximumVariants = 6;

interface Variant {
  tokens(condition: HostTree, seed: number, firstSample: number): Promise<HostTensor<'int32'>>;
  dispose(): Promise<void>;
}

/**
 * Puts a model on an engine.
 *
 * @param sampler - for teachers: sampler and options that go before the teacher's own.
 * @param samplers - by name. @default those of core
 * @throws OptionError if the model makes no images.
 */
export async function serveModel(
  engine: Engine,
  name: string,
  found: FoundModel,
  { sampler: asked, samplers }: { readonly sampler?: SamplerSettings; readonly samplers?: SamplerRegistry } = {},
): Promise<ServedModel> {
  const isGenerator = found.kind === 'generator';
  const definition: TeacherDefinition = isGenerator ? found.generator.definition : found.teacher;
  const { decoder } = definition;
  const decoderTree = isGenerator ? found.generator.decoderWeights : found.teacher.decoderWeights;
  if (!decoder || !decoderTree) throw new OptionError(`"${name}" makes tokens, not images; dimo serve needs images`);
  const prepared = await prepareTeacher(engine, definition);
  const weights = await engine.upload(isGenerator ? found.generator.weights : found.teacher.weights);
  const decoderWeights = await engine.upload(decoderTree);
  const variants = new Map<string, Promise<Variant>>();
  const decoders = new Map<number, Promise<CompiledDecoder>>();

  async function compileVariant(batchSize: number, temperature: number): Promise<Variant> {
    if (found.kind === 'teacher') {
      const teacher = prepared.teacher as Teacher;
      const sampler = await compileMultiStep(engine, teacher, {
        batchSize,
        ...(asked ? { sampler: asked } : {}),
        ...(samplers ? { samplers } : {}),
      });
      return {
        tokens: (condition, seed, firstSample) =>
          sampleMultiStep(sampler, teacher.model, { weights, condition, seed, firstSample }),
        dispose: () => sampler.dispose(),
      };
    }
    const tokenInit = oneStepTokenInit(found.generator.description);
    const sampler = await compileOneStep(engine, definition.model, { batchSize, tokenInit, sampling: { temperature } });
    return {
      tokens: (condition, seed, firstSample) => sampleOneStep(sampler, { weights, condition, seed, firstSample }),
      dispose: () => sampler.dispose(),
    };
  }

  /** The variant, the one that was not used for longest being given up. Jobs run one by one, so none is in use. */
  async function variantFor(batchSize: number, temperature: number): Promise<Variant> {
    const key = `${batchSize}:${temperature}`;
    const known = variants.get(key) ?? compileVariant(batchSize, temperature);
    variants.delete(key);
    variants.set(key, known);
    known.catch(() => variants.delete(key));
    const [oldest] = variants.keys();
    if (variants.size > maximumVariants && oldest !== undefined) {
      const unused = variants.get(oldest)!;
      variants.delete(oldest);
      await (await unused).dispose();
    }
    return known;
  }

  function decoderFor(batchSize: number): Promise<CompiledDecoder> {
    const known = decoders.get(batchSize) ?? compileDecoder(engine, decoder!, batchSize);
    decoders.set(batchSize, known);
    return known;
  }

  return {
    name,
    kind: found.kind,
    classNames: definition.conditions.classNames,
    imageShape: decoder.imageShape,
    async *generate({ texts, count, seed, temperature, signal }) {
      if (temperature !== undefined && !isGenerator)
        throw new OptionError(`temperature is for one-step generators; "${name}" is a teacher`);
      const recommended = isGenerator ? found.generator.description.temperature : undefined;
      const { condition, labels } = await conditionsFor(prepared.teacher.conditions, count, { prompts: texts, seed });
      for (let first = 0; first < count && !signal.aborted;) {
        const batchSize = batchSizes.find((size) => size <= count - first)!;
        const sampler = await variantFor(batchSize, temperature ?? recommended ?? 1);
        const tokens = await sampler.tokens(takeRows(condition, first, batchSize), seed, first);
        const images = await (await decoderFor(batchSize)).decode(decoderWeights, tokens);
        yield { first, images, labels: labels.slice(first, first + batchSize) };
        first += batchSize;
      }
    },
    async dispose() {
      for (const variant of variants.values()) await (await variant).dispose();
      for (const compiled of decoders.values()) await (await compiled).dispose();
      await weights.dispose();
      await decoderWeights.dispose();
      await prepared.dispose();
    },
  };
}
