/** Prompts as conditions of the transformer: tokens, text encoder on an engine, micro-conditions. */
import {
  DimoError,
  float32,
  OptionError,
  type ConditionSource,
  type DeviceTree,
  type Engine,
  type HostTensor,
  type HostTree,
  type PreparedConditions,
  type UploadOptions,
} from '@dimo/core';
import type { Tensor2D } from '@tensorflow/tfjs-core';
import { embedMicroConditions, microConditionNumbers, type MicroConditions } from '../transformer/sinusoids.js';
import { legacyEndToken, type ClipTextEncoder } from './text-encoder.js';
import type { ClipTokenizer } from './tokenizer.js';

/** What turns prompts into conditions. */
export interface TextConditionOptions {
  readonly tokenizer: ClipTokenizer;
  readonly encoder: ClipTextEncoder;
  readonly encoderWeights: HostTree;
  /** What conditions are drawn from while distilling and training. @default none: drawing is an error */
  readonly prompts?: readonly string[];
  /** Prompt of the null condition. @default '' */
  readonly negativePrompt?: string;
  /** Told to the model with every prompt. @default 1024 x 1024 pixels, not cropped, aesthetic score 6 */
  readonly microConditions?: MicroConditions;
  /** Encoded prompts that are kept for the next time, the latest ones. @default 64 */
  readonly cacheSize?: number;
}

/** The negative prompt of the official Di[M]O training, for the teacher's guidance; "signature" is there twice. */
export const officialNegativePrompt =
  'worst quality, low quality, low res, blurry, distortion, watermark, logo, signature, text, jpeg artifacts, ' +
  'signature, sketch, duplicate, ugly, identifying mark';

interface EncodedPrompt {
  readonly textStates: Float32Array;
  readonly pooledText: Float32Array;
}

/** Conditions that say that they need an engine; `nullCondition` of the right shapes. */
export function unpreparedTextConditions(
  options: Pick<TextConditionOptions, 'encoder' | 'tokenizer' | 'microConditions'>,
): Pick<PreparedConditions, 'conditions' | 'nullCondition'> {
  const { encoder, tokenizer, microConditions } = options;
  const { hidden_size, projection_dim } = encoder.config;
  const refuse = (): never => {
    throw new DimoError('option', 'conditions: prompts are encoded on an engine, and none was given', {
      hint: 'call prepareTeacher(engine, teacher) and use the teacher that it returns',
    });
  };
  return {
    conditions: { sample: refuse, parse: refuse, check: cutTexts(tokenizer) },
    nullCondition: {
      textStates: float32([tokenizer.maximumLength, hidden_size]),
      pooledText: float32([projection_dim]),
      microConditions: oneRow(embedMicroConditions(microConditionNumbers(microConditions))),
    },
  };
}

/**
 * Prompts as conditions `textStates` float32 [count, length, hidden_size], `pooledText` float32 [count, projection_dim]
 * and `microConditions` float32 [count, 5, 256].
 *
 * Prompts are encoded one at a time, so that an encoding never depends on what it was encoded with.
 *
 * @param upload - how the encoder's weights go to the engine.
 * @throws OptionError for a tokenizer and an encoder that do not belong together.
 */
