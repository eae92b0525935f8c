/**
 * Files of a CLIP tokenizer as transformers writes them: `vocab.json` and `merges.txt`, or both in `tokenizer.json`, and
 * `tokenizer_config.json`, `special_tokens_map.json`.
 */
import {
  describeValue,
  escapeText,
  OptionError,
  readJsonFile,
  readTextLines,
  requireInteger,
  requireObject,
  type PlainObject,
  type WeightSource,
} from '@dimo/core';
import { clipTokenizer, type ClipSpecialToken, type ClipTokenizer } from './tokenizer.js';

/** The vocabulary of CLIP has 0.8 MB; a longer file is of something else. */
const maximumBytes = 2 ** 26;

/**
 * Reads a tokenizer.
 *
 * The padding token is the one that transformers itself would use: that of `special_tokens_map.json` goes before that of
 * `tokenizer_config.json` unless the latter lists `added_tokens_decoder`. It matters: Meissonic reads all 77 positions.
 *
 * @param folder - where the files are in the source; empty for its root.
 * @throws OptionError for files that are missing, damaged or of another kind of tokenizer.
 */
export async function readClipTokenizer(source: WeightSource, folder = 'tokenizer'): Promise<ClipTokenizer> {
  const files = new Set(await source.list());
  const at = (name: string) => (folder === '' ? name : `${folder}/${name}`);
  const has = (name: string) => files.has(at(name));
  const where = (name: string) => escapeText(`${source.location}/${at(name)}`);
  const readObject = async (name: string): Promise<PlainObject> =>
    has(name) ? requireObject(await readJsonFile(source, at(name), { maximumBytes }), where(name)) : {};
  const config = await readObject('tokenizer_config.json');
  const map = await readObject('special_tokens_map.json');
  const parts = has('vocab.json')
    ? { vocabulary: await readObject('vocab.json'), merges: await readMerges(), where: where('vocab.json') }
    : await readTokenizerJson();

  async function readMerges(): Promise<string[]> {
    if (!has('merges.txt')) throw missing('merges.txt');
    return readMergeLines(source, at('merges.txt'));
  }

  async function readTokenizerJson() {
    if (!has('tokenizer.json')) throw missing('vocab.json');
    const place = where('tokenizer.json');
    const model = requireObject((await readObject('tokenizer.json'))['model'], `${place}: model`);
    const merges = model['merges'];
    if (!Array.isArray(merges)) throw new OptionError(`${place}: model.merges must be a list`);
    return {
      vocabulary: requireObject(model['vocab'], `${place}: model.vocab`),
      merges: merges.map((merge) => (Array.isArray(merge) ? merge.join(' ') : String(merge))),
      where: place,
    };
  }

  function missing(name: string): OptionError {
    return new OptionError(`${escapeText(source.location)}: the CLIP tokenizer has no ${at(name)}`, {
      path: source.location,
      hint: 'a tokenizer folder holds vocab.json and merges.txt, or tokenizer.json',
    });
  }

  const listsAddedTokens = config['added_tokens_decoder'] !== undefined;
  const named = (key: string): unknown => (listsAddedTokens ? (config[key] ?? map[key]) : (map[key] ?? config[key]));
  const tokens = { bos_token: 'startToken', eos_token: 'endToken', pad_token: 'padToken' } as const;
  const specialTokens = new Map<string, ClipSpecialToken>();
  const options: Partial<Record<'startToken' | 'endToken' | 'padToken', string>> = {};
  const vocabulary = requireVocabulary(parts.vocabulary, parts.where);
  const addToken = (token: ClipSpecialToken) => void specialTokens.set(token.content, token);
  for (const [id, entry] of Object.entries(addedTokens(config, where('tokenizer_config.json')))) {
    const token = parseToken(entry, `${where('tokenizer_config.json')}: added_tokens_decoder.${id}`);
    addToken({
      ...token,
      id: requireInteger(Number(id), `${where('tokenizer_config.json')}: added_tokens_decoder`, 0),
    });
  }
  for (const [key, option] of Object.entries(tokens)) {
    const value = named(key);
    if (value === undefined || value === null) continue;
    const token = parseToken(value, `${escapeText(source.location)}/${folder}: ${key}`);
    options[option] = token.content;
    const id = Object.hasOwn(vocabulary, token.content) ? vocabulary[token.content] : undefined;
    if (id !== undefined && !specialTokens.has(token.content)) addToken({ ...token, id });
  }
  const length = config['model_max_length'];
  return clipTokenizer({
    vocabulary,
    merges: parts.merges,
    ...options,
    specialTokens: [...specialTokens.values()],
    // transformers writes 1e30 where no length is known.
    ...(typeof length === 'number' && length <= 10_000 ? { maximumLength: length } : {}),
  });
}

/** The merges of a `merges.txt`. @throws OptionError if it is too long or no UTF-8 */
export async function readMergeLines(source: WeightSource, name: string): Promise<string[]> {
  const lines = await readTextLines(source, name, { maximumBytes });
  return lines.filter((line, index) => line !== '' && !(index === 0 && line.startsWith('#version')));
}

function addedTokens(config: PlainObject, where: string): PlainObject {
  return config['added_tokens_decoder'] === undefined
    ? {}
    : requireObject(config['added_tokens_decoder'], `${where}: added_tokens_decoder`);
}

/** A token as transformers writes it: its text alone, or its text and flags. */
function parseToken(value: unknown, where: string): Omit<ClipSpecialToken, 'id'> {
  if (typeof value === 'string') return { content: value };
  const { content, normalized, lstrip, rstrip } = requireObject(value, where);
  if (typeof content !== 'string')
    throw new OptionError(`${where}.content must be a text, got ${describeValue(content)}`);
  return { content, normalized: normalized === true, lstrip: lstrip === true, rstrip: rstrip === true };
}

function requireVocabulary(vocabulary: PlainObject, where: string): Record<string, number> {
  for (const [token, id] of Object.entries(vocabulary))
    requireInteger(id, `${where}: the id of ${describeValue(token)}`, 0);
  return vocabulary as Record<string, number>;
}
