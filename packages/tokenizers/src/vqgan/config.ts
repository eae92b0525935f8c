/** Size of a VQGAN (Taming VQModel): options in the words of its published `model.yaml`, and parameter names and shapes. */
import {
  describeValue,
  OptionError,
  parameterList,
  refuseUnknownKeys,
  requireGrid,
  requireInteger,
  requireIntegers,
  requireNumber,
  requireObject,
  requirePair,
  sizeLimits,
  type ParameterList,
  type SpecTree,
} from '@dimo/core';
import { codebookName } from '../tokenizer.js';

/** Size of a Taming VQModel. */
export interface VqganConfig {
  /** Width of the code vectors. */
  readonly embed_dim: number;
  /** Number of codes. */
  readonly n_embed: number;
  readonly ddconfig: VqganNetworkConfig;
  /** Height and width of the images, n for [n, n]; multiples of 2^(levels - 1). @default ddconfig.resolution */
  readonly imageSize?: number | readonly [height: number, width: number];
}

/** The `ddconfig` of a VQModel: widths and depths of encoder and decoder. Every width is a multiple of 32. */
export interface VqganNetworkConfig {
  /** Channels of the first level. */
  readonly ch: number;
  /** Channels of each level, as a multiple of `ch`. */
  readonly ch_mult: readonly number[];
  readonly num_res_blocks: number;
  /** Levels with attention, by their nominal resolution. */
  readonly attn_resolutions: readonly number[];
  /** Nominal image size; the placement of attention depends on it, the real size does not. */
  readonly resolution: number;
  readonly z_channels: number;
  readonly in_channels: number;
  readonly out_ch: number;
  /** @default false */
  readonly double_z?: boolean;
  /** Only recorded: dropout is not used here. @default 0 */
  readonly dropout?: number;
}

/** `VqganConfig` with every default filled in. */
export interface ResolvedVqganConfig {
  readonly embed_dim: number;
  readonly n_embed: number;
  readonly ddconfig: Required<VqganNetworkConfig>;
  readonly imageSize: readonly [height: number, width: number];
}

/** Checks a configuration and fills in defaults. @throws OptionError */
export function resolveVqgan(config: VqganConfig, where = 'tokenizer'): ResolvedVqganConfig {
  const given = requireObject(config, where);
  refuseUnknownKeys(given, ['kind', 'embed_dim', 'n_embed', 'ddconfig', 'imageSize'], where);
  const ddconfig = resolveNetwork(requireObject(given['ddconfig'], `${where}.ddconfig`), `${where}.ddconfig`);
  const imageSize = requirePair(given['imageSize'] ?? ddconfig.resolution, `${where}.imageSize`);
  const factor = 2 ** (ddconfig.ch_mult.length - 1);
  requireGrid([Math.ceil(imageSize[0] / factor), Math.ceil(imageSize[1] / factor)], `${where}: the grid of imageSize`);
  if (imageSize.some((length) => length % factor !== 0))
    throw new OptionError(`${where}.imageSize must be multiples of ${factor}, got ${describeValue(imageSize)}`);
  return {
    embed_dim: requireInteger(given['embed_dim'], `${where}.embed_dim`),
    n_embed: requireInteger(given['n_embed'], `${where}.n_embed`),
    ddconfig,
    imageSize,
  };
}

function resolveNetwork(given: Readonly<Record<string, unknown>>, where: string): Required<VqganNetworkConfig> {
  const integers = ['ch', 'num_res_blocks', 'resolution', 'z_channels', 'in_channels', 'out_ch'] as const;
  const lists = ['ch_mult', 'attn_resolutions'] as const;
  refuseUnknownKeys(given, [...integers, ...lists, 'double_z', 'dropout'], where);
  const numbers = Object.fromEntries(
    integers.map((key) => [
      key,
      requireInteger(
        given[key],
        `${where}.${key}`,
        1,
        undefined,
        key === 'num_res_blocks' ? sizeLimits.blocks : undefined,
      ),
    ]),
  ) as Record<(typeof integers)[number], number>;
  const ch_mult = requireIntegers(given['ch_mult'], `${where}.ch_mult`, []);
  if (ch_mult.length === 0 || ch_mult.length > 10)
    throw new OptionError(`${where}.ch_mult must list 1 to 10 levels, got ${ch_mult.length}`);
  const odd = ch_mult.find((multiple) => (multiple * numbers.ch) % 32 !== 0);
  if (odd !== undefined || numbers.ch % 32 !== 0)
    throw new OptionError(`${where}.ch times each entry of ch_mult must be a multiple of 32, got ch ${numbers.ch}`);
  const double_z = given['double_z'] ?? false;
  if (typeof double_z !== 'boolean')
    throw new OptionError(`${where}.double_z must be true or false, got ${describeValue(double_z)}`);
  return {
    ...numbers,
    ch_mult,
    attn_resolutions: requireIntegers(given['attn_resolutions'], `${where}.attn_resolutions`, []),
    double_z,
    dropout: requireNumber(given['dropout'], `${where}.dropout`, 0, 1),
  };
}

