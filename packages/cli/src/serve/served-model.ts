/** A model that is kept on an engine and answers requests of any size, picture by picture. */
import {
  builtInSamplers,
  OptionError,
  resolveSampler,
  sequenceLength,
  type Engine,
  type HostTensor,
  type SamplerRegistry,
  type SamplerSettings,
} from '@dimo/core';
import { createGenerate, type Generate } from '@dimo/pipeline';
import type { FoundModel } from '../models/models.js';

/** What to generate. */
export interface GenerateRequest {
  readonly texts: readonly string[];
  readonly count: number;
  readonly seed: number;
  /** @default what the generator recommends; generators only */
  readonly temperature?: number | undefined;
  /** Name and options, which go before those the server was started with; teachers only. */
  readonly sampler?: SamplerSettings | undefined;
  readonly signal: AbortSignal;
}

/** One of the samples of a request. */
export interface GeneratedImage {
  readonly index: number;
  /** float32 [H, W, C] in [0, 1]. */
  readonly image: HostTensor<'float32'>;
  /** The class or prompt; empty where nothing was asked for. */
  readonly label: string;
}

/** A model, ready to generate. */
export interface ServedModel {
  readonly name: string;
  readonly kind: 'generator' | 'teacher';
  readonly classNames: readonly string[] | undefined;
  readonly imageShape: readonly [height: number, width: number, channels: number];
  /** Samplers that requests may name; none for generators. */
  readonly samplers: readonly string[];
  /**
   * Most forward passes that a sample takes.
   *
   * @param sampler - as in a request; undefined for that of the model as it is served.
   * @throws OptionError for a sampler or option that there is not.
   */
  maximumPasses(sampler?: SamplerSettings): number;
  /**
   * Generates; sample i depends on the seed and i alone. Ends early when the signal is given.
   *
   * @throws OptionError for a text or setting that the model does not understand.
   */
  generate(request: GenerateRequest): AsyncGenerator<GeneratedImage, void, undefined>;
  dispose(): Promise<void>;
}

/**
 * Puts a model on an engine. For teachers, `sampler` has the sampler and options that go before the teacher's own, and
 * `samplers` those that can be named, by default those of core.
 *
 * @throws OptionError if the model makes no images.
 */
export async function serveModel(
  engine: Engine,
  name: string,
  found: FoundModel,
  { sampler: own, samplers }: { readonly sampler?: SamplerSettings; readonly samplers?: SamplerRegistry } = {},
): Promise<ServedModel> {
  const generate = await createGenerate({
    model: name,
    engine,
    ownsEngine: false,
    ...(found.kind === 'generator'
      ? { generator: () => Promise.resolve(found.generator) }
      : { teacher: () => Promise.resolve(found.teacher) }),
    samplers,
    saveFile: () => Promise.reject(new OptionError('the server writes no files')),
  });
  return {
    name,
    kind: found.kind,
    classNames: generate.classNames,
    imageShape: generate.imageShape,
    samplers: found.kind === 'teacher' ? samplerNames(samplers) : [],
    maximumPasses(sampler) {
      if (found.kind === 'generator') return 1;
      const { model, sampler: teachers } = found.teacher;
      const resolved = resolveSampler(askedSampler(own, sampler), teachers, samplers);
      return resolved.sampler.maximumPasses(resolved.options, sequenceLength(model.tokenSpace));
    },
    generate: (request) => draw(generate, found.kind, own, request),
    dispose: () => generate.dispose(),
  };
}

async function* draw(
  generate: Generate,
  kind: ServedModel['kind'],
  own: SamplerSettings | undefined,
  { texts, count, seed, temperature, sampler, signal }: GenerateRequest,
): AsyncGenerator<GeneratedImage, void, undefined> {
  if (kind === 'teacher' && temperature !== undefined)
    throw new OptionError(`temperature is for one-step generators; "${generate.model}" is a teacher`, {
      hint: 'set the temperature of the sampler: { "sampler": { "temperature": ... } }',
    });
  if (kind === 'generator' && sampler !== undefined)
    throw new OptionError(`sampler is for teachers; "${generate.model}" is a one-step generator`);
  const asked = kind === 'teacher' ? { sampler: askedSampler(own, sampler) } : {};
  try {
    const options = { count, seed, temperature, signal, ...asked };
    for await (const picture of generate.stream(texts.length > 0 ? texts : undefined, options))
      yield { index: picture.index, image: picture.image, label: picture.prompt };
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** Of another sampler than that of the server only its own options count. */
function askedSampler(own: SamplerSettings | undefined, asked: SamplerSettings | undefined): SamplerSettings {
  const isOther = asked?.name !== undefined && asked.name !== own?.name;
  return isOther ? asked : { ...own, ...asked };
}

function samplerNames(samplers: SamplerRegistry = builtInSamplers): string[] {
  return [...samplers.keys()];
}
