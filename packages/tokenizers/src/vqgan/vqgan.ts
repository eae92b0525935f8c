/**
 * VQGAN (Esser et al., "Taming transformers for high-resolution image synthesis", 2021), the tokenizer of MaskGIT: same
 * parameter names, layouts and arithmetic as the Taming VQModel. The network's own range is [-1, 1].
 */
import {
  attention,
  convolution,
  groupNorm,
  initializeConvolutions,
  silu,
  upsampleNearest,
  type TensorTree,
} from '@dimo/core';
import * as tf from '@tensorflow/tfjs-core';
import type { Scalar, Tensor3D, Tensor4D } from '@tensorflow/tfjs-core';
import { createTokenizer, type Reconstruction, type Tokenizer } from '../tokenizer.js';
import {
  decoderLevels,
  encoderLevels,
  resolveVqgan,
  vqganParameters,
  type ResolvedVqganConfig,
  type VqganConfig,
  type VqganLevel,
} from './config.js';

const norm = { numGroups: 32, epsilon: 1e-6 };

/** A VQGAN. @throws OptionError for a wrong size. */
export function vqganTokenizer(options: VqganConfig): Tokenizer {
  const config = resolveVqgan(options);
  const { imageSize, ddconfig, n_embed, embed_dim } = config;
  const factor = 2 ** (ddconfig.ch_mult.length - 1);
  const parameters = vqganParameters(config);
  return createTokenizer({
    name: `vqgan-f${factor}`,
    parameters,
    imageShape: [...imageSize, ddconfig.out_ch],
    grid: [imageSize[0] / factor, imageSize[1] / factor],
    codebookSize: n_embed,
    codeWidth: embed_dim,
    encodeVectors: (weights, images) => encodeVectors(config, weights, tf.sub(tf.mul(images, 2), 1)),
    decodeVectors: (weights, vectors) => decodeVectors(config, weights, vectors),
    toImages: (raw) => tf.clipByValue(tf.add(tf.div(raw, 2), 0.5), 0, 1),
    reconstruction,
    initialize: (random) => initializeConvolutions(parameters, random),
  });
}

/** Vectors before quantization, float32 [batch, h, w, embed_dim], of images in [-1, 1]. */
function encodeVectors(config: ResolvedVqganConfig, weights: TensorTree, images: Tensor4D): Tensor4D {
  let x = convolution(weights, 'encoder.conv_in', images, { padding: 1 });
  for (const level of encoderLevels(config)) {
    x = blocks(weights, `encoder.down.${level.index}`, x, level);
    if (level.resamples) x = downsample(weights, `encoder.down.${level.index}.downsample.conv`, x);
  }
  x = silu(groupNorm(weights, 'encoder.norm_out', middle(weights, 'encoder', x), norm));
  x = convolution(weights, 'encoder.conv_out', x, { padding: 1 });
  return convolution(weights, 'quant_conv', x);
}

/** Images, nominally in [-1, 1] and not clipped, of code vectors on any grid. */
function decodeVectors(config: ResolvedVqganConfig, weights: TensorTree, vectors: Tensor4D): Tensor4D {
  let x = convolution(weights, 'post_quant_conv', vectors);
  x = middle(weights, 'decoder', convolution(weights, 'decoder.conv_in', x, { padding: 1 }));
  for (const level of decoderLevels(config)) {
    x = blocks(weights, `decoder.up.${level.index}`, x, level);
    if (level.resamples) {
      const name = `decoder.up.${level.index}.upsample.conv`;
      x = convolution(weights, name, upsampleNearest(x), { padding: 1 });
    }
  }
  x = silu(groupNorm(weights, 'decoder.norm_out', x, norm));
  return convolution(weights, 'decoder.conv_out', x, { padding: 1 });
}

function blocks(weights: TensorTree, name: string, input: Tensor4D, level: VqganLevel): Tensor4D {
  let x = input;
  for (let j = 0; j < level.blocks.length; j++) {
    x = residualBlock(weights, `${name}.block.${j}`, x);
    if (level.hasAttention) x = attentionBlock(weights, `${name}.attn.${j}`, x);
  }
  return x;
}

function middle(weights: TensorTree, side: 'encoder' | 'decoder', input: Tensor4D): Tensor4D {
  let x = residualBlock(weights, `${side}.mid.block_1`, input);
  x = attentionBlock(weights, `${side}.mid.attn_1`, x);
  return residualBlock(weights, `${side}.mid.block_2`, x);
}

function residualBlock(weights: TensorTree, name: string, x: Tensor4D): Tensor4D {
  let inner = silu(groupNorm(weights, `${name}.norm1`, x, norm));
  inner = convolution(weights, `${name}.conv1`, inner, { padding: 1 });
  inner = silu(groupNorm(weights, `${name}.norm2`, inner, norm));
  inner = convolution(weights, `${name}.conv2`, inner, { padding: 1 });
  const hasShortcut = `${name}.nin_shortcut.weight` in weights;
  return tf.add(hasShortcut ? convolution(weights, `${name}.nin_shortcut`, x) : x, inner);
}

/** One head over all positions, with a residual. */
function attentionBlock(weights: TensorTree, name: string, x: Tensor4D): Tensor4D {
  const [batch, height, width, channels] = x.shape;
  const normalized = groupNorm(weights, `${name}.norm`, x, norm);
  const [query, key, value] = ['q', 'k', 'v'].map((part) =>
    tf.reshape(convolution(weights, `${name}.${part}`, normalized), [batch, height * width, channels]),
  ) as [Tensor3D, Tensor3D, Tensor3D];
  const mixed: Tensor4D = tf.reshape(attention(query, key, value, { numHeads: 1 }), x.shape);
  return tf.add(x, convolution(weights, `${name}.proj_out`, mixed));
}

/** Zeros on the right and at the bottom only, then stride 2. */
function downsample(weights: TensorTree, name: string, x: Tensor4D): Tensor4D {
  const padded = tf.pad(x, [
    [0, 0],
    [0, 1],
    [0, 1],
    [0, 0],
  ]);
  return convolution(weights, name, padded, { stride: 2 });
}

/**
 * Mean absolute + mean squared difference in [-1, 1], means over all pixels. (The original adds perceptual and
 * adversarial terms, which need further networks.)
 */
function reconstruction(raw: Tensor4D, images: Tensor4D): Reconstruction {
  const difference = tf.sub(raw, tf.sub(tf.mul(images, 2), 1));
  const squared = tf.mean(tf.mul(difference, difference));
  const loss = tf.add(tf.mean(tf.abs(difference)), squared) as Scalar;
  const gradient: Tensor4D = tf.div(tf.add(tf.sign(difference), tf.mul(2, difference)), raw.size);
  return { loss, gradient, squaredError: tf.div(squared, 4) };
}
