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
    const patch = keysOf(defineTokenizer({}).config);
    const full = { ...network, resolution: 8, in_channels: 1, out_ch: 1 };
    const vqgan = keysOf(defineTokenizer({ kind: 'vqgan', embed_dim: 4, n_embed: 16, ddconfig: full }).config);
    expect(tokenizerConfigKeys.map(({ key }) => key).sort()).toEqual([...new Set([...patch, ...vqgan])].sort());
  });
});
