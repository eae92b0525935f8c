/** A release as a teacher, and a released generator as a generator. */
import {
  contractVersion,
  type GeneratorTokenInit,
  type HostTree,
  type LoadedGenerator,
  type MultiStepOptions,
  type Teacher,
  type TeacherDefinition,
} from '@dimo/core';
import { prepareTextConditions, unpreparedTextConditions, type TextConditionOptions } from '../clip/text-conditions.js';
import type { MultimodalTransformer } from '../transformer/multimodal-transformer.js';
import {
  checkPartsFit,
  type MeissonicRelease,
  type ReleasedSurroundings,
  type ReleasedTransformer,
} from './read-release.js';

/** Name of Meissonic teachers. */
export const meissonicName = 'meissonic';

/**
 * The official multi-step sampler: 64 steps (the scripts' number; the pipeline's own default is 48), guidance 9, noise on
 * the confidences from 2 to 0.
 */
export const officialSampler = {
  numSteps: 64,
  schedule: 'cosine-remaining',
  guidanceScale: 9,
  guidanceRamp: 'constant',
  choiceTemperature: 2,
  finalChoiceTemperature: 0,
} as const satisfies MultiStepOptions;

/** How prompts become conditions, and how the teacher is sampled. */
export interface ReleaseTeacherOptions extends Pick<
  TextConditionOptions,
  'prompts' | 'negativePrompt' | 'microConditions'
> {
  /** Defaults of the multi-step sampler. @default officialSampler */
  readonly sampler?: MultiStepOptions;
}

/**
 * The definition that the parts of a release make. Its conditions need an engine: `prepareTeacher`.
 *
 * `config` holds sizes and options under `transformer`, `vqvae`, `textEncoder`, `negativePrompt`, `microConditions` and
 * `sampler`; prompts are data and not in it.
 */
export function releaseDefinition(
  model: MultimodalTransformer,
  surroundings: ReleasedSurroundings,
  options: ReleaseTeacherOptions = {},
): TeacherDefinition {
  const { vqvae, textEncoder, tokenizer } = surroundings;
  const { prompts, negativePrompt, microConditions, sampler = officialSampler } = options;
  const text: TextConditionOptions = {
    tokenizer,
    encoder: textEncoder.model,
    encoderWeights: textEncoder.weights,
    ...(prompts ? { prompts } : {}),
    ...(negativePrompt === undefined ? {} : { negativePrompt }),
    ...(microConditions ? { microConditions } : {}),
  };
  return {
    contract: contractVersion,
    name: meissonicName,
    model,
    ...unpreparedTextConditions(text),
    prepareConditions: (engine) => prepareTextConditions(engine, text),
    decoder: vqvae.model,
    sampler,
    config: {
      transformer: model.config,
      vqvae: vqvae.model.config,
      textEncoder: textEncoder.model.config,
      ...(negativePrompt === undefined ? {} : { negativePrompt }),
      ...(microConditions ? { microConditions } : {}),
      sampler,
    },
  };
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
export interface ReleasedGeneratorOptions extends Pick<ReleaseTeacherOptions, 'microConditions'> {
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
  const decoderWeights: HostTree = surroundings.vqvae.weights;
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
    decoderWeights,
  };
}
