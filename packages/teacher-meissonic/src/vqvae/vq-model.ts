/**
 * The VQ-VAE of Meissonic (diffusers `VQModel`): same parameter names, layouts and arithmetic as the original. Its images
 * are in [0, 1], not in [-1, 1].
 */
import {
  attention,
  convolution,
  embedding,
  groupNorm,
  initializeConvolutions,
  linear,
  nearestCodes,
  OptionError,
  silu,
  upsampleNearest,
  type HostTree,
  type RandomStream,
  type TensorTree,
  type TokenDecoder,
} from '@dimo/core';
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor2D, Tensor3D, Tensor4D } from '@tensorflow/tfjs-core';
import {
  codebookName,
  resolveVqModel,
  vqModelLevels,
  vqModelParameters,
  type ResolvedVqModelConfig,
  type VqModelConfig,
  type VqModelLevel,
} from './config.js';

/**
 * Called with intermediate results under the names of the original's modules (`decoder.mid_block`), to compare with
 * another implementation.
 */
export type ActivationObserver = (name: string, activation: Tensor4D) => void;

/** A `TokenDecoder` that also encodes, with its parts. All functions are pure and differentiable in the weights. */
export interface VqModel extends TokenDecoder {
  /** Complete, as in `config.json`. */
  readonly config: ResolvedVqModelConfig;
  /** Vectors before quantization, float32 [batch, h, w, vq_embed_dim], of images float32 [batch, H, W, C] in [0, 1]. */
  encodeVectors(weights: TensorTree, images: Tensor4D, observe?: ActivationObserver): Tensor4D;
  /** Images, nominally in [0, 1] and not clipped, of code vectors [batch, h, w, vq_embed_dim] on any grid. */
  decodeVectors(weights: TensorTree, vectors: Tensor4D, observe?: ActivationObserver): Tensor4D;
  encode(weights: TensorTree, images: Tensor4D): Tensor2D;
  /** First weights, PyTorch's defaults. */
  initialize(random: RandomStream): HostTree;
}

/** What `vqModel` needs beside the network's size. */
export interface VqModelOptions {
  /** Rows and columns of the tokens; 1024 pixels are 64 of them in the public release. */
  readonly grid: readonly [rows: number, columns: number];
}

/** A VQ-VAE for one grid of tokens. @throws OptionError for a wrong size. */
export function vqModel(config: VqModelConfig, { grid }: VqModelOptions): VqModel {
  const resolved = resolveVqModel(config);
  if (!grid.every((length) => Number.isInteger(length) && length > 0))
    throw new OptionError(`vqvae.grid must be two positive integers, got [${grid.join(', ')}]`);
  const factor = 2 ** (resolved.block_out_channels.length - 1);
  const parameters = vqModelParameters(resolved);
  const width = resolved.vq_embed_dim;
  const model: VqModel = {
    name: `vqvae-f${factor}`,
    config: resolved,
    parameters,
    imageShape: [grid[0] * factor, grid[1] * factor, resolved.out_channels],
    grid,
    codebookSize: resolved.num_vq_embeddings,
    encodeVectors: (weights, images, observe) => encodeVectors(networkOf(resolved, weights, observe), images),
    decodeVectors: (weights, vectors, observe) => decodeVectors(networkOf(resolved, weights, observe), vectors),
    decode(weights, tokens) {
      const vectors = embedding<Tensor3D>(weights[codebookName]!, tokens);
      const onGrid: Tensor4D = tf.reshape(vectors, [tokens.shape[0], ...grid, width]);
      return tf.clipByValue(model.decodeVectors(weights, onGrid), 0, 1);
    },
    encode(weights, images) {
      const vectors = model.encodeVectors(weights, images);
      const codes = nearestCodes(tf.reshape(vectors, [-1, width]), weights[codebookName] as Tensor2D);
      return tf.reshape(codes, [images.shape[0], -1]);
    },
    initialize: (random) => initializeConvolutions(parameters, random),
  };
  return model;
}

