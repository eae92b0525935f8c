/** A release as a teacher, and a released generator as a generator. */
import type { GeneratorTokenInit, LoadedGenerator, SamplerSettings, Teacher } from '@dimo/core';
import type { TextConditionOptions } from '../clip/text-conditions.js';
import { defineMeissonic, type MeissonicDefinition } from '../teacher-config.js';
import type { MultimodalTransformer } from '../transformer/multimodal-transformer.js';
import {
  checkPartsFit,
  type MeissonicRelease,
  type ReleasedSurroundings,
  type ReleasedTransformer,
} from './read-release.js';

/** How prompts become conditions, and how the teacher is sampled. */
export interface ReleaseTeacherOptions extends Pick<
  TextConditionOptions,
  'prompts' | 'negativePrompt' | 'microConditions'
> {
  /** Defaults of the multi-step sampler. @default officialSampler */
  readonly sampler?: SamplerSettings;
}

/**
 * The definition that the parts of a release make. Its conditions need an engine: `prepareTeacher`. Its `config` is that of
 * our own folders, `MeissonicConfig`; prompts are data and not in it.
 */
export function releaseDefinition(
  model: MultimodalTransformer,
  surroundings: ReleasedSurroundings,
  options: ReleaseTeacherOptions = {},
): MeissonicDefinition {
  const { vqvae, textEncoder, tokenizer, files } = surroundings;
  const { prompts, ...config } = options;
  return defineMeissonic(
    { transformer: model.config, vqvae: vqvae.model.config, textEncoder: textEncoder.model.config, ...config },
    { tokenizer, encoderWeights: textEncoder.weights, files, ...(prompts ? { prompts } : {}) },
  );
}

/** The teacher of a release. */
export function releaseTeacher(release: MeissonicRelease, options: ReleaseTeacherOptions = {}): Teacher {
  const { transformer, ...surroundings } = release;
  return {
    ...releaseDefinition(transformer.model, surroundings, options),
    weights: transformer.weights,
    decoderWeights: surroundings.vqvae.weights,
  };
}

/**
 * Token initialization of the released one-step generator: 60 % of the initial tokens masked, embedding noise 0.1, as in
 * the official sampling script. (It was trained with 50 % and 0.3.)
 */
export const releasedTokenInit: GeneratorTokenInit = { maskRatio: 0.6, embeddingNoise: 0.1, noiseDeviation: 1 };

/** Options of `releasedGenerator`. */
export interface ReleasedGeneratorOptions extends Omit<ReleaseTeacherOptions, 'prompts'> {
  /** @default releasedTokenInit */
  readonly tokenInit?: GeneratorTokenInit;
}

/**
 * A released one-step generator: its transformer, everything else from its teacher's release.
 *
 * @throws OptionError if the two do not fit.
 */
export function releasedGenerator(
  transformer: ReleasedTransformer,
  surroundings: ReleasedSurroundings,
  options: ReleasedGeneratorOptions = {},
): LoadedGenerator {
  const { tokenInit = releasedTokenInit, ...text } = options;
  const { model, weights } = transformer;
  checkPartsFit(model, surroundings, 'the released generator');
  const definition = releaseDefinition(model, surroundings, text);
  return {
    description: {
      format: 'dimo-generator',
      version: 1,
      teacher: { name: definition.name, config: definition.config },
      model: model.name,
      tokenInit,
    },
    definition,
    weights,
    decoderWeights: surroundings.vqvae.weights,
  };
}
