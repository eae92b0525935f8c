/** Prompts as word ids: a closed vocabulary, no letters. */
import { int32, OptionError, type HostTensor } from '@dimo/core';

/** Id of an empty place; the words of a vocabulary count from 1. */
export const emptyPlace = 0;

/** Words that prompts may hold and that are passed over. */
const smallWords = new Set(['a', 'an', 'the', 'of', 'with', 'and', 'on', 'in', 'to', 'at', 'for', 'from', 'emoji']);

/** Turns prompts into word ids. */
export interface Vocabulary {
  readonly words: readonly string[];
  /**
   * Word ids int32 [count, length], empty places at the end.
   *
   * @throws OptionError for a word that is not in the vocabulary, or a prompt of too many words.
   */
  encode(prompts: readonly string[], length: number): HostTensor<'int32'>;
}

/** Lower-case words without accents and punctuation. */
export function plainWords(text: string): string[] {
  return text
    .normalize('NFKD')
    .replace(/\p{M}/gu, '')
    .toLowerCase()
    .replace(/['’]/g, '')
    .split(/[^a-z0-9#*]+/)
    .filter((word) => word !== '');
}

/** The words of a prompt that carry meaning. */
export function meaningfulWords(prompt: string): string[] {
  return plainWords(prompt).filter((word) => !smallWords.has(word));
}

/** A vocabulary of the given words. @throws OptionError if a word is empty or there twice. */
export function vocabularyOf(words: readonly string[]): Vocabulary {
  const ids = new Map(words.map((word, index) => [word, index + 1]));
  if (ids.size !== words.length || ids.has('')) throw new OptionError('words: the words of a vocabulary must differ');
  const idOf = (word: string, prompt: string): number => {
    const found = ids.get(word) ?? ids.get(word.replace(/s$/, '')) ?? ids.get(`${word}s`);
    if (found !== undefined) return found;
    const like = words.filter(
      (known) => known.length > 2 && (known.startsWith(word.slice(0, 3)) || known.includes(word)),
    );
    throw new OptionError(`prompt ${JSON.stringify(prompt)}: "${word}" is not one of the ${words.length} known words`, {
      hint: like.length > 0 ? `known are ${like.slice(0, 8).join(', ')}` : 'use words that the model was trained with',
    });
  };
  return {
    words,
    encode(prompts, length) {
      const data = new Int32Array(prompts.length * length);
      prompts.forEach((prompt, row) => {
        const meant = meaningfulWords(prompt);
        if (meant.length > length)
          throw new OptionError(`prompt ${JSON.stringify(prompt)}: at most ${length} words, got ${meant.length}`);
        meant.forEach((word, place) => (data[row * length + place] = idOf(word, prompt)));
      });
      return int32([prompts.length, length], data);
    },
  };
}
