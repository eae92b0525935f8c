import { describe, expect, it } from 'vitest';
import { DimoError } from '../errors.js';
import type { WeightSource } from './weight-source.js';
import { float32, int32, specsOf, type HostTree } from '../tensors/tensors.js';
import { halfFloatsOf } from './half-tensors.js';
import { readModelWeights, type ModelWeightsOptions } from './model-weights.js';
import { writeSafetensors } from './safetensors-write.js';
import { copyTree, treeDifference } from './weights.js';

const weights: HostTree = {
  'a.weight': float32([2, 2], [1, -2, 0.5, 65504]),
  'b.weight': float32([3], [0, 2 ** -24, -(2 ** -14)]),
  'c.bias': float32([1], [3]),
};
const model = { name: 'toy', parameters: specsOf(weights) };
const json = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
const pick = (...names: string[]): HostTree => Object.fromEntries(names.map((name) => [name, weights[name]!]));

/** A source in memory that reads in parts, and counts the files that are open. */
function sourceOf(files: Record<string, Uint8Array>): WeightSource & { readonly numOpen: () => number } {
  let numOpen = 0;
  const read = async (name: string): Promise<Uint8Array> => {
    if (!files[name]) throw new DimoError('io', `no ${name}`);
    return files[name];
  };
  return {
    location: 'release',
    list: async () => Object.keys(files),
    read,
    async open(name) {
      const bytes = await read(name);
      numOpen++;
      return {
        length: bytes.length,
        read: async (begin, end) => bytes.slice(begin, end),
        close: async () => void numOpen--,
      };
    },
    numOpen: () => numOpen,
  };
}

const read = (files: Record<string, Uint8Array>, options: Partial<ModelWeightsOptions> = {}) =>
  readModelWeights(sourceOf(files), { folder: 'net', base: 'model', model, ...options });

const index = (map: Record<string, unknown>) => json({ metadata: { total_size: 32 }, weight_map: map });
const shards = {
  'net/model-00001-of-00002.safetensors': writeSafetensors(pick('a.weight')),
  'net/model-00002-of-00002.safetensors': writeSafetensors(pick('b.weight', 'c.bias')),
  'net/model.safetensors.index.json': index({
    'a.weight': 'model-00001-of-00002.safetensors',
    'b.weight': 'model-00002-of-00002.safetensors',
    'c.bias': 'model-00002-of-00002.safetensors',
  }),
};

