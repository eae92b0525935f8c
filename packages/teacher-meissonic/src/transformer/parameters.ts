/** Parameters of a Meissonic transformer under their names in the diffusers state dict, and first values. */
import { float32, parameterList, sizeOf, type HostTree, type RandomStream, type SpecTree } from '@dimo/core';
import { widthOf, type ResolvedTransformerConfig } from './config.js';
import { numMicroConditions, sinusoidWidth } from './sinusoids.js';

/** Parameters that Di[M]O keeps fixed by default: token embedding and prediction head. */
export const embeddingParameters = [
  'embed.embeddings.weight',
  'embed.layer_norm.weight',
  'embed.conv.weight',
  'mlm_layer.conv1.weight',
  'mlm_layer.layer_norm.weight',
  'mlm_layer.conv2.weight',
] as const;

/** Every parameter. Linear weights are [out, in], convolutions [out, in, height, width], the transposed one [in, out, ...]. */
export function transformerParameters(config: ResolvedTransformerConfig): SpecTree {
  const { codebookSize, vocabularySize, headWidth, jointBlocks, singleBlocks, textWidth, downsample } = config;
  const width = widthOf(config);
  const { specs, tensor, linear } = parameterList();
  const weight = (name: string, ...shape: number[]) => tensor(`${name}.weight`, ...shape);

  weight('embed.embeddings', vocabularySize, width);
  weight('embed.layer_norm', width);
  weight('embed.conv', width, width, 1, 1);
  weight('cond_embed.linear_1', width, width + numMicroConditions * sinusoidWidth);
  weight('cond_embed.linear_2', width, width);
  linear('context_embedder', width, textWidth);
  weight('encoder_proj_layer_norm', width);
  linear('time_text_embed.timestep_embedder.linear_1', width, sinusoidWidth);
  linear('time_text_embed.timestep_embedder.linear_2', width, width);
  linear('time_text_embed.text_embedder.linear_1', width, width);
  linear('time_text_embed.text_embedder.linear_2', width, width);
  if (downsample) {
    weight('down_block.downsample.norm', width);
    weight('down_block.downsample.conv', width, width, 2, 2);
  }
  weight('project_to_hidden_norm', width);
  weight('project_to_hidden', width, width);
  for (let block = 0; block < jointBlocks; block++) {
    const prefix = `transformer_blocks.${block}`;
    for (const name of ['norm1', 'norm1_context']) linear(`${prefix}.${name}.linear`, 6 * width, width);
    for (const name of ['to_q', 'to_k', 'to_v', 'add_q_proj', 'add_k_proj', 'add_v_proj', 'to_out.0', 'to_add_out'])
      linear(`${prefix}.attn.${name}`, width, width);
    for (const name of ['norm_q', 'norm_k', 'norm_added_q', 'norm_added_k'])
      weight(`${prefix}.attn.${name}`, headWidth);
    for (const name of ['ff', 'ff_context']) {
      linear(`${prefix}.${name}.net.0.proj`, 4 * width, width);
      linear(`${prefix}.${name}.net.2`, width, 4 * width);
    }
  }
  for (let block = 0; block < singleBlocks; block++) {
    const prefix = `single_transformer_blocks.${block}`;
    linear(`${prefix}.norm.linear`, 3 * width, width);
    for (const name of ['to_q', 'to_k', 'to_v']) linear(`${prefix}.attn.${name}`, width, width);
    for (const name of ['norm_q', 'norm_k']) weight(`${prefix}.attn.${name}`, headWidth);
    linear(`${prefix}.proj_mlp`, 4 * width, width);
    linear(`${prefix}.proj_out`, width, 5 * width);
  }
  weight('project_from_hidden_norm', width);
  weight('project_from_hidden', width, width);
  if (downsample) {
    weight('up_block.upsample.norm', width);
    weight('up_block.upsample.conv', width, width, 2, 2);
  }
  weight('mlm_layer.conv1', width, width, 1, 1);
  weight('mlm_layer.layer_norm', width);
  weight('mlm_layer.conv2', codebookSize, width, 1, 1);
  return specs;
}

/**
 * First weights: token embeddings N(0, 1), norms 1, linear maps and convolutions uniform in +-1/sqrt(fan-in), biases 0,
 * and modulations 0, so that every block begins as the identity (adaLN-Zero, Peebles and Xie, arXiv 2212.09748).
 */
export function initializeTransformer(config: ResolvedTransformerConfig, random: RandomStream): HostTree {
  const values = (name: string, shape: readonly number[]): Float32Array => {
    const size = sizeOf(shape);
    if (name.endsWith('.bias') || isModulation(name)) return new Float32Array(size);
    if (shape.length === 1) return new Float32Array(size).fill(1);
    const stream = random.fork(name);
    if (name === 'embed.embeddings.weight') return stream.normal(size);
    const bound = 1 / Math.sqrt(sizeOf(shape.slice(1)));
    return stream.uniform(size).map((value) => (2 * value - 1) * bound);
  };
  return Object.fromEntries(
    Object.entries(transformerParameters(config)).map(([name, { shape }]) => [
      name,
      float32(shape, values(name, shape)),
    ]),
  );
}

function isModulation(name: string): boolean {
  return /\.(norm1|norm1_context|norm)\.linear\.weight$/.test(name);
}
