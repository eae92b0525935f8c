/**
 * A small convolutional classifier. Its features are what images of digits, clothes or emoji are judged by: three 3 x 3
 * convolutions with 32, 64, 64 channels, each with 2 x 2 max-pooling (as long as there are two rows and columns) and ReLU,
 * a layer of features, a logit for each class; 130,890 parameters for MNIST. Of images above 64 pixels,
 * blocks of pixels become channels first, so that nothing of them is lost and the convolutions stay affordable.
 */
import {
  checkWeights,
  float32,
  linear,
  OptionError,
  readSafetensors,
  requireInteger,
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
import { classifierFeatureLength } from './options.js';

/** What a classifier is for. */
export interface ClassifierSize {
  /** Height, width, channels; at least one each. */
  readonly imageShape: readonly [height: number, width: number, channels: number];
  /** 0: features alone, without an output layer. */
  readonly numClasses: number;
  /** Width of the features. @default classifierFeatureLength */
  readonly featureLength?: number;
}

/** Height, width, channels of MNIST's images. */
export const classifierImageShape = [28, 28, 1] as const;
/** Number of MNIST's classes. */
export const classifierClasses = 10;
/** Size of the classifiers of MNIST and Fashion-MNIST. */
export const mnistClassifierSize: ClassifierSize = { imageShape: classifierImageShape, numClasses: classifierClasses };
/** Longest side that the convolutions see. */
const longestSide = 64;
const layers = ['convolution1', 'convolution2', 'convolution3'] as const;

const spec = (...shape: number[]) => ({ dtype: 'float32', shape }) as const;

/** How images of a size go through the convolutions. */
function planOf([height, width, channels]: ClassifierSize['imageShape']) {
  const block = Math.ceil(Math.max(height, width) / longestSide);
  let [rows, columns] = [Math.ceil(height / block), Math.ceil(width / block)];
  const isPooled = layers.map(() => {
    if (rows < 2 || columns < 2) return false;
    [rows, columns] = [Math.floor(rows / 2), Math.floor(columns / 2)];
    return true;
  });
  return { block, channels: channels * block * block, isPooled, cells: rows * columns };
}

/**
 * Parameters of a classifier. Convolution filters are [height, width, input, output], matrices [output, input].
 *
 * @throws OptionError for a size that is no size.
 */
export function classifierParametersOf(size: ClassifierSize): SpecTree {
  const { imageShape, numClasses, featureLength = classifierFeatureLength } = size;
  if (imageShape.length !== 3 || !imageShape.every((length) => Number.isInteger(length) && length >= 1))
    throw new OptionError(`classifier: imageShape must be [height, width, channels], got [${imageShape.join(', ')}]`);
  requireInteger(numClasses, 'classifier: numClasses', 0);
  const { channels, cells } = planOf(imageShape);
  return {
    'convolution1.weight': spec(3, 3, channels, 32),
    'convolution1.bias': spec(32),
    'convolution2.weight': spec(3, 3, 32, 64),
    'convolution2.bias': spec(64),
    'convolution3.weight': spec(3, 3, 64, 64),
    'convolution3.bias': spec(64),
    'hidden.weight': spec(featureLength, cells * 64),
    'hidden.bias': spec(featureLength),
    ...(numClasses > 0
      ? { 'output.weight': spec(numClasses, featureLength), 'output.bias': spec(numClasses) }
      : undefined),
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

/** Blocks of `block` x `block` pixels as channels; what is missing of the last ones is black. */
function blocksToChannels(images: Tensor4D, block: number): Tensor4D {
  if (block === 1) return images;
  const [batch, height, width, channels] = images.shape;
  const [rows, columns] = [Math.ceil(height / block), Math.ceil(width / block)];
  const isWhole = rows * block === height && columns * block === width;
  const padded = isWhole
    ? images
    : tf.pad(images, [
        [0, 0],
        [0, rows * block - height],
        [0, columns * block - width],
        [0, 0],
      ]);
  // [batch * rows, row in the block, column, pixel and channel in the block]: no intermediate has more than four axes.
  const cut = tf.reshape(padded, [batch * rows, block, columns, block * channels]);
  return tf.reshape(tf.transpose(cut, [0, 2, 1, 3]), [batch, rows, columns, block * block * channels]);
}

/**
 * Features, before the output layer.
 *
 * @param weights - as `classifierParametersOf` says. Borrowed.
 * @param images - float32 [B, H, W, C] in [0, 1]. Borrowed.
 */
function featuresOf(weights: TensorTree, images: Tensor4D): Tensor2D {
  const { block, isPooled } = planOf(images.shape.slice(1) as [number, number, number]);
  let x = blocksToChannels(images, block);
  layers.forEach((layer, i) => {
    const convolved = tf.conv2d(x, weights[`${layer}.weight`] as Tensor4D, 1, 'same');
    // Bias and ReLU commute with the maximum and cost a quarter after it.
    const pooled = isPooled[i] ? maxPool2x2(convolved) : convolved;
    x = tf.relu(tf.add(pooled, weights[`${layer}.bias`]!)) as Tensor4D;
  });
  const flat = tf.reshape(x, [images.shape[0], -1]) as Tensor2D;
  return tf.relu(linear(flat, weights['hidden.weight']!, weights['hidden.bias']));
}

/**
 * Features and logits.
 *
 * @param weights - as `classifierParametersOf` says, with an output layer. Borrowed.
 * @param images - float32 [B, H, W, C] in [0, 1]. Borrowed.
 * @param dropout - float32 [B, features] that the features are multiplied by before the output layer, while training.
 */
export function classify(
  weights: TensorTree,
  images: Tensor4D,
  dropout?: Tensor2D,
): { features: Tensor2D; logits: Tensor2D } {
  const features = featuresOf(weights, images);
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
    featureLength: size.featureLength ?? classifierFeatureLength,
    weights,
    extract: (tensors, images) =>
      size.numClasses > 0 ? classify(tensors, images) : { features: featuresOf(tensors, images) },
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
