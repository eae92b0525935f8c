/**
 * A small image-text matcher: pictures and prompts as unit vectors that are close if they belong together (Radford et al.,
 * arXiv 2103.00020, at toy size). What `name-retrieval` measures by.
 */
import {
  embedding,
  float32,
  linear,
  sizeOf,
  type HostTree,
  type RandomStream,
  type SpecTree,
  type TensorTree,
} from '@dimo/core';
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor2D, Tensor3D, Tensor4D } from '@tensorflow/tfjs-core';
import { emptyPlace } from '@dimo/teacher-words';

/** Width of the unit vectors. */
export const matcherWidth = 96;
/** Places of a prompt. */
export const matcherTextLength = 10;

const channels = [32, 64, 96] as const;
const spec = (...shape: number[]) => ({ dtype: 'float32', shape }) as const;

/** Parameters for a vocabulary; filters are [height, width, input, output], matrices [output, input]. */
export function matcherParameters(numWords: number): SpecTree {
  return {
    'convolution1.weight': spec(3, 3, 3, channels[0]),
    'convolution1.bias': spec(channels[0]),
    'convolution2.weight': spec(3, 3, channels[0], channels[1]),
    'convolution2.bias': spec(channels[1]),
    'convolution3.weight': spec(3, 3, channels[1], channels[2]),
    'convolution3.bias': spec(channels[2]),
    'image.weight': spec(matcherWidth, 4 * 4 * channels[2]),
    'image.bias': spec(matcherWidth),
    'words.weight': spec(numWords + 1, matcherWidth),
  };
}

/** He initialization for the picture's side; given vectors, or standard normal numbers, for the words. */
export function initializeMatcher(random: RandomStream, numWords: number, wordVectors?: Float32Array): HostTree {
  return Object.fromEntries(
    Object.entries(matcherParameters(numWords)).map(([name, { shape }]) => {
      if (name.endsWith('.bias')) return [name, float32(shape)];
      if (name === 'words.weight' && wordVectors) return [name, float32(shape, wordVectors.slice())];
      const inputs = shape.length === 4 ? sizeOf(shape.slice(0, 3)) : name === 'words.weight' ? 2 : shape[1]!;
      const scale = Math.sqrt(2 / inputs);
      const values = random.fork(name).normal(sizeOf(shape));
      return [
        name,
        float32(
          shape,
          values.map((value) => value * scale),
        ),
      ];
    }),
  );
}

/** Unit vectors float32 [batch, 96] of images float32 [batch, 32, 32, 3] in [0, 1]. */
export function imageVectors(weights: TensorTree, images: Tensor4D): Tensor2D {
  let x = tf.sub(images, 0.5) as Tensor4D;
  for (const layer of ['convolution1', 'convolution2', 'convolution3']) {
    // A stride instead of pooling: half the time here, and enough for pictures of this size.
    const filter = weights[`${layer}.weight`] as Tensor4D;
    x = tf.relu(tf.add(tf.conv2d(x, filter, 2, 'same'), weights[`${layer}.bias`]!)) as Tensor4D;
  }
  const flat = tf.reshape(x, [images.shape[0], -1]) as Tensor2D;
  return unit(linear(flat, weights['image.weight']!, weights['image.bias']));
}

/** Unit vectors float32 [batch, 96] of word ids int32 [batch, length]: the sum of their words. */
export function textVectors(weights: TensorTree, words: Tensor2D): Tensor2D {
  const vectors = embedding<Tensor3D>(weights['words.weight']!, words);
  const isWord = tf.reshape(tf.cast(tf.notEqual(words, emptyPlace), 'float32'), [...words.shape, 1]);
  return unit(tf.sum(tf.mul(vectors, isWord), 1) as Tensor2D);
}

function unit(x: Tensor2D): Tensor2D {
  const squares = tf.sum(tf.mul(x, x), 1, true);
  return tf.div(x, tf.sqrt(tf.add(squares, 1e-6)));
}
