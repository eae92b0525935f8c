/** Nearest code of every vector (van den Oord et al., "Neural discrete representation learning", 2017). */
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor1D, Tensor2D } from '@tensorflow/tfjs-core';
import { matrixProduct } from '../ops/linear.js';

/**
 * Index of the nearest row of the codebook in squared Euclidean distance, the first one of equals.
 *
 * @param vectors - float32 [N, D].
 * @param codebook - float32 [K, D].
 * @returns int32 [N]. No gradient.
 */
export function nearestCodes(vectors: Tensor2D, codebook: Tensor2D): Tensor1D {
  // |v|^2 is the same for every code and left out.
  const squares = tf.sum(tf.mul(codebook, codebook), 1);
  const products = matrixProduct(vectors, codebook, false, true);
  return tf.cast(tf.argMin(tf.sub(squares, tf.mul(products, 2)), 1), 'int32');
}
