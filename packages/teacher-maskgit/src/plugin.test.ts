import {
  OptionError,
  randomStream,
  sizeOf,
  treeDifference,
  WeightError,
  type SpecTree,
  type Teacher,
  type WeightSource,
} from '@dimo/core';
import { defineTokenizer, readTokenizer, tokenizerFiles } from '@dimo/tokenizers';
import { describe, expect, it } from 'vitest';
import { defineMaskgit, imagenet256Config, maskgitPlugin, maskgitTeacher, teacherFiles } from './index.js';

const config = {
  transformer: { hidden: 8, depth: 1, heads: 2, mlp: 8 },
  tokenizer: { kind: 'patch-vq', imageShape: [8, 8, 1], codebookSize: 4, encoderWidth: 4, decoderWidth: 16 },
  classNames: ['cat', 'dog', '7'],
  sampler: { numSteps: 4, guidanceScale: 2 },
};

function folder(files: Record<string, Uint8Array>): WeightSource {
  return {
    location: 'somewhere',
    list: async () => Object.keys(files),
    read: async (name) => files[name]!,
  };
}

function madeTeacher(): Teacher {
  const definition = defineMaskgit(config);
  return {
    ...definition,
    weights: definition.model.initialize(randomStream(1, 0, 'model')),
    decoderWeights: definition.decoder!.initialize(randomStream(1, 0, 'decoder')),
  };
}

it('completes a configuration: given names of classes stay, the tokenizer is that of the tokens', () => {
  const data = { classNames: ['a', 'b'], tokenizer: { kind: 'patch-vq' } };
  expect(maskgitTeacher.completeConfig!({}, data)).toEqual(data);
  expect(maskgitTeacher.completeConfig!({ classNames: ['c'], tokenizer: { kind: 'vqgan' } }, data)).toEqual({
    classNames: ['c'],
    tokenizer: { kind: 'patch-vq' },
  });
  expect(maskgitTeacher.completeConfig!({ classNames: ['c'] }, {})).toEqual({ classNames: ['c'] });
});

