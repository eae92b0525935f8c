/** Configuration of a Meissonic teacher: plain JSON to a definition and back. */
import {
  contractVersion,
  describeValue,
  float32,
  OptionError,
  refuseUnknownKeys,
  requireObject,
  readSamplerSettings,
  type ConditionSource,
  type HostTree,
  type SamplerSettings,
  type PlainObject,
  type TeacherDefinition,
} from '@dimo/core';
import { clipTextEncoder, type ClipTextEncoder } from './clip/text-encoder.js';
import { resolveClipText, type ClipTextConfig } from './clip/text-config.js';
import {
  checkTokenizerFits,
  prepareTextConditions,
  unpreparedTextConditions,
  type TextConditionOptions,
} from './clip/text-conditions.js';
import type { ClipTokenizer } from './clip/tokenizer.js';
import { widthOf, type MultimodalTransformerConfig } from './transformer/config.js';
import { multimodalTransformer, type MultimodalTransformer } from './transformer/multimodal-transformer.js';
import { embedMicroConditions, microConditionNumbers, type MicroConditions } from './transformer/sinusoids.js';
import { resolveVqModel, type VqModelConfig } from './vqvae/config.js';
import { vqModel, type VqModel } from './vqvae/vq-model.js';

/** Name of the plugin's teacher, in messages and generator descriptions. */
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
} as const satisfies SamplerSettings;

/** Configuration of a Meissonic teacher. */
export interface MeissonicConfig {
  /** Size of the transformer. */
  readonly transformer: MultimodalTransformerConfig;
  /** Size of the VQ-VAE, in the words of its `config.json`; `null` for a teacher of bare tokens. @default null */
  readonly vqvae?: VqModelConfig | null;
  /**
   * Size of the CLIP text encoder, in the words of its `config.json`; `null` for a teacher whose conditions come from
   * elsewhere. @default null
   */
  readonly textEncoder?: ClipTextConfig | null;
  /** Prompt of the null condition. @default '' */
  readonly negativePrompt?: string;
  /** Told to the model with every prompt. @default 1024 x 1024 pixels, not cropped, aesthetic score 6 */
  readonly microConditions?: MicroConditions;
  /** Defaults of the multi-step sampler. @default officialSampler */
  readonly sampler?: SamplerSettings;
}

/** What turns prompts into conditions and is no part of the configuration. */
export interface MeissonicText extends Pick<TextConditionOptions, 'prompts'> {
  readonly tokenizer: ClipTokenizer;
  readonly encoderWeights: HostTree;
  /** Files of which both can be read again: the definition's `conditionFiles`. */
  readonly files?: () => Readonly<Record<string, Uint8Array>>;
}

/** A Meissonic teacher's definition. */
export interface MeissonicDefinition extends TeacherDefinition {
  readonly model: MultimodalTransformer;
  readonly decoder?: VqModel;
  /** Absent if the configuration has none. */
  readonly textEncoder?: ClipTextEncoder;
}

const knownKeys = ['transformer', 'vqvae', 'textEncoder', 'negativePrompt', 'microConditions', 'sampler'];
const microKeys = ['originalWidth', 'originalHeight', 'cropTop', 'cropLeft', 'aestheticScore'];

/**
 * A teacher's definition from its configuration.
 *
 * @param text - tokenizer and text encoder; without them prompts are refused.
 * @throws OptionError for an unknown or ill-typed key, or parts that do not fit each other.
 */