describe('readModelWeights', () => {
  it('reads one file, from sources that read in parts and from those that do not', async () => {
    const files = { 'net/model.safetensors': writeSafetensors(weights) };
    expect(treeDifference(await read(files), weights)).toBeUndefined();
    const { open: _, ...whole } = sourceOf(files);
    const found = await readModelWeights(whole, { folder: 'net', base: 'model', model });
    expect(treeDifference(found, weights)).toBeUndefined();
  });

  it('reads shards', async () => {
    expect(treeDifference(await read(shards), weights)).toBeUndefined();
  });

  it('reads from the root of a source, and a variant where there are no plain weights', async () => {
    const files = { 'model.fp16.safetensors': writeSafetensors(weights, { float: 'F16' }) };
    expect(treeDifference(await read(files, { folder: '' }), weights)).toBeUndefined();
    // The one with more digits of two that are known.
    const both = { ...files, 'model.bf16.safetensors': new Uint8Array() };
    expect(treeDifference(await read(both, { folder: '' }), weights)).toBeUndefined();
    const unknown = { 'model.ema.safetensors': new Uint8Array(), 'model.non_ema.safetensors': new Uint8Array() };
    await expect(read(unknown, { folder: '' })).rejects.toThrow(
      /several variants \(model\.ema\.safetensors, model\.non_ema\.safetensors\)/,
    );
  });

  it.each(['F16', 'BF16'] as const)('keeps %s in 16 bits when asked to', async (float) => {
    // BF16 has 8 bits of fraction: 65504 becomes 65536.
    const rounded = { ...weights, 'a.weight': float32([2, 2], [1, -2, 0.5, float === 'F16' ? 65504 : 65536]) };
    const files = { 'net/model.safetensors': writeSafetensors(weights, { float }) };
    const kept = await read(files, { keepHalf: true });
    for (const tensor of Object.values(kept)) expect(halfFloatsOf(tensor)?.format).toBe(float);
    expect(treeDifference(kept, rounded)).toBeUndefined();
    expect(treeDifference(await read(files), rounded)).toBeUndefined();
    // Copies are ordinary tensors: changed values must not come with the old bits.
    for (const tensor of [...Object.values(copyTree(kept)), { ...kept['c.bias']! }])
      expect(halfFloatsOf(tensor)).toBeUndefined();
    expect(treeDifference(copyTree(kept), rounded)).toBeUndefined();
  });

  it('finds NaN and infinity in 16 bits', async () => {
    const bad = { ...weights, 'c.bias': float32([1], [-Infinity]) };
    for (const float of ['F16', 'BF16'] as const) {
      const files = { 'net/model.safetensors': writeSafetensors(bad, { float, allowNonFinite: true }) };
      await expect(read(files, { keepHalf: true })).rejects.toThrow(/"c\.bias".* holds -Infinity at element 0/);
      expect((await read(files, { keepHalf: true, allowNonFinite: true }))['c.bias']!.data[0]).toBe(-Infinity);
    }
  });

  it('leaves out what it may ignore, and refuses any other tensor too many', async () => {
    const extra = { ...weights, position_ids: int32([2], [0, 1]) };
    const files = { 'net/model.safetensors': writeSafetensors(extra) };
    const found = await read(files, { lenient: true });
    expect(treeDifference(found, weights)).toBeUndefined();
    await expect(read(files)).rejects.toThrow(/extra: "position_ids"/);
  });

  it('closes all files, also when it fails', async () => {
    for (const files of [shards, { ...shards, 'net/model-00002-of-00002.safetensors': new Uint8Array(20) }]) {
      const source = sourceOf(files);
      await readModelWeights(source, { folder: 'net', base: 'model', model }).catch(() => {});
      expect(source.numOpen()).toBe(0);
    }
  });

  const without = (name: string) => Object.fromEntries(Object.entries(shards).filter(([file]) => file !== name));
  const cases: [string, Record<string, Uint8Array>, RegExp][] = [
    ['no file', { 'net/config.json': json({}) }, /expected the weights of toy in model\.safetensors or .*found config/],
    ['only a PyTorch file', { 'net/pytorch_model.bin': new Uint8Array(4) }, /found pytorch_model\.bin/],
    ['a missing shard', without('net/model-00001-of-00002.safetensors'), /1 of 2 files .* missing: net\/model-00001/],
    [
      'a tensor that the index does not list',
      {
        ...shards,
        'net/model.safetensors.index.json': index({
          'a.weight': 'model-00001-of-00002.safetensors',
          'b.weight': 'model-00002-of-00002.safetensors',
        }),
      },
      /holds "c\.bias", which the index does not list/,
    ],
    [
      'a shard that lacks a tensor',
      { ...shards, 'net/model-00002-of-00002.safetensors': writeSafetensors(pick('b.weight')) },
      /places "c\.bias" in net\/model-00002-of-00002\.safetensors, which lacks it/,
    ],
    [
      'a tensor in another shard',
      { ...shards, 'net/model-00001-of-00002.safetensors': writeSafetensors(pick('a.weight', 'c.bias')) },
      /holds "c\.bias", which the index places in net\/model-00002/,
    ],
    [
      'an index that leads away',
      { ...shards, 'net/model.safetensors.index.json': index({ 'a.weight': '../x.safetensors' }) },
      /must be in a \.safetensors file beside the index, got "\.\.\/x/,
    ],
    ['an empty index', { 'net/model.safetensors.index.json': json({}) }, /must hold a "weight_map"/],
    [
      'weights of another shape',
      { 'net/model.safetensors': writeSafetensors({ ...weights, 'c.bias': float32([2]) }) },
      /shape: "c\.bias" expected \[1\], got \[2\]/,
    ],
    ['a cut file', { 'net/model.safetensors': writeSafetensors(weights).slice(0, -4) }, /ends at|bytes/],
    ['an empty file', { 'net/model.safetensors': new Uint8Array() }, /the file is empty/],
  ];
  it.each(cases)('says what is wrong: %s', async (_, files, message) => {
    await expect(read(files)).rejects.toThrow(message);
  });
});
