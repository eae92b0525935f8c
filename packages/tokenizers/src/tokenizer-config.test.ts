import { randomStream } from '@dimo/core';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor4D } from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { tokenizerConfigKeys } from './config-keys.js';
import { defineTokenizer, tokenizerConfigFor } from './any-tokenizer.js';

const network = { ch: 32, ch_mult: [1, 2], num_res_blocks: 1, attn_resolutions: [], z_channels: 8 };

describe('the configuration of a tokenizer', () => {
  it('is that of patch-VQ unless it names another kind', () => {
    expect(defineTokenizer({ codebookSize: 32 }).config).toEqual({
      kind: 'patch-vq',
      imageShape: [28, 28, 1],
      codebookSize: 32,
      codeWidth: 8,
      encoderWidth: 48,
      decoderWidth: 64,
    });
  });

  it('takes sizes from the images of the dataset unless they are set', () => {
    const shape = [32, 48, 3] as const;
    const patch = (config: object) => defineTokenizer(tokenizerConfigFor({ ...config }, shape)).tokenizer.imageShape;
    expect(patch({})).toEqual([32, 48, 3]);
    expect(patch({ imageShape: [8, 8, 1] })).toEqual([8, 8, 1]);
    const vqgan = { kind: 'vqgan', embed_dim: 4, n_embed: 16, ddconfig: network };
    const { tokenizer, config } = defineTokenizer(tokenizerConfigFor(vqgan, shape));
    expect(tokenizer.imageShape).toEqual([32, 48, 3]);
    expect(config['ddconfig']).toMatchObject({ resolution: 48, in_channels: 3, out_ch: 3 });
    const set = tokenizerConfigFor({ ...vqgan, imageSize: 16, ddconfig: { ...network, resolution: 64 } }, shape);
    expect(defineTokenizer(set).config).toMatchObject({ imageSize: [16, 16], ddconfig: { resolution: 64 } });
  });

  it('has a token for each patch, of the size that is asked for', () => {
    const { tokenizer, config } = defineTokenizer({ imageShape: [32, 48, 3], patchSize: 16, decoderWidth: 64 });
    expect(tokenizer.grid).toEqual([2, 3]);
    expect(config['patchSize']).toBe(16);
    const weights = tokenizer.initialize(randomStream(0, 0, 'weights'));
    const images = tf.zeros([2, 32, 48, 3]) as Tensor4D;
    const given = Object.fromEntries(
      Object.entries(weights).map(([name, { data, shape }]) => [name, tf.tensor(data.slice(), [...shape])]),
    );
    const tokens = tokenizer.encode(given, images);
    expect(tokens.shape).toEqual([2, 6]);
    expect(tokenizer.decode(given, tokens).shape).toEqual([2, 32, 48, 3]);
    expect(() => defineTokenizer({ imageShape: [32, 40, 3], patchSize: 16 })).toThrow(/multiples of 16/);
    expect(() => defineTokenizer({ imageShape: [32, 32, 3], patchSize: 6 })).toThrow(/4, 8, 16, got 6/);
    expect(() => defineTokenizer({ imageShape: [32, 32, 3], patchSize: 8, decoderWidth: 48 })).toThrow(/of 32, got 48/);
  });

  it('keeps a kind that is not known for the message', () => {
    expect(() => defineTokenizer(tokenizerConfigFor({ kind: 'vqgam' }, [8, 8, 1]))).toThrow(/got "vqgam"/);
  });
});

/** Keys of a configuration with its sections' keys. */
function keysOf(value: unknown, path = ''): string[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return [path];
  return Object.entries(value).flatMap(([key, child]) => keysOf(child, path === '' ? key : `${path}.${key}`));
}

describe('the described keys', () => {
  it('are those of the tokenizers', () => {
    const patch = keysOf(defineTokenizer({ patchSize: 8, imageShape: [16, 16, 1] }).config);
    const full = { ...network, resolution: 8, in_channels: 1, out_ch: 1 };
    const vqgan = keysOf(defineTokenizer({ kind: 'vqgan', embed_dim: 4, n_embed: 16, ddconfig: full }).config);
    expect(tokenizerConfigKeys.map(({ key }) => key).sort()).toEqual([...new Set([...patch, ...vqgan])].sort());
  });
});
