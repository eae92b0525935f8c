/** Dropout from given uniforms, and attention with dropout on its probabilities. */
import { matrixProduct, sizeOf, type ModelInputs, type SpecTree } from '@dimo/core';
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor, Tensor3D, Tensor4D } from '@tensorflow/tfjs-core';
import type { ResolvedMaskTransformerConfig } from './config.js';

/** The `dropout` of `ModelInputs`. */
export type Dropout = NonNullable<ModelInputs['dropout']>;

/** Where the original drops out in training, with the shape of the uniforms (without batch axis). */
export function transformerDropoutSites(config: ResolvedMaskTransformerConfig): SpecTree {
  const { hidden, depth, heads, mlp, grid } = config;
  const length = grid[0] * grid[1] + 1;
  const site = (...shape: number[]) => ({ dtype: 'float32', shape }) as const;
  const sites: Record<string, ReturnType<typeof site>> = {
    'first_layer.1': site(length, hidden),
    'first_layer.5': site(length, hidden),
  };
  for (let block = 0; block < depth; block++) {
    sites[`transformer.layers.${block}.0.fn.mha`] = site(heads, length, length);
    sites[`transformer.layers.${block}.1.fn.net.2`] = site(length, mlp);
    sites[`transformer.layers.${block}.1.fn.net.4`] = site(length, hidden);
  }
  // The class position does not reach the logits, so the last layer runs on the others only.
  sites['last_layer.1'] = site(length - 1, hidden);
  return sites;
}

/** x, with each element kept with probability 1 - rate and then divided by it; x itself without dropout. */
export function applyDropout<T extends Tensor>(x: T, site: string, dropout: Dropout | undefined): T {
  if (!dropout) return x;
  const { rate, uniforms } = dropout;
  const kept = tf.cast(tf.greaterEqual(uniforms[site]!, rate), 'float32');
  const factor = tf.mul(kept, 1 / (1 - rate));
  return tf.mul(x, factor.size === sizeOf(x.shape) ? tf.reshape(factor, x.shape) : factor);
}

/** softmax(q k^T / sqrt(d)) v with dropout on the probabilities; float32 [batch, S, width]. */
export function attentionWithDropout(
  parts: readonly [query: Tensor3D, key: Tensor3D, value: Tensor3D],
  numHeads: number,
  site: string,
  dropout: Dropout,
): Tensor3D {
  const [batch, length, width] = parts[0].shape;
  const [query, key, value] = parts.map((x) =>
    tf.transpose(tf.reshape(x, [batch, length, numHeads, width / numHeads]), [0, 2, 1, 3]),
  ) as [Tensor4D, Tensor4D, Tensor4D]; // [batch, heads, S, d]
  const scores = matrixProduct(tf.mul(query, Math.sqrt(numHeads / width)), key, false, true);
  const probabilities = applyDropout(tf.softmax(scores, -1), site, dropout);
  return tf.reshape(tf.transpose(matrixProduct(probabilities, value), [0, 2, 1, 3]), [batch, length, width]);
}
