/**
 * The class-conditional transformer of MaskGIT (Chang et al., arXiv 2202.04200) as in the PyTorch implementation that
 * Di[M]O distils: same parameter names, layouts and arithmetic.
 */
import {
  attention,
  embedding,
  gelu,
  layerNorm,
  linear,
  recomputedBlock,
  weightsBelow,
  type Condition,
  type MaskedDiffusionModel,
  type ModelInputs,
  type TensorTree,
} from '@dimo/core';
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor, Tensor1D, Tensor2D, Tensor3D } from '@tensorflow/tfjs-core';
import {
  embeddingParameters,
  initializeTransformer,
  resolveMaskTransformer,
  transformerParameters,
  type MaskTransformerConfig,
  type ResolvedMaskTransformerConfig,
} from './config.js';
import { applyDropout, attentionWithDropout, transformerDropoutSites, type Dropout } from './dropout.js';

/** Effectively no epsilon in float32; the original says 1e-12 outside the blocks. */
const outerEpsilon = 1e-12;
const blockEpsilon = 1e-5;

/**
 * A MaskGIT transformer. Condition: `label`, int32 [batch] in [0, numClasses], where `numClasses` means "no class". The
 * class is a last token of the sequence; the mask token is a legal prediction, so V = K + 1.
 *
 * @throws OptionError for a wrong size.
 */
export function maskTransformer(options: MaskTransformerConfig): MaskedDiffusionModel {
  const config = resolveMaskTransformer(options);
  const { hidden, depth, codebookSize, grid } = config;
  return {
    name: `maskgit-h${hidden}-d${depth}`,
    tokenSpace: { codebookSize, numLogits: codebookSize + 1, maskTokenId: codebookSize, grid },
    condition: { label: { dtype: 'int32', shape: [], below: config.numClasses + 1 } },
    embeddingWidth: hidden,
    parameters: transformerParameters(config),
    embeddingParameters,
    initialize: (random) => initializeTransformer(config, random),
    embed: (weights, tokens) => embedding(weights['tok_emb.weight']!, tokens),
    logits: (weights, inputs) => transformerLogits(config, weights, inputs),
    dropoutSites: transformerDropoutSites(config),
  };
}

function transformerLogits(config: ResolvedMaskTransformerConfig, weights: TensorTree, inputs: ModelInputs): Tensor3D {
  const { hidden, codebookSize, grid } = config;
  const { dropout } = inputs;
  const numPositions = grid[0] * grid[1];
  const numLogits = codebookSize + 1;
  const sequence = tf.concat([inputs.embeddings, embedClass(config, weights, inputs.condition)], 1);
  let x = tf.add(sequence, weights['pos_emb']!) as Tensor3D; // [batch, S, hidden]
  x = firstLayer(weights, x, dropout);
  for (let block = 0; block < config.depth; block++)
    [x] = recomputedBlock(weightsBelow(weights, `transformer.layers.${block}`), [x], (own, [activations]) => [
      transformerBlock(config, own, { x: activations as Tensor3D, block, dropout }),
    ]);
  // Only what the logits need: the positions of the grid, and the columns of the codes and the mask token.
  x = tf.slice(x, [0, 0, 0], [x.shape[0], numPositions, hidden]);
  x = lastLayer(weights, x, dropout);
  const table = tf.slice(weights['tok_emb.weight'] as Tensor2D, [0, 0], [numLogits, hidden]);
  const bias = tf.slice(weights['bias'] as Tensor2D, [0, 0], [numPositions, numLogits]);
  return tf.add(linear(x, table), bias);
}

/** The class as the last token of the sequence: its row follows those of the codes and the mask token; [batch, 1, hidden]. */
function embedClass(config: ResolvedMaskTransformerConfig, weights: TensorTree, condition: Condition): Tensor3D {
  const firstClass = tf.scalar(config.codebookSize + 1, 'int32');
  const classIds = tf.expandDims(tf.add(condition['label'] as Tensor1D, firstClass), 1) as Tensor2D;
  return embedding(weights['tok_emb.weight']!, classIds);
}

function firstLayer(weights: TensorTree, input: Tensor3D, dropout: Dropout | undefined): Tensor3D {
  let x = norm(weights, 'first_layer.0', input, outerEpsilon);
  x = applyDropout(x, 'first_layer.1', dropout);
  x = gelu(dense(weights, 'first_layer.2', x));
  x = norm(weights, 'first_layer.4', x, outerEpsilon);
  x = applyDropout(x, 'first_layer.5', dropout);
  return dense(weights, 'first_layer.6', x);
}

/** x + attention(norm(x)), then x + mlp(norm(x)). */
function transformerBlock(
  config: ResolvedMaskTransformerConfig,
  weights: TensorTree,
  { x, block, dropout }: { x: Tensor3D; block: number; dropout: Dropout | undefined },
): Tensor3D {
  const attentionName = `transformer.layers.${block}.0`;
  const mlpName = `transformer.layers.${block}.1`;
  const numHeads = config.heads;
  const mha = `${attentionName}.fn.mha`;
  const normalized = norm(weights, `${attentionName}.norm`, x, blockEpsilon);
  const parts = projections(normalized, weights[`${mha}.in_proj_weight`]!, weights[`${mha}.in_proj_bias`]!);
  const mixed = dropout ? attentionWithDropout(parts, numHeads, mha, dropout) : attention(...parts, { numHeads });
  const afterAttention = tf.add(x, dense(weights, `${mha}.out_proj`, mixed)) as Tensor3D;

  let inner = norm(weights, `${mlpName}.norm`, afterAttention, blockEpsilon);
  inner = gelu(dense(weights, `${mlpName}.fn.net.0`, inner));
  inner = applyDropout(inner, `${mlpName}.fn.net.2`, dropout);
  inner = dense(weights, `${mlpName}.fn.net.3`, inner);
  return tf.add(afterAttention, applyDropout(inner, `${mlpName}.fn.net.4`, dropout));
}

/**
 * Query, key and value. The packed weight is split, not the packed result: the same products, without copying
 * activations forward and their gradients back.
 */
function projections(x: Tensor3D, weight: Tensor, bias: Tensor): [Tensor3D, Tensor3D, Tensor3D] {
  const width = x.shape[2];
  const part = (index: number) =>
    linear(x, tf.slice(weight, [index * width, 0], [width, width]), tf.slice(bias, [index * width], [width]));
  return [part(0), part(1), part(2)];
}

function lastLayer(weights: TensorTree, input: Tensor3D, dropout: Dropout | undefined): Tensor3D {
  let x = norm(weights, 'last_layer.0', input, outerEpsilon);
  x = applyDropout(x, 'last_layer.1', dropout);
  x = gelu(dense(weights, 'last_layer.2', x));
  return norm(weights, 'last_layer.4', x, outerEpsilon);
}

function dense<T extends Tensor>(weights: TensorTree, name: string, x: T): T {
  return linear(x, weights[`${name}.weight`]!, weights[`${name}.bias`]!);
}

function norm<T extends Tensor>(weights: TensorTree, name: string, x: T, epsilon: number): T {
  return layerNorm(x, weights[`${name}.weight`]!, weights[`${name}.bias`]!, { epsilon });
}
