/** Size of a VQ-VAE (diffusers `VQModel`): options in the words of its `config.json`, and parameter names and shapes. */
import {
  describeValue,
  OptionError,
  parameterList,
  requireInteger,
  requireIntegers,
  requireObject,
  sizeLimits,
  type ParameterList,
  type SpecTree,
} from '@dimo/core';

/**
 * The `config.json` of a VQModel. Keys that do not change the numbers (`scaling_factor`, `sample_size`, `force_upcast`,
 * `_class_name`, ...) are allowed and ignored.
 */
export interface VqModelConfig {
  /** Channels of each level, from the full resolution down; multiples of `norm_num_groups`. */
  readonly block_out_channels: readonly number[];
  /** Residual blocks of each level of the encoder; the decoder has one more. @default 1 */
  readonly layers_per_block?: number;
  /** @default 3 */
  readonly in_channels?: number;
  /** @default 3 */
  readonly out_channels?: number;
  /** Channels before quantization. @default 3 */
  readonly latent_channels?: number;
  /** Number of codes. @default 256 */
  readonly num_vq_embeddings?: number;
  /** Width of a code vector. @default latent_channels */
  readonly vq_embed_dim?: number | null;
  /** @default 32 */
  readonly norm_num_groups?: number;
  /** Attention between the two middle blocks. @default true */
  readonly mid_block_add_attention?: boolean;
}

/** `VqModelConfig` with every default filled in. */
export type ResolvedVqModelConfig = {
  readonly [Key in keyof Required<VqModelConfig>]: NonNullable<VqModelConfig[Key]>;
};

/** Name of the codebook, float32 [K, vq_embed_dim]. */
export const codebookName = 'quantize.embedding.weight';

/**
 * Checks a configuration and fills in the defaults of diffusers.
 *
 * @throws OptionError for a value out of range, or a variant of the model that tokens cannot be decoded with.
 */
export function resolveVqModel(config: VqModelConfig, where = 'vqvae'): ResolvedVqModelConfig {
  const given = requireObject(config, where);
  const channels = requireIntegers(given['block_out_channels'], `${where}.block_out_channels`, []);
  if (channels.length === 0 || channels.length > 10)
    throw new OptionError(`${where}.block_out_channels must list 1 to 10 levels, got ${channels.length}`);
  const integer = (key: string, fallback: number, maximum?: number) =>
    requireInteger(given[key], `${where}.${key}`, 1, fallback, maximum);
  const groups = integer('norm_num_groups', 32);
  const odd = channels.find((count) => count % groups !== 0);
  if (odd !== undefined)
    throw new OptionError(`${where}.block_out_channels must be multiples of ${groups} (norm_num_groups), got ${odd}`);
  const latent = integer('latent_channels', 3);
  requireVariant(given, where);
  const attention = given['mid_block_add_attention'] ?? true;
  if (typeof attention !== 'boolean')
    throw new OptionError(`${where}.mid_block_add_attention must be true or false, got ${describeValue(attention)}`);
  return {
    block_out_channels: channels,
    layers_per_block: integer('layers_per_block', 1, sizeLimits.blocks),
    in_channels: integer('in_channels', 3),
    out_channels: integer('out_channels', 3),
    latent_channels: latent,
    num_vq_embeddings: integer('num_vq_embeddings', 256),
    vq_embed_dim: requireInteger(given['vq_embed_dim'] ?? latent, `${where}.vq_embed_dim`),
    norm_num_groups: groups,
    mid_block_add_attention: attention,
  };
}

/** Refuses the variants of the class that compute something else. */
function requireVariant(given: Readonly<Record<string, unknown>>, where: string): void {
  const fixed = { act_fn: 'silu', norm_type: 'group', lookup_from_codebook: true };
  for (const [key, expected] of Object.entries(fixed))
    if (given[key] !== undefined && given[key] !== expected)
      throw new OptionError(
        `${where}.${key} must be ${JSON.stringify(expected)}, got ${describeValue(given[key])}: other variants of VQModel are not supported`,
      );
  const blocks = { down_block_types: 'DownEncoderBlock2D', up_block_types: 'UpDecoderBlock2D' };
  for (const [key, expected] of Object.entries(blocks)) {
    const types = given[key] ?? [];
    const other = Array.isArray(types) ? types.find((type) => type !== expected) : types;
    if (other !== undefined)
      throw new OptionError(`${where}.${key} may only list "${expected}", got ${describeValue(other)}`);
  }
}

