/** Folders of Meissonic's public size, or of a tiny one, with random weights, in the layout of the release. */
import { float32, randomStream, sizeOf, writeSafetensors } from '@dimo/core';
import { clipTextEncoder, multimodalTransformer, transformerOfDiffusers, vqModel } from '@dimo/teacher-meissonic';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';

/** `config.json` of the released transformer. */
export const releasedConfig = {
  _class_name: 'Transformer2DModel',
  attention_head_dim: 128,
  axes_dims_rope: [16, 56, 56],
  codebook_size: 8192,
  downsample: true,
  joint_attention_dim: 1024,
  num_attention_heads: 8,
  num_layers: 14,
  num_single_layers: 28,
  pooled_projection_dim: 1024,
  upsample: true,
  vocab_size: 8256,
};

/** The same of one that has all of its parts and no size, to see that every line of a program runs. */
const tiny = {
  transformer: {
    ...releasedConfig,
    attention_head_dim: 16,
    axes_dims_rope: [4, 6, 6],
    codebook_size: 64,
    joint_attention_dim: 64,
    num_attention_heads: 4,
    num_layers: 1,
    num_single_layers: 1,
    pooled_projection_dim: 64,
    vocab_size: 128,
  },
  textEncoder: {
    hidden_size: 64,
    intermediate_size: 128,
    num_attention_heads: 4,
    num_hidden_layers: 1,
    projection_dim: 64,
  },
  vqvae: { block_out_channels: [32, 32, 32, 32, 32], latent_channels: 8, layers_per_block: 1, num_vq_embeddings: 64 },
};

/** Bytes after which a new shard begins. */
const shardBytes = 500e6;
/** Random numbers; tensors take windows of them, which is much faster than drawing every weight. */
const poolSize = 2 ** 21;

/** `config.json` of the text encoder, that of OpenCLIP ViT-H/14. */
const textEncoderConfig = {
  architectures: ['CLIPTextModelWithProjection'],
  eos_token_id: 49407,
  hidden_act: 'gelu',
  hidden_size: 1024,
  intermediate_size: 4096,
  max_position_embeddings: 77,
  num_attention_heads: 16,
  num_hidden_layers: 24,
  projection_dim: 1024,
  vocab_size: 49408,
};

/** `config.json` of the VQ-VAE, as diffusers' script for its family makes it. */
const vqvaeConfig = {
  _class_name: 'VQModel',
  block_out_channels: [128, 256, 256, 512, 768],
  latent_channels: 64,
  layers_per_block: 2,
  lookup_from_codebook: true,
  mid_block_add_attention: false,
  num_vq_embeddings: 8192,
};

/** Configurations by size. */
const sizes = {
  public: { transformer: releasedConfig, textEncoder: textEncoderConfig, vqvae: vqvaeConfig },
  tiny: {
    transformer: tiny.transformer,
    textEncoder: { ...textEncoderConfig, ...tiny.textEncoder },
    vqvae: { ...vqvaeConfig, ...tiny.vqvae },
  },
};

/**
 * Writes the transformer: config.json, shards and their index.
 *
 * @param {string} folder
 * @param {{ float: 'F16' | 'BF16' | 'F32', grid: number, size?: 'public' | 'tiny' }} options
 */
export function writeTransformer(folder, { float, grid, size = 'public' }) {
  const config = sizes[size].transformer;
  const { parameters } = multimodalTransformer(transformerOfDiffusers(config, { grid }));
  const part = { name: 'transformer', base: 'diffusion_pytorch_model', config, parameters };
  return writePart(folder, part, float);
}

/**
 * Writes a whole release: transformer, text encoder, VQ-VAE, scheduler and the tokenizer of CLIP.
 *
 * @param {string} folder
 * @param {{ float: 'F16' | 'BF16' | 'F32', grid: number, size?: 'public' | 'tiny' }} options
 */
export function writeRelease(folder, { float, grid, size = 'public' }) {
  const configs = sizes[size];
  const vqvae = vqModel(configs.vqvae, { grid: [grid, grid] });
  const encoder = clipTextEncoder(configs.textEncoder);
  const parts = [
    writeTransformer(folder, { float, grid, size }),
    writePart(
      folder,
      { name: 'vqvae', base: 'diffusion_pytorch_model', config: configs.vqvae, parameters: vqvae.parameters },
      float,
    ),
    writePart(
      folder,
      { name: 'text_encoder', base: 'model', config: configs.textEncoder, parameters: encoder.parameters },
      float,
    ),
  ];
  const write = (name, content) => {
    mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
    writeFileSync(path.join(folder, name), content);
  };
  write('model_index.json', '{}');
  write(
    'scheduler/scheduler_config.json',
    JSON.stringify({ mask_token_id: configs.transformer.vocab_size - 1, masking_schedule: 'cosine' }),
  );
  for (const name of ['vocab.json', 'merges.txt'])
    write(`tokenizer/${name}`, gunzipSync(readFileSync(new URL(`${name}.gz`, clipFixtures))));
  write('tokenizer/tokenizer_config.json', JSON.stringify({ model_max_length: 77 }));
  return { parameters: parts.reduce((sum, part) => sum + part.parameters, 0) };
}

const clipFixtures = new URL('../../tests/fixtures/clip/', import.meta.url);

/** @returns {{ parameters: number, files: number }} */
function writePart(folder, { name: partName, base, config, parameters }, float) {
  const target = path.join(folder, partName);
  mkdirSync(target, { recursive: true });
  writeFileSync(path.join(target, 'config.json'), JSON.stringify(config));
  const pool = randomStream(1, 0, 'bench/weights').normal(poolSize);
  const shards = [];
  let bytes = Infinity;
  for (const [name, { shape }] of Object.entries(parameters)) {
    if (bytes > shardBytes) {
      shards.push([]);
      bytes = 0;
    }
    shards.at(-1).push([name, shape]);
    bytes += sizeOf(shape) * (float === 'F32' ? 4 : 2);
  }
  const weightMap = {};
  let parameterCount = 0;
  let offset = 0;
  shards.forEach((entries, index) => {
    const number = (value) => String(value).padStart(5, '0');
    const file = `${base}-${number(index + 1)}-of-${number(shards.length)}.safetensors`;
    const tree = {};
    for (const [name, shape] of entries) {
      const data = new Float32Array(sizeOf(shape));
      // Norms near 1; matrices that keep the size of what they are given; small biases.
      const isNorm = shape.length === 1 && name.endsWith('weight');
      const deviation = shape.length === 1 ? 0.02 : 1 / Math.sqrt(sizeOf(shape.slice(1)));
      for (let i = 0; i < data.length; i++) data[i] = (isNorm ? 1 : 0) + deviation * pool[(offset + i) % poolSize];
      offset += 7919;
      parameterCount += data.length;
      tree[name] = float32(shape, data);
      weightMap[name] = file;
    }
    writeFileSync(path.join(target, file), writeSafetensors(tree, { float }));
  });
  writeFileSync(
    path.join(target, `${base}.safetensors.index.json`),
    JSON.stringify({ metadata: { total_size: parameterCount * (float === 'F32' ? 4 : 2) }, weight_map: weightMap }),
  );
  return { parameters: parameterCount, files: shards.length };
}
