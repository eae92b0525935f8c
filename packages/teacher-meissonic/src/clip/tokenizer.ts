/**
 * The byte-pair tokenizer of CLIP, run by @huggingface/tokenizers. Text is brought to Unicode NFC, white space to single
 * spaces, characters to lower case; words are split into letters, single digits and other characters, and merged by rank.
 */
import { describeValue, int32, OptionError, type HostTensor } from '@dimo/core';
import { Tokenizer } from '@huggingface/tokenizers';
import { checkMerges, endOfWord } from './merges.js';

/** A special token. */
export interface ClipSpecialToken {
  readonly content: string;
  readonly id: number;
  /** Matched in the text after it was brought to lower case. @default false */
  readonly normalized?: boolean;
  /** White space on the left belongs to it. @default false */
  readonly lstrip?: boolean;
  /** White space on the right belongs to it. @default false */
  readonly rstrip?: boolean;
}

/** What a CLIP tokenizer is made of. */
export interface ClipTokenizerOptions {
  /** Ids by token: byte symbols, the same with the end-of-word mark `</w>`, merges, special tokens. */
  readonly vocabulary: Readonly<Record<string, number>>;
  /** Pairs of tokens, `"i n"`, the most frequent first. */
  readonly merges: readonly string[];
  /** First token of every text. @default '<|startoftext|>' */
  readonly startToken?: string;
  /** Last token of every text, and the one that unknown symbols become. @default '<|endoftext|>' */
  readonly endToken?: string;
  /** Fills texts up to `maximumLength`; it becomes a special token. @default the end token */
  readonly padToken?: string;
  /** Special tokens with properties of their own; those named above need none. */
  readonly specialTokens?: readonly ClipSpecialToken[];
  /** Tokens of every encoded text, start and end included. @default 77 */
  readonly maximumLength?: number;
}

/** A tokenizer; pure, without state. */
export interface ClipTokenizer {
  readonly maximumLength: number;
  readonly startTokenId: number;
  readonly endTokenId: number;
  readonly padTokenId: number;
  /** Largest id it can give. */
  readonly largestId: number;
  /**
   * Tokens int32 [texts, maximumLength]: start, text, end, padding. A longer text keeps its first tokens.
   *
   * @throws OptionError for a text beyond 10,000 characters.
   */
  encode(texts: readonly string[]): HostTensor<'int32'>;
  /** Tokens of a whole text, start and end included; `encode` keeps `maximumLength` of them. @throws OptionError as `encode` */
  lengthOf(text: string): number;
}

/** Words, single digits, and runs of anything else that is not white space. */
const wordPattern = "'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+";
/** A text longer than this cannot matter: 75 tokens hold at most a few hundred characters. */
const maximumCharacters = 10_000;

/**
 * A CLIP tokenizer.
 *
 * @throws OptionError if the vocabulary lacks a special token, or the merges do not fit it.
 */
