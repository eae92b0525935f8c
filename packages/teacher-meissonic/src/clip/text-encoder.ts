/**
 * The text encoder of CLIP (Radford et al., arXiv 2103.00020) as in transformers' `CLIPTextModelWithProjection`: same
 * parameter names, layouts and arithmetic.
 */
import { attention, embedding, gelu, layerNorm, linear, type SpecTree, type TensorTree } from '@dimo/core';
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor1D, Tensor2D, Tensor3D } from '@tensorflow/tfjs-core';
import {
  clipTextParameters,
  layerName,
  resolveClipText,
  type ClipTextConfig,
  type ResolvedClipTextConfig,
} from './text-config.js';

/** What Meissonic takes from a text. */
export interface EncodedText {
  /** float32 [batch, length, hidden_size]: output of the last layer but one, without the final norm. */
  readonly textStates: Tensor3D;
  /** float32 [batch, projection_dim]: final norm at the end-of-text position, projected; not normalized. */
  readonly pooledText: Tensor2D;
}

/** Called with intermediate results: `hidden_states.<k>` (0 the embeddings, k the output of layer k), `last_hidden_state`. */
export type TextObserver = (name: string, activation: Tensor3D) => void;

/** A text encoder as a pure function of its weights. */
export interface ClipTextEncoder {
  /** `clip-text-h1024-d24`. */
  readonly name: string;
  /** Complete, as in `config.json`. */
  readonly config: ResolvedClipTextConfig;
  readonly parameters: SpecTree;
  /**
   * Encodes tokens.
   *
   * @param tokens - int32 [batch, length], length at most `max_position_embeddings`, ids below `vocab_size`. There is no
   *   padding mask: every position counts, as in the original use.
   */
  encode(weights: TensorTree, tokens: Tensor2D, observe?: TextObserver): EncodedText;
}

/** `eos_token_id` of files written before transformers 4.31, which is not the id of the end-of-text token. */
export const legacyEndToken = 2;

/** A CLIP text encoder. @throws OptionError for a wrong size. */
export function clipTextEncoder(config: ClipTextConfig): ClipTextEncoder {
  const resolved = resolveClipText(config);
  return {
    name: `clip-text-h${resolved.hidden_size}-d${resolved.num_hidden_layers}`,
    config: resolved,
    parameters: clipTextParameters(resolved),
    encode: (weights, tokens, observe = () => {}) => encode(resolved, weights, tokens, observe),
  };
}

function encode(
  config: ResolvedClipTextConfig,
  weights: TensorTree,
  tokens: Tensor2D,
  observe: TextObserver,
): EncodedText {
  const [batch, length] = tokens.shape;
  const embedded = embedding<Tensor3D>(weights['text_model.embeddings.token_embedding.weight']!, tokens);
  const positions = weights['text_model.embeddings.position_embedding.weight'] as Tensor2D;
  let x: Tensor3D = tf.add(embedded, tf.slice(positions, [0, 0], [length, config.hidden_size]));
  let textStates = x;
  observe('hidden_states.0', x);
  for (let index = 0; index < config.num_hidden_layers; index++) {
    textStates = x;
    x = encoderLayer(config, weights, layerName(index), x);
    observe(`hidden_states.${index + 1}`, x);
  }
  const last = norm(config, weights, 'text_model.final_layer_norm', x);
  observe('last_hidden_state', last);
  // Row b * length + position of sample b.
  const firstRows = tf.mul(tf.range(0, batch, 1, 'int32'), tf.scalar(length, 'int32'));
  const rows = tf.add(firstRows, endPositions(config, tokens));
  const pooled: Tensor2D = tf.gather(tf.reshape(last, [batch * length, config.hidden_size]), tf.cast(rows, 'int32'));
  return { textStates, pooledText: linear(pooled, weights['text_projection.weight']!) };
}

/** Position of the end-of-text token of each row, int32 [batch]; 0 where there is none. */
function endPositions(config: ResolvedClipTextConfig, tokens: Tensor2D): Tensor1D {
  // argMax takes the first of equals. Ids are exact in float32.
  const scores =
    config.eos_token_id === legacyEndToken ? tokens : tf.equal(tokens, tf.scalar(config.eos_token_id, 'int32'));
  return tf.cast(tf.argMax(tf.cast(scores, 'float32'), 1), 'int32');
}

function encoderLayer(config: ResolvedClipTextConfig, weights: TensorTree, name: string, x: Tensor3D): Tensor3D {
  const dense = (part: string, input: Tensor3D) =>
    linear(input, weights[`${name}.${part}.weight`]!, weights[`${name}.${part}.bias`]!);
  const h = norm(config, weights, `${name}.layer_norm1`, x);
  const mixed = attention(dense('self_attn.q_proj', h), dense('self_attn.k_proj', h), dense('self_attn.v_proj', h), {
    numHeads: config.num_attention_heads,
    causal: true,
  });
  const attended: Tensor3D = tf.add(x, dense('self_attn.out_proj', mixed));
  const inner = dense('mlp.fc1', norm(config, weights, `${name}.layer_norm2`, attended));
  return tf.add(attended, dense('mlp.fc2', activation(config, inner)));
}

function activation(config: ResolvedClipTextConfig, x: Tensor3D): Tensor3D {
  switch (config.hidden_act) {
    case 'gelu':
      return gelu(x);
    case 'quick_gelu':
      return tf.mul(x, tf.sigmoid(tf.mul(x, 1.702)));
  }
}

function norm(config: ResolvedClipTextConfig, weights: TensorTree, name: string, x: Tensor3D): Tensor3D {
  return layerNorm(x, weights[`${name}.weight`]!, weights[`${name}.bias`]!, { epsilon: config.layer_norm_eps });
}