function encodeVectors(network: Network, images: Tensor4D): Tensor4D {
  const { config, conv } = network;
  let x = conv('encoder.conv_in', images, 1);
  for (const level of vqModelLevels(config, 'encoder'))
    x = network.level(level, x, (name, input) => conv(name, padBottomRight(input), 0, 2));
  x = network.normalized('encoder.conv_norm_out', network.middle('encoder', x));
  return conv('quant_conv', conv('encoder.conv_out', x, 1));
}

function decodeVectors(network: Network, vectors: Tensor4D): Tensor4D {
  const { config, conv } = network;
  let x = network.middle('decoder', conv('decoder.conv_in', conv('post_quant_conv', vectors), 1));
  for (const level of vqModelLevels(config, 'decoder'))
    x = network.level(level, x, (name, input) => conv(name, upsampleNearest(input), 1));
  return conv('decoder.conv_out', network.normalized('decoder.conv_norm_out', x), 1);
}

/** The parts that encoder and decoder share. */
function networkOf(config: ResolvedVqModelConfig, weights: TensorTree, observe: ActivationObserver = () => {}) {
  const norm = { numGroups: config.norm_num_groups, epsilon: 1e-6 };
  const observed = (name: string, activation: Tensor4D): Tensor4D => {
    observe(name, activation);
    return activation;
  };

  function conv(name: string, x: Tensor4D, padding = 0, stride = 1): Tensor4D {
    return observed(name, convolution(weights, name, x, { padding, stride }));
  }

  function normalized(name: string, x: Tensor4D): Tensor4D {
    return silu(observed(name, groupNorm(weights, name, x, norm)));
  }

  function residualBlock(name: string, x: Tensor4D): Tensor4D {
    let inner = conv(`${name}.conv1`, normalized(`${name}.norm1`, x), 1);
    inner = conv(`${name}.conv2`, normalized(`${name}.norm2`, inner), 1);
    const hasShortcut = `${name}.conv_shortcut.weight` in weights;
    return tf.add(hasShortcut ? conv(`${name}.conv_shortcut`, x) : x, inner);
  }

  /** One head over all positions, with a residual. */
  function attentionBlock(name: string, x: Tensor4D): Tensor4D {
    const [batch, height, width, channels] = x.shape;
    const rows: Tensor3D = tf.reshape(groupNorm(weights, `${name}.group_norm`, x, norm), [
      batch,
      height * width,
      channels,
    ]);
    const dense = (part: string, input: Tensor3D) =>
      linear(input, weights[`${name}.${part}.weight`]!, weights[`${name}.${part}.bias`]!);
    const mixed = attention(dense('to_q', rows), dense('to_k', rows), dense('to_v', rows), { numHeads: 1 });
    return tf.add(x, tf.reshape(dense('to_out.0', mixed), x.shape));
  }

  return {
    config,
    conv,
    /** Group normalization and SiLU. */
    normalized,
    /** Residual blocks, then a change of resolution except at the last level. */
    level(
      { name, blocks, resample }: VqModelLevel,
      input: Tensor4D,
      changeResolution: (name: string, x: Tensor4D) => Tensor4D,
    ): Tensor4D {
      const x = blocks.reduce((block, _, j) => residualBlock(`${name}.resnets.${j}`, block), input);
      return observed(name, resample === undefined ? x : changeResolution(resample, x));
    },
    middle(side: 'encoder' | 'decoder', input: Tensor4D): Tensor4D {
      const name = `${side}.mid_block`;
      const first = residualBlock(`${name}.resnets.0`, input);
      const between = config.mid_block_add_attention ? attentionBlock(`${name}.attentions.0`, first) : first;
      return observed(name, residualBlock(`${name}.resnets.1`, between));
    },
  };
}

type Network = ReturnType<typeof networkOf>;

/** One row and one column of zeros, at the bottom and on the right only. */
function padBottomRight(x: Tensor4D): Tensor4D {
  return tf.pad(x, [
    [0, 0],
    [0, 1],
    [0, 1],
    [0, 0],
  ]);
}
