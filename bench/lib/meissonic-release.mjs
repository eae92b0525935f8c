/** A transformer folder of Meissonic's public size with random weights, in the layout of the release. */
import { float32, randomStream, sizeOf, writeSafetensors } from '@dimo/core';
import { multimodalTransformer, transformerOfDiffusers } from '@dimo/teacher-meissonic';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';

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

/** Bytes after which a new shard begins. */
const shardBytes = 500e6;
/** Random numbers; tensors take windows of them, which is much faster than drawing every weight. */
const poolSize = 2 ** 21;

/**
 * Writes config.json, shards and their index.
 *
 * @param {string} folder @param {{ float: 'F16' | 'BF16' | 'F32', grid: number }} options
 * @returns {{ parameters: number, files: number }}
 */
export function writeTransformer(folder, { float, grid }) {
  const target = path.join(folder, 'transformer');
  mkdirSync(target, { recursive: true });
  writeFileSync(path.join(target, 'config.json'), JSON.stringify(releasedConfig));
  const { parameters } = multimodalTransformer(transformerOfDiffusers(releasedConfig, { grid }));
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
    const file = `diffusion_pytorch_model-${number(index + 1)}-of-${number(shards.length)}.safetensors`;
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
    path.join(target, 'diffusion_pytorch_model.safetensors.index.json'),
    JSON.stringify({ metadata: { total_size: parameterCount * (float === 'F32' ? 4 : 2) }, weight_map: weightMap }),
  );
  return { parameters: parameterCount, files: shards.length };
}
