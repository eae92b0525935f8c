/**
 * Patch-VQ: a small tokenizer whose encoder sees each patch, of 4x4 pixels or more, on its own. Its tokens say what is in their patch and
 * nothing else, which makes them far easier to predict than those of overlapping encoders. For images such as MNIST's.
 */
import {
  convolution,
  describeValue,
  doublingConvolution,
  groupNorm,
  initializeConvolutions,
  OptionError,
  parameterList,
  refuseUnknownKeys,
  requireGrid,
  requireInteger,
  requireIntegers,
  requireObject,
  silu,
  type TensorTree,
} from '@dimo/core';
import * as tf from '@tensorflow/tfjs-core';
import type { Scalar, Tensor, Tensor4D } from '@tensorflow/tfjs-core';
import { codebookName, createTokenizer, type Reconstruction, type Tokenizer } from './tokenizer.js';

/** Size of a patch-VQ tokenizer. */
export interface PatchVqConfig {
  /** Height and width, multiples of the patch size, and channels. @default [28, 28, 1] */
  readonly imageShape?: readonly [height: number, width: number, channels: number];
  /** Side of a patch, 4, 8 or 16. @default 4 */
  readonly patchSize?: number;
  /** K. @default 64 */
  readonly codebookSize?: number;
  /** Length of a code vector. @default 8 */
  readonly codeWidth?: number;
  /** Channels of the encoder. @default 48 */
  readonly encoderWidth?: number;
  /** Channels of the decoder, a multiple of 4 times the patch size. @default 64 */
  readonly decoderWidth?: number;
}

const patchSizes: readonly number[] = [4, 8, 16];
const standardPatchSize = 4;
const norm = { numGroups: 8, epsilon: 1e-5 };
const knownKeys = ['kind', 'imageShape', 'patchSize', 'codebookSize', 'codeWidth', 'encoderWidth', 'decoderWidth'];

/** `PatchVqConfig` with defaults filled in; `patchSize` is absent where it is the standard one. */
export type ResolvedPatchVqConfig = Required<Omit<PatchVqConfig, 'patchSize'>> & Pick<PatchVqConfig, 'patchSize'>;

/** Checks a configuration and fills in defaults. @throws OptionError */
export function resolvePatchVq(config: PatchVqConfig, where = 'tokenizer'): ResolvedPatchVqConfig {
  const given = requireObject(config, where);
  refuseUnknownKeys(given, knownKeys, where);
  const imageShape = requireIntegers(given['imageShape'], `${where}.imageShape`, [28, 28, 1]);
  const [height = 0, width = 0, channels = 0] = imageShape;
  const patchSize = given['patchSize'] ?? standardPatchSize;
  if (typeof patchSize !== 'number' || !patchSizes.includes(patchSize))
    throw new OptionError(
      `${where}.patchSize must be one of ${patchSizes.join(', ')}, got ${describeValue(patchSize)}`,
    );
  if (imageShape.length !== 3 || height % patchSize !== 0 || width % patchSize !== 0)
    throw new OptionError(
      `${where}.imageShape must be [height, width, channels] with multiples of ${patchSize}, got [${imageShape.join(', ')}]`,
    );
  requireGrid([height / patchSize, width / patchSize], `${where}: the grid of imageShape`);
  const integer = (key: string, fallback: number) => requireInteger(given[key], `${where}.${key}`, 1, fallback);
  const resolved = {
    imageShape: [height, width, channels] as const,
    // Descriptions of tokenizers with patches of the standard size do not name it.
    ...(patchSize === standardPatchSize ? {} : { patchSize }),
    codebookSize: integer('codebookSize', 64),
    codeWidth: integer('codeWidth', 8),
    encoderWidth: integer('encoderWidth', 48),
    decoderWidth: integer('decoderWidth', 64),
  };
  if (resolved.decoderWidth % (4 * patchSize) !== 0)
    throw new OptionError(`${where}.decoderWidth must be a multiple of ${4 * patchSize}, got ${resolved.decoderWidth}`);
  return resolved;
}