export async function prepareTextConditions(
  engine: Engine,
  options: TextConditionOptions,
  upload?: UploadOptions,
): Promise<PreparedConditions> {
  const { tokenizer, encoder, prompts = [], negativePrompt = '', cacheSize = 64 } = options;
  checkTokenizerFits(tokenizer, encoder);
  const length = tokenizer.maximumLength;
  const compiled = await engine.compile(
    (state, inputs) => ({ outputs: { ...encoder.encode(state, inputs['tokens'] as Tensor2D) } }),
    { state: encoder.parameters, inputs: { tokens: { dtype: 'int32', shape: [1, length] } } },
  );
  const weights: DeviceTree = await engine.upload(options.encoderWeights, upload);
  const cache = new Map<string, Promise<EncodedPrompt>>();

  async function encode(prompt: string): Promise<EncodedPrompt> {
    const { textStates, pooledText } = await compiled.run(weights, { tokens: tokenizer.encode([prompt]) });
    return { textStates: textStates!.data as Float32Array, pooledText: pooledText!.data as Float32Array };
  }

  function encoded(prompt: string): Promise<EncodedPrompt> {
    const found = cache.get(prompt) ?? encode(prompt);
    // Deleted and set again: the order of a Map is that of insertion, the oldest first.
    cache.delete(prompt);
    cache.set(prompt, found);
    found.catch(() => cache.delete(prompt));
    for (const oldest of cache.keys()) {
      if (cache.size <= cacheSize) break;
      cache.delete(oldest);
    }
    return found;
  }

  async function conditionsOf(texts: readonly string[]): Promise<HostTree> {
    const different = new Map<string, EncodedPrompt>();
    for (const text of texts) if (!different.has(text)) different.set(text, await encoded(text));
    const rows = texts.map((text) => different.get(text)!);
    const { hidden_size, projection_dim } = encoder.config;
    const numbers = microConditionNumbers(options.microConditions);
    return {
      textStates: float32([texts.length, length, hidden_size], joined(rows.map(({ textStates }) => textStates))),
      pooledText: float32([texts.length, projection_dim], joined(rows.map(({ pooledText }) => pooledText))),
      microConditions: embedMicroConditions(texts.flatMap(() => numbers)),
    };
  }

  const conditions: ConditionSource = {
    async sample(random, count) {
      if (prompts.length === 0)
        throw new OptionError('conditions: there are no prompts to draw from', {
          hint: 'give a text file with one prompt a line',
        });
      return conditionsOf(Array.from(random.integers(count, prompts.length), (index) => prompts[index]!));
    },
    parse: conditionsOf,
    check: cutTexts(tokenizer),
  };
  const negative = await conditionsOf([negativePrompt]);
  return {
    conditions,
    nullCondition: Object.fromEntries(
      Object.entries(negative).map(([name, tensor]) => [name, oneRow(tensor as HostTensor<'float32'>)]),
    ),
    async dispose() {
      await weights.dispose();
      await compiled.dispose();
    },
  };
}

/** Checks that every id of the tokenizer has an embedding. @throws OptionError */
export function checkTokenizerFits(tokenizer: ClipTokenizer, encoder: ClipTextEncoder): void {
  const { vocab_size, max_position_embeddings, eos_token_id } = encoder.config;
  if (tokenizer.largestId >= vocab_size)
    throw new OptionError(
      `the tokenizer has ids up to ${tokenizer.largestId}, the text encoder ${encoder.name} knows ${vocab_size} (vocab_size)`,
    );
  if (eos_token_id !== legacyEndToken && eos_token_id !== tokenizer.endTokenId)
    throw new OptionError(
      `the text encoder ${encoder.name} reads the text at the token ${eos_token_id} (eos_token_id), the tokenizer ends texts with ${tokenizer.endTokenId}`,
      { hint: 'tokenizer and text encoder are of different models' },
    );
  if (tokenizer.maximumLength > max_position_embeddings)
    throw new OptionError(
      `the tokenizer makes ${tokenizer.maximumLength} tokens, the text encoder ${encoder.name} takes at most ${max_position_embeddings} (max_position_embeddings)`,
    );
}

/** Finds the texts that have more tokens than the text encoder reads. */
function cutTexts({ lengthOf, maximumLength }: ClipTokenizer): (texts: readonly string[]) => number[] {
  return (texts) => texts.flatMap((text, index) => (lengthOf(text) > maximumLength ? index : []));
}

/** The tensor without its leading axis of length 1. */
function oneRow(tensor: HostTensor<'float32'>): HostTensor<'float32'> {
  return float32(tensor.shape.slice(1), tensor.data);
}

function joined(rows: readonly Float32Array[]): Float32Array {
  const width = rows[0]?.length ?? 0;
  const data = new Float32Array(rows.length * width);
  rows.forEach((row, index) => data.set(row, index * width));
  return data;
}