export function defineMeissonic(config: MeissonicConfig | PlainObject, text?: MeissonicText): MeissonicDefinition {
  const given = requireObject(config, meissonicName);
  refuseUnknownKeys(given, knownKeys, meissonicName);
  const where = (key: string) => `${meissonicName}.${key}`;
  const model = multimodalTransformer(
    requireObject(given['transformer'], where('transformer')) as unknown as MultimodalTransformerConfig,
  );
  const { vqvae = null, textEncoder = null } = given;
  const decoder = vqvae === null ? undefined : decoderOf(vqvae as VqModelConfig, model);
  const encoder = textEncoder === null ? undefined : encoderOf(textEncoder as ClipTextConfig, model);
  const { negativePrompt } = given;
  if (negativePrompt !== undefined && typeof negativePrompt !== 'string')
    throw new OptionError(`${where('negativePrompt')} must be a text, got ${describeValue(negativePrompt)}`);
  const microConditions = readMicroConditions(given['microConditions'], where('microConditions'));
  const sampler = readSampler(given['sampler'], where('sampler'));
  const options = {
    ...(negativePrompt === undefined ? {} : { negativePrompt }),
    ...(microConditions ? { microConditions } : {}),
  };
  return {
    contract: contractVersion,
    name: meissonicName,
    model,
    nullCondition: emptyCondition(model, microConditions),
    conditions: refusingConditions(encoder !== undefined),
    ...(encoder && text ? textParts(encoder, text, options) : {}),
    ...(decoder ? { decoder } : {}),
    ...(encoder ? { textEncoder: encoder } : {}),
    sampler,
    config: {
      transformer: model.config,
      vqvae: decoder ? decoder.config : null,
      textEncoder: encoder ? encoder.config : null,
      ...options,
      sampler,
    },
  };
}

function textParts(
  encoder: ClipTextEncoder,
  { files, ...text }: MeissonicText,
  options: Pick<MeissonicConfig, 'negativePrompt' | 'microConditions'>,
): Pick<TeacherDefinition, 'conditions' | 'nullCondition' | 'prepareConditions' | 'conditionFiles'> {
  checkTokenizerFits(text.tokenizer, encoder);
  return {
    ...unpreparedTextConditions({ encoder, ...text, ...options }),
    prepareConditions: (engine, upload) => prepareTextConditions(engine, { encoder, ...text, ...options }, upload),
    ...(files ? { conditionFiles: files } : {}),
  };
}

function decoderOf(config: VqModelConfig, { tokenSpace }: MultimodalTransformer): VqModel {
  const decoder = vqModel(resolveVqModel(config, `${meissonicName}.vqvae`), { grid: tokenSpace.grid });
  if (decoder.codebookSize !== tokenSpace.codebookSize)
    throw new OptionError(
      `${meissonicName}.vqvae.num_vq_embeddings must be transformer.codebookSize ${tokenSpace.codebookSize}, got ${decoder.codebookSize}`,
    );
  return decoder;
}

function encoderOf(config: ClipTextConfig, { config: size }: MultimodalTransformer): ClipTextEncoder {
  const resolved = resolveClipText(config, `${meissonicName}.textEncoder`);
  const pairs: [keyof ClipTextConfig, number, string, number][] = [
    ['hidden_size', resolved.hidden_size, 'textWidth', size.textWidth],
    ['projection_dim', resolved.projection_dim, 'heads * headWidth', widthOf(size)],
  ];
  for (const [key, found, name, expected] of pairs)
    if (found !== expected)
      throw new OptionError(
        `${meissonicName}.textEncoder.${key} must be transformer.${name} ${expected}, got ${found}`,
      );
  return clipTextEncoder(resolved);
}

function readMicroConditions(value: unknown, where: string): MicroConditions | undefined {
  if (value === undefined) return undefined;
  const given = requireObject(value, where);
  refuseUnknownKeys(given, microKeys, where);
  for (const [key, number] of Object.entries(given))
    if (typeof number !== 'number' || !Number.isFinite(number))
      throw new OptionError(`${where}.${key} must be a finite number, got ${describeValue(number)}`);
  return given as MicroConditions;
}

function readSampler(value: unknown, where: string): SamplerSettings {
  return value === undefined ? officialSampler : readSamplerSettings(value, where);
}

/** Of the right shapes, for what has no text yet. */
function emptyCondition({ condition }: MultimodalTransformer, microConditions: MicroConditions | undefined): HostTree {
  const micro = embedMicroConditions(microConditionNumbers(microConditions));
  return {
    textStates: float32(condition['textStates']!.shape),
    pooledText: float32(condition['pooledText']!.shape),
    microConditions: float32(condition['microConditions']!.shape, micro.data),
  };
}

function refusingConditions(hasEncoder: boolean): ConditionSource {
  const refuse = (): never => {
    throw new OptionError(
      hasEncoder
        ? 'conditions: prompts need the tokenizer and the weights of the text encoder'
        : 'conditions: this teacher has no text encoder',
      {
        hint: hasEncoder
          ? 'load the teacher from its folder'
          : 'give a source of conditions of your own, or configure textEncoder',
      },
    );
  };
  return { sample: refuse, parse: refuse };
}