export function clipTokenizer(options: ClipTokenizerOptions): ClipTokenizer {
  const {
    vocabulary,
    merges,
    startToken = '<|startoftext|>',
    endToken = '<|endoftext|>',
    maximumLength = 77,
  } = options;
  const padToken = options.padToken ?? endToken;
  const idOf = (token: string, role: string): number => {
    const given = options.specialTokens?.find(({ content }) => content === token)?.id;
    const own = Object.hasOwn(vocabulary, token) ? vocabulary[token] : undefined;
    if (given !== undefined && own !== undefined && given !== own)
      throw new OptionError(
        `CLIP tokenizer: the ${role} ${describeValue(token)} has the id ${own} in the vocabulary and ${given} among the added tokens`,
        { hint: 'the files are of different tokenizers' },
      );
    const id = given ?? own;
    if (id === undefined)
      throw new OptionError(`CLIP tokenizer: the ${role} ${describeValue(token)} is not in the vocabulary`);
    return id;
  };
  if (!Number.isInteger(maximumLength) || maximumLength < 2)
    throw new OptionError(`CLIP tokenizer: maximumLength must be an integer >= 2, got ${describeValue(maximumLength)}`);
  const startTokenId = idOf(startToken, 'start token');
  const endTokenId = idOf(endToken, 'end token');
  const padTokenId = idOf(padToken, 'padding token');
  const given = options.specialTokens ?? [];
  const implied = [...new Set([startToken, endToken, padToken])]
    .filter((token) => !given.some(({ content }) => content === token))
    .map((content): ClipSpecialToken => ({ content, id: idOf(content, 'special token') }));
  const specialTokens = [...given, ...implied];
  checkMerges(vocabulary, merges, new Set(specialTokens.map(({ content }) => content)));
  const tokenizer = new Tokenizer(
    description({ ...options, endToken, endTokenId, startToken, startTokenId, specialTokens }),
    {},
  );
  const toLowerCase = lowerCaseExcept(specialTokens.filter(({ normalized }) => normalized !== true));

  function encodeWhole(text: string): number[] {
    if (text.length > maximumCharacters)
      throw new OptionError(`a prompt may have ${maximumCharacters} characters, got one of ${text.length}`, {
        hint: `only its first ${maximumLength - 2} tokens would be used`,
      });
    return tokenizer.encode(toLowerCase(text)).ids;
  }

  function encodeOne(text: string): number[] {
    const ids = encodeWhole(text);
    return ids.length <= maximumLength ? ids : [...ids.slice(0, maximumLength - 1), endTokenId];
  }

  return {
    maximumLength,
    startTokenId,
    endTokenId,
    padTokenId,
    largestId: Math.max(...specialTokens.map(({ id }) => id), largest(Object.values(vocabulary))),
    lengthOf: (text) => encodeWhole(text).length,
    encode(texts) {
      const rows = new Int32Array(texts.length * maximumLength).fill(padTokenId);
      texts.forEach((text, row) => rows.set(encodeOne(text), row * maximumLength));
      return int32([texts.length, maximumLength], rows);
    },
  };
}

type DescriptionParts = Required<Pick<ClipTokenizerOptions, 'startToken' | 'endToken' | 'specialTokens'>> &
  Pick<ClipTokenizerOptions, 'vocabulary' | 'merges'> & { readonly startTokenId: number; readonly endTokenId: number };

/** The tokenizer in the words of a `tokenizer.json`. */
function description(parts: DescriptionParts): object {
  const { vocabulary, merges, startToken, endToken, startTokenId, endTokenId, specialTokens } = parts;
  return {
    added_tokens: specialTokens.map((token) => ({ single_word: false, normalized: false, ...token, special: true })),
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'NFC' },
        { type: 'Replace', pattern: { Regex: '\\s+' }, content: ' ' },
        { type: 'Lowercase' },
      ],
    },
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        { type: 'Split', pattern: { Regex: wordPattern }, behavior: 'Removed', invert: true },
        { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
      ],
    },
    post_processor: {
      type: 'RobertaProcessing',
      sep: [endToken, endTokenId],
      cls: [startToken, startTokenId],
      trim_offsets: false,
      add_prefix_space: false,
    },
    decoder: { type: 'ByteLevel' },
    model: {
      type: 'BPE',
      unk_token: endToken,
      continuing_subword_prefix: '',
      end_of_word_suffix: endOfWord,
      vocab: vocabulary,
      merges: merges.map((merge) => merge.split(' ')),
    },
  };
}

/**
 * Lower case character by character, as the original does: JavaScript's on a whole string writes a sigma at the end of a
 * word in its final form. Special tokens that are matched as they are keep their case.
 */
function lowerCaseExcept(tokens: readonly ClipSpecialToken[]): (text: string) => string {
  const kept = new Set(tokens.map(({ content }) => content));
  const alternatives = [...kept].map((content) => content.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&'));
  const pattern = new RegExp([...alternatives, '.'].join('|'), 'gsu');
  return (text) => text.replace(pattern, (match) => (kept.has(match) ? match : match.toLowerCase()));
}

function largest(numbers: readonly number[]): number {
  return numbers.reduce((a, b) => Math.max(a, b), 0);
}
