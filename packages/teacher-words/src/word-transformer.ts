/** Meissonic's transformer behind a small text encoder of its own: an embedding of words that is trained with it. */
import {
  embedding,
  float32,
  linear,
  OptionError,
  type HostTree,
  type MaskedDiffusionModel,
  type ModelInputs,
  type SpecTree,
  type TensorTree,
} from '@dimo/core';
import {
  embedMicroConditions,
  microConditionNumbers,
  multimodalTransformer,
  type MultimodalTransformerConfig,
} from '@dimo/teacher-meissonic';
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor2D, Tensor3D } from '@tensorflow/tfjs-core';
import { emptyPlace } from './words.js';

/** Names of the text encoder's weights. */
export const wordParameters = {
  embedding: 'words.embedding.weight',
  position: 'words.position.weight',
  poolWeight: 'words.pool.weight',
  poolBias: 'words.pool.bias',
} as const;

/** What the model needs to know. */
export interface WordTransformerOptions {
  readonly transformer: MultimodalTransformerConfig;
  /** Words of the vocabulary; ids are 0, the empty place, to numWords. */
  readonly numWords: number;
  /** First vectors of the words, float32 [numWords + 1, textWidth]. @default random */
  readonly wordVectors?: Float32Array;
}

/**
 * The model. Condition: `words` int32 [batch, textLength]. Text states are the vectors of the words plus those of their
 * places; the pooled text is a linear map of the mean over the words. Micro-conditions are those of an uncropped image of
 * the given side.
 *
 * @throws OptionError for a wrong size.
 */
export function wordTransformer(options: WordTransformerOptions): MaskedDiffusionModel & {
  readonly config: MultimodalTransformerConfig;
} {
  const transformer = multimodalTransformer(options.transformer);
  const { textLength, textWidth } = transformer.config;
  const width = transformer.embeddingWidth;
  const { numWords, wordVectors } = options;
  if (!Number.isInteger(numWords) || numWords < 1)
    throw new OptionError(`numWords must be a positive integer, got ${String(numWords)}`);
  const spec = (...shape: number[]) => ({ dtype: 'float32', shape }) as const;
  const own: SpecTree = {
    [wordParameters.embedding]: spec(numWords + 1, textWidth),
    [wordParameters.position]: spec(textLength, textWidth),
    [wordParameters.poolWeight]: spec(width, textWidth),
    [wordParameters.poolBias]: spec(width),
  };
  const micro = embedMicroConditions(microConditionNumbers());

  function condition(weights: TensorTree, { condition }: ModelInputs): TensorTree {
    const words = condition['words'] as Tensor2D;
    const [batch, length] = words.shape;
    const vectors = embedding<Tensor3D>(weights[wordParameters.embedding]!, words);
    const isWord = tf.reshape(tf.cast(tf.notEqual(words, emptyPlace), 'float32'), [batch, length, 1]);
    const mean = tf.div(tf.sum(tf.mul(vectors, isWord), 1), tf.maximum(tf.sum(isWord, 1), 1));
    return {
      textStates: tf.add(vectors, weights[wordParameters.position]!),
      pooledText: linear(mean, weights[wordParameters.poolWeight]!, weights[wordParameters.poolBias]),
      microConditions: tf.mul(tf.tensor3d(micro.data, [1, 5, micro.data.length / 5]), tf.ones([batch, 1, 1])),
    };
  }

  return {
    ...transformer,
    name: transformer.name.replace('meissonic', 'meissonic-words'),
    config: transformer.config,
    condition: { words: { dtype: 'int32', shape: [textLength], below: numWords + 1 } },
    parameters: { ...transformer.parameters, ...own },
    embeddingParameters: [...transformer.embeddingParameters, wordParameters.embedding, wordParameters.position],
    initialize(random): HostTree {
      const scaled = (name: string, shape: readonly number[], scale: number) =>
        float32(
          shape,
          random
            .fork(name)
            .normal(shape.reduce((a, b) => a * b, 1))
            .map((value) => value * scale),
        );
      return {
        ...transformer.initialize(random),
        [wordParameters.embedding]: wordVectors
          ? float32([numWords + 1, textWidth], wordVectors)
          : scaled(wordParameters.embedding, [numWords + 1, textWidth], 0.5),
        [wordParameters.position]: scaled(wordParameters.position, [textLength, textWidth], 0.1),
        [wordParameters.poolWeight]: scaled(wordParameters.poolWeight, [width, textWidth], 1 / Math.sqrt(textWidth)),
        [wordParameters.poolBias]: float32([width]),
      };
    },
    logits: (weights, inputs) => transformer.logits(weights, { ...inputs, condition: condition(weights, inputs) }),
  };
}