/** A patch-VQ tokenizer. @throws OptionError for a wrong size. */
export function patchVqTokenizer(options: PatchVqConfig = {}): Tokenizer {
  const config = resolvePatchVq(options);
  const { imageShape, patchSize = standardPatchSize, codebookSize, codeWidth, encoderWidth, decoderWidth } = config;
  const numDoublings = Math.log2(patchSize);
  const list = parameterList();
  list.convolution('encoder.patch', encoderWidth, imageShape[2], patchSize);
  list.convolution('encoder.mix', encoderWidth, encoderWidth, 1);
  list.convolution('encoder.out', codeWidth, encoderWidth, 1);
  list.tensor(codebookName, codebookSize, codeWidth);
  list.convolution('decoder.conv_in', decoderWidth, codeWidth, 3);
  for (const index of [1, 2]) {
    list.norm(`decoder.block.norm${index}`, decoderWidth);
    list.convolution(`decoder.block.conv${index}`, decoderWidth, decoderWidth, index === 1 ? 3 : 1);
  }
  list.norm('decoder.norm_out', decoderWidth);
  for (let up = 1; up <= numDoublings; up++)
    list.transposedConvolution(
      `decoder.up${up}`,
      up === numDoublings ? imageShape[2] : decoderWidth / 2 ** up,
      decoderWidth / 2 ** (up - 1),
      4,
    );

  return createTokenizer({
    name: 'patch-vq',
    parameters: list.specs,
    imageShape,
    grid: [imageShape[0] / patchSize, imageShape[1] / patchSize],
    codebookSize,
    codeWidth,
    encodeVectors(weights, images) {
      let x = silu(convolution(weights, 'encoder.patch', images, { stride: patchSize }));
      x = silu(convolution(weights, 'encoder.mix', x));
      return convolution(weights, 'encoder.out', x);
    },
    decodeVectors: (weights, vectors) => decodeVectors(weights, vectors, numDoublings),
    toImages: (raw) => tf.sigmoid(raw),
    reconstruction: binaryReconstruction,
    initialize: (random) => initializeConvolutions(list.specs, random),
  });
}

/** Logits of the pixels, float32 [batch, H, W, C]. */
function decodeVectors(weights: TensorTree, vectors: Tensor4D, numDoublings: number): Tensor4D {
  let x = convolution(weights, 'decoder.conv_in', vectors, { padding: 1 });
  let inner = silu(groupNorm(weights, 'decoder.block.norm1', x, norm));
  inner = convolution(weights, 'decoder.block.conv1', inner, { padding: 1 });
  inner = silu(groupNorm(weights, 'decoder.block.norm2', inner, norm));
  x = tf.add(x, convolution(weights, 'decoder.block.conv2', inner));
  x = silu(groupNorm(weights, 'decoder.norm_out', x, norm));
  for (let up = 1; up < numDoublings; up++) x = silu(doublingConvolution(weights, `decoder.up${up}`, x));
  return doublingConvolution(weights, `decoder.up${numDoublings}`, x);
}

/**
 * Binary cross-entropy + 2 * squared error, means over all pixels, with p = sigmoid(z):
 * d/dz = (p - x) + 4 (p - x) p (1 - p), divided by the number of pixels.
 */
function binaryReconstruction(raw: Tensor4D, images: Tensor4D): Reconstruction {
  const p = tf.sigmoid(raw);
  const difference = tf.sub(p, images);
  const squaredError = tf.mean(tf.mul(difference, difference)) as Scalar;
  // max(z, 0) - z x + log(1 + exp(-|z|))
  const entropy: Tensor = tf.add(
    tf.sub(tf.relu(raw), tf.mul(raw, images)),
    tf.log(tf.add(1, tf.exp(tf.neg(tf.abs(raw))))),
  );
  const slope = tf.add(1, tf.mul(4, tf.mul(p, tf.sub(1, p))));
  return {
    loss: tf.add(tf.mean(entropy), tf.mul(2, squaredError)) as Scalar,
    gradient: tf.div(tf.mul(difference, slope), raw.size),
    squaredError,
  };
}
