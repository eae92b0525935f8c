/** Prompts to ids, against transformers' CLIPTokenizer on the public CLIP vocabulary. Ids are exact. */
import { DimoError, type WeightSource } from '@dimo/core';
import { clipTokenizer, readClipTokenizer } from '@dimo/teacher-meissonic';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { fixtures, loadJson } from './fixtures.js';

interface Case {
  readonly text: string;
  readonly ids: readonly number[];
  readonly ids_pad_bang_quirk?: readonly number[];
}

const { cases } = loadJson<{ readonly cases: readonly Case[] }>('clip', 'tokenizer_cases.json');
const unzip = (name: string) => gunzipSync(readFileSync(join(fixtures, 'clip', name)));
const bytes = { 'vocab.json': unzip('vocab.json.gz'), 'merges.txt': unzip('merges.txt.gz') };
const end = { content: '<|endoftext|>', lstrip: false, normalized: true, rstrip: false, single_word: false };
const start = { ...end, content: '<|startoftext|>' };

/** A tokenizer folder with these JSON files beside vocabulary and merges. */
function sourceOf(json: Record<string, unknown>, files: Record<string, Uint8Array> = bytes): WeightSource {
  const content = new Map(Object.entries(files));
  for (const [name, value] of Object.entries(json)) content.set(name, new TextEncoder().encode(JSON.stringify(value)));
  return {
    location: 'release',
    list: async () => [...content.keys()].map((name) => `tokenizer/${name}`),
    async read(name) {
      const found = content.get(name.slice('tokenizer/'.length));
      if (!found) throw new DimoError('io', `no ${name}`);
      return found;
    },
  };
}

const plain = { bos_token: start, eos_token: end, unk_token: end, pad_token: '<|endoftext|>', model_max_length: 77 };

describe('CLIP tokenizer', async () => {
  const tokenizer = await readClipTokenizer(sourceOf({ 'tokenizer_config.json': plain }));
  const bang = await readClipTokenizer(
    sourceOf({ 'tokenizer_config.json': plain, 'special_tokens_map.json': { ...plain, pad_token: '!' } }),
  );

  it('finds fixtures', () => expect(cases.length).toBeGreaterThan(60));

  it.each(cases.map(({ text, ids }) => [text.slice(0, 60), text, ids] as const))('%j', (_, text, ids) => {
    const encoded = tokenizer.encode([text]);
    expect(encoded.shape).toEqual([1, 77]);
    expect([...encoded.data]).toEqual(ids);
  });

  const quirks = cases.filter(({ ids_pad_bang_quirk }) => ids_pad_bang_quirk !== undefined);
  it.each(quirks.map(({ text, ids_pad_bang_quirk }) => [text.slice(0, 60), text, ids_pad_bang_quirk!] as const))(
    'with "!" as the padding token: %j',
    (_, text, ids) => expect([...bang.encode([text]).data]).toEqual(ids),
  );

  it('encodes several texts as rows', () => {
    const texts = cases.slice(0, 5).map(({ text }) => text);
    expect([...tokenizer.encode(texts).data]).toEqual(cases.slice(0, 5).flatMap(({ ids }) => ids));
  });

  it('knows its special ids', () => {
    expect(tokenizer).toMatchObject({ startTokenId: 49406, endTokenId: 49407, padTokenId: 49407, largestId: 49407 });
    expect(bang.padTokenId).toBe(0);
  });

  it('takes the padding token of tokenizer_config.json when that lists its added tokens', async () => {
    const listed = { ...plain, added_tokens_decoder: { 49406: start, 49407: end } };
    const source = sourceOf({ 'tokenizer_config.json': listed, 'special_tokens_map.json': { pad_token: '!' } });
    expect((await readClipTokenizer(source)).padTokenId).toBe(49407);
  });

  it('reads tokenizer.json where there is no vocab.json', async () => {
    const text = new TextDecoder().decode(bytes['merges.txt']);
    const merges = text.split('\n').filter((line) => line !== '' && !line.startsWith('#version'));
    const model = { vocab: JSON.parse(new TextDecoder().decode(bytes['vocab.json'])) as object, merges };
    const other = await readClipTokenizer(
      sourceOf({ 'tokenizer.json': { model }, 'tokenizer_config.json': plain }, {}),
    );
    expect([...other.encode(['a photo of a cat']).data.subarray(0, 7)]).toEqual([
      49406, 320, 1125, 539, 320, 2368, 49407,
    ]);
  });

  it('answers long words within the limit, and refuses beyond it', () => {
    expect(tokenizer.encode(['ab'.repeat(5000)]).data[76]).toBe(49407);
    expect(() => tokenizer.encode(['fine', 'x'.repeat(10_001)])).toThrow(/10000 characters, got one of 10001/);
  });

  it('names what is missing or wrong', async () => {
    const { 'vocab.json': vocabulary } = bytes;
    await expect(readClipTokenizer(sourceOf({}, {}))).rejects.toThrow(/has no tokenizer\/vocab\.json/);
    await expect(readClipTokenizer(sourceOf({}, { 'vocab.json': vocabulary }))).rejects.toThrow(/merges\.txt/);
    await expect(readClipTokenizer(sourceOf({}, { ...bytes, 'vocab.json': bytes['merges.txt'] }))).rejects.toThrow(
      /vocab\.json: is not JSON/,
    );
    await expect(readClipTokenizer(sourceOf({ 'special_tokens_map.json': { pad_token: '[PAD]' } }))).rejects.toThrow(
      /padding token "\[PAD\]" is not in the vocabulary/,
    );
    expect(() =>
      clipTokenizer({ vocabulary: { a: 0, '<|startoftext|>': 1, '<|endoftext|>': 2 }, merges: ['a b'] }),
    ).toThrow(/merge "a b"/);
  });
});