/** One resolution level of encoder or decoder. */
export interface VqModelLevel {
  /** Prefix of the parameter names. */
  readonly name: string;
  /** Channels into and out of each residual block. */
  readonly blocks: readonly { readonly inner: number; readonly out: number }[];
  /** Name of the convolution that halves or doubles the resolution afterwards; the last level has none. */
  readonly resample?: string;
}

/** Levels in the order of execution: the encoder's from the full resolution down, the decoder's back up. */
export function vqModelLevels(config: ResolvedVqModelConfig, side: 'encoder' | 'decoder'): VqModelLevel[] {
  const isEncoder = side === 'encoder';
  const channels = isEncoder ? config.block_out_channels : [...config.block_out_channels].reverse();
  const count = config.layers_per_block + (isEncoder ? 0 : 1);
  return channels.map((out, index) => {
    const name = `${side}.${isEncoder ? 'down' : 'up'}_blocks.${index}`;
    const inner = channels[Math.max(index - 1, 0)]!;
    return {
      name,
      blocks: Array.from({ length: count }, (_, j) => ({ inner: j === 0 ? inner : out, out })),
      ...(index < channels.length - 1
        ? { resample: `${name}.${isEncoder ? 'downsamplers' : 'upsamplers'}.0.conv` }
        : {}),
    };
  });
}

/** Every parameter under its name in the original state dict. */
export function vqModelParameters(config: ResolvedVqModelConfig): SpecTree {
  const { block_out_channels: channels, latent_channels: latent, vq_embed_dim: width } = config;
  const shallow = channels[0]!;
  const deep = channels[channels.length - 1]!;
  const list = parameterList();
  list.convolution('encoder.conv_in', shallow, config.in_channels, 3);
  for (const level of vqModelLevels(config, 'encoder')) addLevel(list, level);
  addMiddle(list, 'encoder', deep, config.mid_block_add_attention);
  list.norm('encoder.conv_norm_out', deep);
  list.convolution('encoder.conv_out', latent, deep, 3);
  list.convolution('quant_conv', width, latent, 1);
  list.tensor(codebookName, config.num_vq_embeddings, width);
  list.convolution('post_quant_conv', latent, width, 1);
  list.convolution('decoder.conv_in', deep, latent, 3);
  addMiddle(list, 'decoder', deep, config.mid_block_add_attention);
  for (const level of vqModelLevels(config, 'decoder')) addLevel(list, level);
  list.norm('decoder.conv_norm_out', shallow);
  list.convolution('decoder.conv_out', config.out_channels, shallow, 3);
  return list.specs;
}

function addLevel(list: ParameterList, { name, blocks, resample }: VqModelLevel): void {
  blocks.forEach(({ inner, out }, j) => addResidualBlock(list, `${name}.resnets.${j}`, inner, out));
  const out = blocks[blocks.length - 1]!.out;
  if (resample !== undefined) list.convolution(resample, out, out, 3);
}

function addMiddle(list: ParameterList, side: 'encoder' | 'decoder', channels: number, hasAttention: boolean): void {
  for (const j of [0, 1]) addResidualBlock(list, `${side}.mid_block.resnets.${j}`, channels, channels);
  if (!hasAttention) return;
  const name = `${side}.mid_block.attentions.0`;
  list.norm(`${name}.group_norm`, channels);
  for (const part of ['to_q', 'to_k', 'to_v', 'to_out.0']) list.linear(`${name}.${part}`, channels, channels);
}

function addResidualBlock(list: ParameterList, name: string, inner: number, out: number): void {
  list.norm(`${name}.norm1`, inner);
  list.convolution(`${name}.conv1`, out, inner, 3);
  list.norm(`${name}.norm2`, out);
  list.convolution(`${name}.conv2`, out, out, 3);
  if (inner !== out) list.convolution(`${name}.conv_shortcut`, out, inner, 1);
}