describe('defineMaskgit', () => {
  it('takes token space and classes from the tokenizer and the names', () => {
    const { model, decoder, nullCondition, conditions } = defineMaskgit(config);
    expect(model.tokenSpace).toEqual({ codebookSize: 4, numLogits: 5, maskTokenId: 4, grid: [2, 2] });
    expect(decoder?.imageShape).toEqual([8, 8, 1]);
    expect(nullCondition['label']!.data[0]).toBe(3);
    expect(conditions.classNames).toEqual(['cat', 'dog', '7']);
  });

  it('makes the same teacher again from the config it reports', () => {
    const first = defineMaskgit(config);
    const plain = JSON.parse(JSON.stringify(first.config)) as Record<string, unknown>;
    const second = defineMaskgit(plain);
    expect(second.config).toEqual(first.config);
    expect(second.model.parameters).toEqual(first.model.parameters);
  });

  it('has defaults for 28 x 28 gray images', () => {
    const { model, decoder } = defineMaskgit();
    expect(model.name).toBe('maskgit-h96-d4');
    expect(decoder?.grid).toEqual([7, 7]);
    expect(model.tokenSpace.codebookSize).toBe(64);
  });

  it('has the published numbers of parameters for ImageNet', () => {
    const { model, decoder } = defineMaskgit(imagenet256Config);
    const count = (specs: SpecTree) => Object.values(specs).reduce((sum, { shape }) => sum + sizeOf(shape), 0);
    expect(count(model.parameters)).toBe(174_160_874);
    expect(count(decoder!.parameters)).toBe(72_141_699);
    expect(Object.keys(decoder!.parameters).length).toBe(343);
    expect(decoder!.grid).toEqual([16, 16]);
  });

  it.each([
    [{ tokenizer: { kind: 'patch' } }, /tokenizer.kind must be/],
    [{ tokenizer: { kind: 'patch-vq', codes: 3 } }, /no option "codes"/],
    [{ tokenizer: { kind: 'patch-vq', imageShape: [30, 28, 1] } }, /multiples of 4/],
    [{ tokenizer: { kind: 'vqgan', embed_dim: 4, n_embed: 8 } }, /ddconfig must be an object/],
    [{ transformer: { codebookSize: 5 } }, /must be the tokenizer's 64/],
    [{ transformer: { grid: 8 } }, /must be the tokenizer's \[7, 7\]/],
    [{ transformer: { numClasses: 4 }, classNames: ['a'] }, /must name 4 classes/],
    [{ sampler: { numSteps: 0 } }, /numSteps/],
    [{ sampler: { steps: 3 } }, /sampler: unknown "steps"/],
    [{ wieghts: 1 }, /no option "wieghts"/],
    [{ transformer: [] }, /must be an object/],
  ])('refuses %j', (wrong, message) => {
    expect(() => defineMaskgit(wrong)).toThrow(OptionError);
    expect(() => defineMaskgit(wrong)).toThrow(message);
  });
});

describe('class conditions', () => {
  const { conditions } = defineMaskgit(config);
  it('parses names and ids, names first', async () => {
    const { label } = await conditions.parse(['Dog', ' 0', '7', '2']);
    expect(Array.from(label!.data)).toEqual([1, 0, 2, 2]);
  });
  it.each(['3', '-1', 'bird', '', '1.0', '99999999999'])('refuses %j', (text) => {
    expect(() => conditions.parse(['cat', text])).toThrow(/from 0 to 2 or one of cat, dog, 7/);
  });
  it('draws every class', async () => {
    const { label } = await conditions.sample(randomStream(1, 0, 'labels'), 300);
    const counts = [0, 1, 2].map((id) => label!.data.filter((x) => x === id).length);
    expect(Math.min(...counts)).toBeGreaterThan(60); // expected 100, standard deviation 8
    expect(counts.reduce((a, b) => a + b)).toBe(300);
  });
});

describe('files', () => {
  it('are read back bit for bit', async () => {
    const teacher = madeTeacher();
    const files = teacherFiles(teacher);
    expect(Object.keys(files)).toEqual(['config.json', 'transformer.safetensors', 'tokenizer.safetensors']);
    const loaded = await maskgitTeacher.load({}, folder(files));
    expect(loaded.config).toEqual(JSON.parse(JSON.stringify(teacher.config)));
    expect(treeDifference(loaded.weights, teacher.weights)).toBeUndefined();
    expect(treeDifference(loaded.decoderWeights!, teacher.decoderWeights!)).toBeUndefined();
    const tokenizer = await readTokenizer(folder(files));
    expect(treeDifference(tokenizer.weights, teacher.decoderWeights!)).toBeUndefined();
  });

  it('of a tokenizer are read back, in half precision too', async () => {
    const { tokenizer, config: tokenizerConfig } = defineTokenizer(config.tokenizer);
    const weights = tokenizer.initialize(randomStream(1, 0, 'decoder'));
    const files = tokenizerFiles({ config: tokenizerConfig, weights }, { float: 'F16' });
    const loaded = await readTokenizer(folder(files));
    expect(loaded.tokenizer.codebookSize).toBe(4);
    const codes = weights['quantize.embedding.weight']!.data;
    loaded.weights['quantize.embedding.weight']!.data.forEach((x, i) => expect(x).toBeCloseTo(codes[i]!, 3));
  });

  it('are refused if a weight file is missing or of another size', async () => {
    const files = teacherFiles(madeTeacher());
    const { 'tokenizer.safetensors': _, ...incomplete } = files;
    await expect(maskgitTeacher.load({}, folder(incomplete))).rejects.toThrow(
      /tokenizer.safetensors or in one .ckpt file, found config.json/,
    );
    const wider = { ...config.transformer, mlp: 16, numClasses: 3 };
    await expect(maskgitTeacher.load({ transformer: wider }, folder(files))).rejects.toThrow(WeightError);
    await expect(maskgitTeacher.load({}, folder({ ...files, 'config.json': new Uint8Array([0x7b]) }))).rejects.toThrow(
      /config.json: is not JSON/,
    );
  });
});

it('is a plugin with the teacher maskgit', () => {
  expect(maskgitPlugin.teachers?.map(({ name }) => name)).toEqual(['maskgit']);
});