/** One resolution level of encoder or decoder. */
export interface VqganLevel {
  /** Index in the parameter names; 0 is the full resolution. */
  readonly index: number;
  /** Channels in and out of each residual block, in the order of execution. */
  readonly blocks: readonly { readonly inner: number; readonly out: number }[];
  readonly hasAttention: boolean;
  /** The encoder halves after all levels but the last; the decoder doubles after all but level 0. */
  readonly resamples: boolean;
}

/** Levels of the encoder, in the order of execution. */
export function encoderLevels({ ddconfig }: ResolvedVqganConfig): VqganLevel[] {
  const { ch, ch_mult, num_res_blocks, attn_resolutions, resolution } = ddconfig;
  return ch_mult.map((multiple, index) => {
    const out = ch * multiple;
    const inner = ch * (index === 0 ? 1 : ch_mult[index - 1]!);
    return {
      index,
      blocks: Array.from({ length: num_res_blocks }, (_, j) => ({ inner: j === 0 ? inner : out, out })),
      hasAttention: attn_resolutions.includes(Math.floor(resolution / 2 ** index)),
      resamples: index < ch_mult.length - 1,
    };
  });
}

/** Levels of the decoder, in the order of execution: from the coarsest down to 0. */
export function decoderLevels({ ddconfig }: ResolvedVqganConfig): VqganLevel[] {
  const { ch, ch_mult, num_res_blocks, attn_resolutions, resolution } = ddconfig;
  // The nominal resolution of the coarsest level is halved with rounding down at once, as in the original.
  const coarsest = Math.floor(resolution / 2 ** (ch_mult.length - 1));
  return ch_mult
    .map((multiple, index) => {
      const out = ch * multiple;
      const inner = ch * (ch_mult[index + 1] ?? multiple);
      return {
        index,
        blocks: Array.from({ length: num_res_blocks + 1 }, (_, j) => ({ inner: j === 0 ? inner : out, out })),
        hasAttention: attn_resolutions.includes(coarsest * 2 ** (ch_mult.length - 1 - index)),
        resamples: index > 0,
      };
    })
    .reverse();
}

/** Every parameter under its name in the original state dict (without the `loss.*` entries of a training checkpoint). */
export function vqganParameters(config: ResolvedVqganConfig): SpecTree {
  const { embed_dim, n_embed, ddconfig } = config;
  const { ch, ch_mult, z_channels, in_channels, out_ch, double_z } = ddconfig;
  const deepest = ch * ch_mult[ch_mult.length - 1]!;
  const latent = double_z ? 2 * z_channels : z_channels;
  const list = parameterList();
  list.convolution('encoder.conv_in', ch, in_channels, 3);
  for (const level of encoderLevels(config)) addLevel(list, `encoder.down.${level.index}`, level, 'downsample');
  addMiddle(list, 'encoder', deepest);
  list.convolution('encoder.conv_out', latent, deepest, 3);
  list.convolution('quant_conv', embed_dim, latent, 1);
  list.tensor(codebookName, n_embed, embed_dim);
  list.convolution('post_quant_conv', z_channels, embed_dim, 1);
  list.convolution('decoder.conv_in', deepest, z_channels, 3);
  addMiddle(list, 'decoder', ch, deepest);
  for (const level of decoderLevels(config)) addLevel(list, `decoder.up.${level.index}`, level, 'upsample');
  list.convolution('decoder.conv_out', out_ch, ch, 3);
  return list.specs;
}

function addLevel(list: ParameterList, name: string, level: VqganLevel, resample: 'downsample' | 'upsample'): void {
  level.blocks.forEach(({ inner, out }, j) => {
    addResidualBlock(list, `${name}.block.${j}`, inner, out);
    if (level.hasAttention) addAttention(list, `${name}.attn.${j}`, out);
  });
  const out = level.blocks[level.blocks.length - 1]!.out;
  if (level.resamples) list.convolution(`${name}.${resample}.conv`, out, out, 3);
}

/** Middle blocks and the norm before the last convolution. */
function addMiddle(list: ParameterList, side: 'encoder' | 'decoder', last: number, middle = last): void {
  addResidualBlock(list, `${side}.mid.block_1`, middle, middle);
  addAttention(list, `${side}.mid.attn_1`, middle);
  addResidualBlock(list, `${side}.mid.block_2`, middle, middle);
  list.norm(`${side}.norm_out`, last);
}

function addResidualBlock(list: ParameterList, name: string, inner: number, out: number): void {
  list.norm(`${name}.norm1`, inner);
  list.convolution(`${name}.conv1`, out, inner, 3);
  list.norm(`${name}.norm2`, out);
  list.convolution(`${name}.conv2`, out, out, 3);
  if (inner !== out) list.convolution(`${name}.nin_shortcut`, out, inner, 1);
}

function addAttention(list: ParameterList, name: string, channels: number): void {
  list.norm(`${name}.norm`, channels);
  for (const part of ['q', 'k', 'v', 'proj_out']) list.convolution(`${name}.${part}`, channels, channels, 1);
}
