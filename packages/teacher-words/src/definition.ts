/** The teacher: transformer, tokenizer and vocabulary from plain JSON. */
import {
  contractVersion,
  int32,
  OptionError,
  refuseUnknownKeys,
  requireInteger,
  requireObject,
  readSamplerSettings,
  type ConditionSource,
  type PlainObject,
  type TeacherDefinition,
} from '@dimo/core';
import { defineTokenizer } from '@dimo/tokenizers';
import type { MultimodalTransformerConfig } from '@dimo/teacher-meissonic';
import { wordTransformer } from './word-transformer.js';
import { vocabularyOf } from './words.js';

/** Name of the teacher plugin; it stands in every folder that was written with it. */
export const teacherName = 'emoji-meissonic';

/** File of the vocabulary in a folder of a teacher or generator. */
export const wordsFile = 'words.json';

/** What turns prompts into word ids, and the first vectors of the words. */
export interface TeacherWords {
  readonly words: readonly string[];
  /** Float32 [words + 1, textWidth]; only for a teacher that is to be trained. */
  readonly vectors?: Float32Array;
}

const knownKeys = ['transformer', 'tokenizer', 'numWords', 'sampler'];

/**
 * A teacher's definition.
 *
 * @param config - `transformer` as Meissonic's, `tokenizer` as `dimo train tokenizer` takes it, `numWords`, and defaults of
 *   the multi-step `sampler`.
 * @param words - without them prompts are refused.
 * @throws OptionError for an unknown or ill-typed key, or parts that do not fit each other.
 */
export function defineTeacher(config: PlainObject, words?: TeacherWords): TeacherDefinition {
  const given = requireObject(config, teacherName);
  refuseUnknownKeys(given, knownKeys, teacherName);
  const numWords = requireInteger(given['numWords'], `${teacherName}.numWords`, 1, words?.words.length);
  if (words && words.words.length !== numWords)
    throw new OptionError(`${teacherName}.numWords is ${numWords}, but the vocabulary has ${words.words.length} words`);
  const { tokenizer, config: tokenizerConfig } = defineTokenizer(
    requireObject(given['tokenizer'], `${teacherName}.tokenizer`),
    `${teacherName}.tokenizer`,
  );
  const model = wordTransformer({
    transformer: {
      timestepMode: 'ratio',
      ...requireObject(given['transformer'], `${teacherName}.transformer`),
      codebookSize: tokenizer.codebookSize,
      grid: tokenizer.grid,
    } as unknown as MultimodalTransformerConfig,
    numWords,
    ...(words?.vectors ? { wordVectors: words.vectors } : {}),
  });
  const sampler = readSamplerSettings(given['sampler'], `${teacherName}.sampler`);
  const textLength = model.condition['words']!.shape[0]!;
  const { codebookSize: _size, grid: _grid, ...transformer } = model.config;
  return {
    contract: contractVersion,
    name: teacherName,
    model,
    nullCondition: { words: int32([textLength]) },
    conditions: words ? promptConditions(words.words, textLength) : refusingConditions,
    ...(words ? { conditionFiles: () => ({ [wordsFile]: encodeWords(words.words) }) } : {}),
    decoder: tokenizer,
    sampler,
    config: { transformer, tokenizer: tokenizerConfig, numWords, sampler },
  };
}

function promptConditions(words: readonly string[], length: number): ConditionSource {
  const vocabulary = vocabularyOf(words);
  return {
    parse: (prompts) => ({ words: vocabulary.encode(prompts, length) }),
    sample() {
      throw new OptionError('conditions: there are no prompts to draw from', {
        hint: 'give a text file with one prompt a line',
      });
    },
  };
}

const refusingConditions: ConditionSource = { parse: refuse, sample: refuse };

function refuse(): never {
  throw new OptionError(`conditions: prompts need the vocabulary, ${wordsFile}`, {
    hint: 'load the teacher from its folder, or name the folder of the words with train.teacher.conditions',
  });
}

function encodeWords(words: readonly string[]): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify(words)}\n`);
}
