/** A pass of a model from tokens to logits: embeddings, their perturbation, logits. */
import * as tf from '@tensorflow/tfjs-core';
import type { Scalar, Tensor2D, Tensor3D } from '@tensorflow/tfjs-core';
import { PluginError } from '../errors.js';
import type { TensorTree } from '../tensors/tensors.js';
import type { MaskedDiffusionModel, ModelInputs } from './model.js';

/** What the author of a model of contract 1 has to change. */
export const fromContract1 =
  'contract 2 has `embed(weights, tokens)` and `logits(weights, { embeddings, ... })` apart, and core applies the ' +
  'embedding noise: docs/plugins.md, "From contract 1 to 2"';

/** Gaussian perturbation of the token embeddings (Di[M]O section 4.2). */
export interface EmbeddingNoise {
  /** float32 [batch, L, embeddingWidth], standard normal times its unit. */
  readonly noise: Tensor3D;
  /** float32 scalar in [0, 1]. */
  readonly scale: Scalar;
}

/** Arguments of a pass. */
export interface PassInputs extends Omit<ModelInputs, 'embeddings'> {
  /** int32 [batch, L], row-major over the grid; masked positions hold `maskTokenId`. */
  readonly tokens: Tensor2D;
  readonly embeddingNoise?: EmbeddingNoise;
}

/**
 * Logits of tokens, float32 [batch, L, V].
 *
 * @throws PluginError if the model has no `embed`, as one of contract 1.
 */
export function forwardPass(model: MaskedDiffusionModel, weights: TensorTree, inputs: PassInputs): Tensor3D {
  if (typeof model.embed !== 'function')
    throw new PluginError(`model "${model.name}" has no embed(weights, tokens)`, { hint: fromContract1 });
  // Noise and tokens are left out, so that no model can apply a perturbation of its own.
  const { tokens, embeddingNoise, ...others } = inputs;
  const embedded = model.embed(weights, tokens);
  const embeddings = embeddingNoise ? perturbedEmbeddings(embedded, embeddingNoise) : embedded;
  return model.logits(weights, { ...others, embeddings });
}

/** `scale * noise + sqrt(1 - scale^2) * embeddings`: the variance stays, if the noise has that of the embeddings. */
function perturbedEmbeddings(embeddings: Tensor3D, { noise, scale }: EmbeddingNoise): Tensor3D {
  const kept = tf.sqrt(tf.sub(1, tf.mul(scale, scale)));
  return tf.add(tf.mul(embeddings, kept), tf.mul(noise, scale));
}
