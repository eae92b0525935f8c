/** What every tokenizer here is made of: an encoder to code vectors, a codebook, a decoder from code vectors. */
import {
  embedding,
  nearestCodes,
  type HostTree,
  type RandomStream,
  type TensorTree,
  type TokenDecoder,
} from '@dimo/core';
import * as tf from '@tensorflow/tfjs-core';
import type { Scalar, Tensor2D, Tensor3D, Tensor4D } from '@tensorflow/tfjs-core';

/** Name of the codebook, float32 [K, codeWidth], in the weights of every tokenizer. */
export const codebookName = 'quantize.embedding.weight';

/** Loss of a reconstruction, and its gradient with respect to the decoder's raw output. */
export interface Reconstruction {
  /** Mean over the batch. */
  readonly loss: Scalar;
  readonly gradient: Tensor4D;
  /** Mean of the squared differences of images in [0, 1], not clipped. */
  readonly squaredError: Scalar;
}

/** The parts of a tokenizer; all functions are pure and, but for `reconstruction`, differentiable in the weights. */
export interface TokenizerParts extends Omit<TokenDecoder, 'decode' | 'encode'> {
  /** Length of a code vector. */
  readonly codeWidth: number;
  /** Code vectors float32 [batch, rows, columns, codeWidth] of images float32 [batch, H, W, C] in [0, 1]. */
  encodeVectors(weights: TensorTree, images: Tensor4D): Tensor4D;
  /** The network's own output of code vectors, before it is brought to [0, 1]. Works on any grid. */
  decodeVectors(weights: TensorTree, vectors: Tensor4D): Tensor4D;
  /** Images in [0, 1] of the network's own output. */
  toImages(raw: Tensor4D): Tensor4D;
  /** What training minimizes. */
  reconstruction(raw: Tensor4D, images: Tensor4D): Reconstruction;
  /** First weights. */
  initialize(random: RandomStream): HostTree;
}

/** A token decoder that also encodes and can be trained. */
export interface Tokenizer extends TokenizerParts, TokenDecoder {
  encode(weights: TensorTree, images: Tensor4D): Tensor2D;
}

/** Adds encoding to tokens and decoding from them. */
export function createTokenizer(parts: TokenizerParts): Tokenizer {
  const { grid, codeWidth } = parts;
  return {
    ...parts,
    decode(weights, tokens) {
      const vectors = embedding<Tensor3D>(weights[codebookName]!, tokens); // [batch, L, codeWidth]
      const onGrid: Tensor4D = tf.reshape(vectors, [tokens.shape[0], ...grid, codeWidth]);
      return parts.toImages(parts.decodeVectors(weights, onGrid));
    },
    encode(weights, images) {
      const vectors = parts.encodeVectors(weights, images);
      const codes = nearestCodes(tf.reshape(vectors, [-1, codeWidth]), weights[codebookName] as Tensor2D);
      return tf.reshape(codes, [images.shape[0], -1]);
    },
  };
}
