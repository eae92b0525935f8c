/**
 * A small convolutional classifier of 28 x 28 gray images. Its features are what images of digits (or clothes) are
 * judged by: three 3 x 3 convolutions with 32, 64, 64 channels, each with 2 x 2 max-pooling and ReLU, 128 features, 10
 * logits; 130,890 parameters.
 */
import {
  checkWeights,
  float32,
  linear,
  readSafetensors,
  sizeOf,
  writeSafetensors,
  type HostTree,
  type RandomStream,
  type SpecTree,
  type TensorTree,
} from '@dimo/core';
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor2D, Tensor4D } from '@tensorflow/tfjs-core';
import type { FeatureExtractor } from './feature-extractor.js';
import { maxPool2x2 } from './max-pool.js';

/** Height, width, channels of the classifier's images. */
export const classifierImageShape = [28, 28, 1] as const;
/** Number of classes. */
export const classifierClasses = 10;
/** Width of the features: of the last hidden layer, after its ReLU. */
export const classifierFeatureLength = 128;

const spec = (...shape: number[]) => ({ dtype: 'float32', shape }) as const;

/** Convolution filters are [height, width, input, output], matrices [output, input]. */
export const classifierParameters: SpecTree = {
  'convolution1.weight': spec(3, 3, 1, 32),
  'convolution1.bias': spec(32),
  'convolution2.weight': spec(3, 3, 32, 64),
  'convolution2.bias': spec(64),
  'convolution3.weight': spec(3, 3, 64, 64),
  'convolution3.bias': spec(64),
  'hidden.weight': spec(classifierFeatureLength, 3 * 3 * 64),
  'hidden.bias': spec(classifierFeatureLength),
  'output.weight': spec(classifierClasses, classifierFeatureLength),
  'output.bias': spec(classifierClasses),
};

/** He initialization: normal with variance 2 / (number of inputs) for weights, zero for biases. */
export function initializeClassifier(random: RandomStream): HostTree {
  return Object.fromEntries(
    Object.entries(classifierParameters).map(([name, { shape }]) => {
      const size = sizeOf(shape);
      if (name.endsWith('.bias')) return [name, float32(shape)];
      const numInputs = shape.length === 4 ? sizeOf(shape.slice(0, 3)) : shape[1]!;
      const scale = Math.sqrt(2 / numInputs);
      return [
        name,
        float32(
          shape,
          random
            .fork(name)
            .normal(size)
            .map((value) => value * scale),
        ),
      ];
    }),
  );
}

/**
 * Features and logits.
 *
 * @param weights - as `classifierParameters` says. Borrowed.
 * @param images - float32 [B, 28, 28, 1] in [0, 1]. Borrowed.
 * @param dropout - float32 [B, 128] that the features are multiplied by before the output layer, while training.
 */
export function classify(
  weights: TensorTree,
  images: Tensor4D,
  dropout?: Tensor2D,
): { features: Tensor2D; logits: Tensor2D } {
  let x = images;
  for (const layer of ['convolution1', 'convolution2', 'convolution3']) {
    const convolved = tf.conv2d(x, weights[`${layer}.weight`] as Tensor4D, 1, 'same');
    // Bias and ReLU commute with the maximum and cost a quarter after it.
    x = tf.relu(tf.add(maxPool2x2(convolved), weights[`${layer}.bias`]!)) as Tensor4D;
  }
  const flat = tf.reshape(x, [images.shape[0], -1]) as Tensor2D;
  const features = tf.relu(linear(flat, weights['hidden.weight']!, weights['hidden.bias']));
  const visible = dropout ? tf.mul(features, dropout) : features;
  return { features, logits: linear(visible as Tensor2D, weights['output.weight']!, weights['output.bias']) };
}

/** The classifier as feature extractor. @throws WeightError if the weights are not the classifier's. */
export function classifierExtractor(weights: HostTree, name = 'mnist-classifier'): FeatureExtractor {
  checkWeights(weights, classifierParameters, { model: name });
  return {
    name,
    imageShape: classifierImageShape,
    featureLength: classifierFeatureLength,
    numClasses: classifierClasses,
    weights,
    extract: (tensors, images) => classify(tensors, images),
  };
}

/** Weights as an fp16 safetensors file, as committed under `presets`. */
export function writeClassifier(
  weights: HostTree,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array<ArrayBuffer> {
  return writeSafetensors(weights, { float: 'F16', metadata });
}

/**
 * The classifier from the bytes of a safetensors file.
 *
 * @param path - for error messages.
 * @throws WeightError if the file is damaged or not a classifier.
 */
export function readClassifier(bytes: Uint8Array, path?: string, name = 'mnist-classifier'): FeatureExtractor {
  const { tensors } = readSafetensors(bytes, { path });
  checkWeights(tensors, classifierParameters, { model: name, path });
  return classifierExtractor({ ...tensors }, name);
}

/** Where the bundled classifier of MNIST is, as a `file:` URL for `readFile`. */
export const mnistClassifierLocation: string = new URL('../presets/mnist-classifier.safetensors', import.meta.url).href;
