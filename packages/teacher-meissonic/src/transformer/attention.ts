/** Queries, keys and values of the blocks. */
import { attention, rotaryEmbedding, type RotaryAngles, type TensorTree } from '@dimo/core';
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor3D } from '@tensorflow/tfjs-core';
import { dense, norm } from './layers.js';

/** Queries, keys and values, each float32 [batch, S, D]; the first two normalized within each head, not yet rotated. */
export interface Projections {
  readonly query: Tensor3D;
  readonly key: Tensor3D;
  readonly value: Tensor3D;
}

/** Names of the weights below a block's `attn`. */
export interface ProjectionNames {
  readonly query: string;
  readonly key: string;
  readonly value: string;
  readonly queryNorm: string;
  readonly keyNorm: string;
}

/** Of image tokens, and of single-stream blocks. */
export const imageNames: ProjectionNames = {
  query: 'to_q',
  key: 'to_k',
  value: 'to_v',
  queryNorm: 'norm_q',
  keyNorm: 'norm_k',
};

/** Of text tokens in joint blocks. */
export const textNames: ProjectionNames = {
  query: 'add_q_proj',
  key: 'add_k_proj',
  value: 'add_v_proj',
  queryNorm: 'norm_added_q',
  keyNorm: 'norm_added_k',
};

/** What all blocks of a pass share. */
export interface BlockContext {
  readonly weights: TensorTree;
  readonly numHeads: number;
  readonly angles: RotaryAngles;
}

/** Queries, keys and values of one stream. */
export function project(
  { weights, numHeads }: BlockContext,
  prefix: string,
  x: Tensor3D,
  names: ProjectionNames,
): Projections {
  const [batch, length, width] = x.shape;
  const perHead = (projection: string, normName: string): Tensor3D => {
    const heads = tf.reshape(dense(weights, `${prefix}.${projection}`, x), [-1, width / numHeads]);
    return tf.reshape(norm(weights, `${prefix}.${normName}`, heads), [batch, length, width]);
  };
  return {
    query: perHead(names.query, names.queryNorm),
    key: perHead(names.key, names.keyNorm),
    value: dense(weights, `${prefix}.${names.value}`, x),
  };
}

/** The streams one after the other along the sequence. */
export function joinProjections(first: Projections, second: Projections): Projections {
  const join = (a: Tensor3D, b: Tensor3D) => tf.concat([a, b], 1);
  return {
    query: join(first.query, second.query),
    key: join(first.key, second.key),
    value: join(first.value, second.value),
  };
}

/** Attention of all tokens to all tokens, with rotated queries and keys. Padding tokens of the text take part. */
export function rotaryAttention({ numHeads, angles }: BlockContext, { query, key, value }: Projections): Tensor3D {
  return attention(rotaryEmbedding(query, angles, numHeads), rotaryEmbedding(key, angles, numHeads), value, {
    numHeads,
  });
}
