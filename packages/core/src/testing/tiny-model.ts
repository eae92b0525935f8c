/** A masked diffusion model of a few hundred weights for the tests of this package. */
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor2D, Tensor3D } from '@tensorflow/tfjs-core';
import {
  contractVersion,
  type MaskedDiffusionModel,
  type ModelInputs,
  type TeacherDefinition,
} from '../model/model.js';
import { embedding } from '../ops/embedding.js';
import { gelu } from '../ops/gelu.js';
import { linear } from '../ops/linear.js';
import { float32, int32, sizeOf, type SpecTree, type TensorTree } from '../tensors/tensors.js';

/** Sizes of the tiny model. */
export interface TinyModelOptions {
  readonly codebookSize?: number;
  readonly grid?: readonly [number, number];
  readonly width?: number;
  readonly numClasses?: number;
}

/**
 * logits = gelu((embedding + context + label) W1^T) W2^T, context the mean embedding of the sequence. The mask token has
 * a logit, as in MaskGIT.
 */
export function tinyModel(options: TinyModelOptions = {}): MaskedDiffusionModel {
  const { codebookSize = 6, grid = [2, 3], width = 8, numClasses = 3 } = options;
  const spec = (...shape: number[]) => ({ dtype: 'float32', shape }) as const;
  const parameters: SpecTree = {
    'tokens.weight': spec(codebookSize + 1, width),
    'labels.weight': spec(numClasses + 1, width),
    'hidden.weight': spec(width, width),
    'hidden.bias': spec(width),
    'output.weight': spec(codebookSize + 1, width),
    'output.bias': spec(codebookSize + 1),
  };
  return {
    name: 'tiny',
    tokenSpace: { codebookSize, numLogits: codebookSize + 1, maskTokenId: codebookSize, grid },
    condition: { label: { dtype: 'int32', shape: [], below: numClasses + 1 } },
    embeddingWidth: width,
    parameters,
    embeddingParameters: ['tokens.weight'],
    initialize: (random) =>
      Object.fromEntries(
        Object.entries(parameters).map(([name, { shape }]) => [
          name,
          float32(
            shape,
            random
              .fork(name)
              .normal(sizeOf(shape))
              .map((value) => value * 0.5),
          ),
        ]),
      ),
    embed: (weights, tokens) => embedding(weights['tokens.weight']!, tokens),
    logits: tinyLogits,
    dropoutSites: { hidden: spec(grid[0] * grid[1], width) },
  };
}

function tinyLogits(weights: TensorTree, { embeddings, condition, dropout }: ModelInputs): Tensor3D {
  const context = tf.mean(embeddings, 1, true);
  const label = tf.expandDims(embedding<Tensor2D>(weights['labels.weight']!, condition['label']!), 1);
  const hidden = linear(tf.add(tf.add(embeddings, context), label), weights['hidden.weight']!, weights['hidden.bias']!);
  let activation = gelu(hidden);
  if (dropout) {
    const isKept = tf.cast(tf.greaterEqual(dropout.uniforms['hidden']!, dropout.rate), 'float32');
    activation = tf.div(tf.mul(activation, isKept), 1 - dropout.rate);
  }
  return linear(activation, weights['output.weight']!, weights['output.bias']!) as Tensor3D;
}

/** The tiny model as a teacher definition; class `numClasses` is "no condition". */
export function tinyTeacher(options: TinyModelOptions = {}): TeacherDefinition {
  const { numClasses = 3 } = options;
  return {
    contract: contractVersion,
    name: 'tiny',
    model: tinyModel(options),
    nullCondition: { label: int32([], [numClasses]) },
    conditions: {
      sample: (random, count) => ({ label: int32([count], random.integers(count, numClasses)) }),
      parse: (texts) => ({ label: int32([texts.length], texts.map(Number)) }),
    },
    config: { ...options },
  };
}
