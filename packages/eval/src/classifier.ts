/**
 * A small convolutional classifier of small images. Its features are what images of digits, clothes or emoji are judged
 * by: three 3 x 3 convolutions with 32, 64, 64 channels, each with 2 x 2 max-pooling and ReLU, 128 features, a logit for
 * each class; 130,890 parameters for MNIST.
 */
import {
  checkWeights,
  float32,
  linear,
  OptionError,
  readSafetensors,
  requireInteger,
  requireIntegers,
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

/** What a classifier is for. */
export interface ClassifierSize {
  /** Height and width of at least 8 pixels, and channels. */
  readonly imageShape: readonly [height: number, width: number, channels: number];
  readonly numClasses: number;
}

/** Height, width, channels of MNIST's images. */
export const classifierImageShape = [28, 28, 1] as const;
/** Number of MNIST's classes. */
export const classifierClasses = 10;
/** Size of the classifiers of MNIST and Fashion-MNIST. */
export const mnistClassifierSize: ClassifierSize = { imageShape: classifierImageShape, numClasses: classifierClasses };
/** Width of the features: of the last hidden layer, after its ReLU. */
export const classifierFeatureLength = 128;

const spec = (...shape: number[]) => ({ dtype: 'float32', shape }) as const;

/**
 * Parameters of a classifier. Convolution filters are [height, width, input, output], matrices [output, input].
 *
 * @throws OptionError for images too small to be halved three times.
 */
export function classifierParametersOf({ imageShape, numClasses }: ClassifierSize): SpecTree {
  const [height, width, channels] = requireIntegers(imageShape, 'classifier: imageShape', []) as [
    number,
    number,
    number,
  ];
  requireInteger(numClasses, 'classifier: numClasses');
  if (height < 8 || width < 8)
    throw new OptionError(`classifier: images must have at least 8 x 8 pixels, got ${height} x ${width}`);
  const cells = Math.floor(height / 8) * Math.floor(width / 8);
  return {
    'convolution1.weight': spec(3, 3, channels, 32),
    'convolution1.bias': spec(32),
    'convolution2.weight': spec(3, 3, 32, 64),
    'convolution2.bias': spec(64),
    'convolution3.weight': spec(3, 3, 64, 64),
    'convolution3.bias': spec(64),
    'hidden.weight': spec(classifierFeatureLength, cells * 64),
    'hidden.bias': spec(classifierFeatureLength),
    'output.weight': spec(numClasses, classifierFeatureLength),
    'output.bias': spec(numClasses),
  };
}

/** Parameters of the classifier of MNIST. */
export const classifierParameters: SpecTree = classifierParametersOf(mnistClassifierSize);

/** He initialization: normal with variance 2 / (number of inputs) for weights, zero for biases. */
export function initializeClassifier(random: RandomStream, size: ClassifierSize = mnistClassifierSize): HostTree {
  return Object.fromEntries(
    Object.entries(classifierParametersOf(size)).map(([name, { shape }]) => {
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
 * @param weights - as `classifierParametersOf` says. Borrowed.
 * @param images - float32 [B, H, W, C] in [0, 1]. Borrowed.
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
export function classifierExtractor(
  weights: HostTree,
  name = 'mnist-classifier',
  size: ClassifierSize = mnistClassifierSize,
): FeatureExtractor {
  checkWeights(weights, classifierParametersOf(size), { model: name });
  return {
    name,
    ...size,
    featureLength: classifierFeatureLength,
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
export function readClassifier(
  bytes: Uint8Array,
  path?: string,
  name = 'mnist-classifier',
  size: ClassifierSize = mnistClassifierSize,
): FeatureExtractor {
  const { tensors } = readSafetensors(bytes, { path });
  checkWeights(tensors, classifierParametersOf(size), { model: name, path });
  return classifierExtractor({ ...tensors }, name, size);
}

/** Where the bundled classifier of MNIST is, as a `file:` URL for `readFile`. */
export const mnistClassifierLocation: string = new URL('../presets/mnist-classifier.safetensors', import.meta.url).href;
