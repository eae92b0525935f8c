/** What the metrics measure images by: a network that gives features and class logits. */
import {
  checkHostTree,
  checkPixels,
  checkValues,
  OptionError,
  readImages,
  requireInteger,
  ShapeError,
  sizeOf,
  specsOf,
  type DatasetSplit,
  type Engine,
  type HostTensor,
  type HostTree,
  type TensorTree,
} from '@dimo/core';
import type { Tensor2D, Tensor4D } from '@tensorflow/tfjs-core';
import { matrix, type Matrix } from './matrix.js';

/** A feature network with its weights. */
export interface FeatureExtractor {
  /** Recorded in reports: numbers of different extractors cannot be compared. */
  readonly name: string;
  /** Height, width, channels of the images that it takes. */
  readonly imageShape: readonly [height: number, width: number, channels: number];
  /** D, width of the features. */
  readonly featureLength: number;
  /** 0 for a network that knows no classes: there are no logits, and no metrics that need them. */
  readonly numClasses: number;
  readonly weights: HostTree;
  /**
   * Features float32 [B, D] and, with classes, logits float32 [B, numClasses] of images float32 [B, H, W, C] in [0, 1].
   * Pure.
   */
  extract(weights: TensorTree, images: Tensor4D): { readonly features: Tensor2D; readonly logits?: Tensor2D };
}

/** Images that are read in batches, so that a whole dataset never has to be held as float32. */
export interface ImageSource {
  readonly count: number;
  readonly imageShape: readonly [height: number, width: number, channels: number];
  /** float32 [count, H, W, C] in [0, 1] of the images `first` .. `first + count - 1`. */
  read(first: number, count: number): HostTensor<'float32'> | Promise<HostTensor<'float32'>>;
}

/** Images in memory as a source. @throws ShapeError if they are not float32 [B, H, W, C]. */
export function imageSource(images: HostTensor<'float32'>): ImageSource {
  const [count, height, width, channels] = images.shape;
  if (images.shape.length !== 4 || images.dtype !== 'float32')
    throw new ShapeError(
      `images must be float32 [batch, height, width, channels], got ${images.dtype} [${images.shape.join(', ')}]`,
    );
  checkHostTree('images', { images });
  const imageShape = [height!, width!, channels!] as const;
  const size = sizeOf(imageShape);
  return {
    count: count!,
    imageShape,
    read: (first, number) => ({
      dtype: 'float32',
      shape: [number, ...imageShape],
      data: images.data.subarray(first * size, (first + number) * size),
    }),
  };
}

/**
 * A dataset split, or the images of it that `indices` names, as a source.
 *
 * @throws ShapeError if the pixels are not those of the images; OptionError for an index that is none.
 */
export function splitSource(
  imageShape: ImageSource['imageShape'],
  split: DatasetSplit,
  indices?: ArrayLike<number>,
): ImageSource {
  checkPixels(imageShape, split);
  for (const index of Array.from(indices ?? []))
    if (!Number.isInteger(index) || index < 0 || index >= split.count)
      throw new OptionError(`image index must be an integer in [0, ${split.count}), got ${index}`);
  return {
    count: indices?.length ?? split.count,
    imageShape,
    read(first, number) {
      const rows = Int32Array.from({ length: number }, (_, i) => (indices ? indices[first + i]! : first + i));
      return readImages(imageShape, split, rows);
    },
  };
}

/** Features and logits of many images, in host memory. */
export interface ImageFeatures {
  /** [count, D]. */
  readonly features: Matrix;
  /** [count, numClasses]; absent where the extractor knows no classes. */
  readonly logits?: Matrix;
}

/** Options of `extractFeatures`. */
export interface ExtractOptions {
  readonly engine: Engine;
  readonly extractor: FeatureExtractor;
  readonly images: ImageSource;
  /** Images per call. @default 256 */
  readonly batchSize?: number;
  /** Called after every batch. */
  readonly onProgress?: (done: number, total: number) => void;
  readonly signal?: AbortSignal;
}

/**
 * Runs the extractor over all images, in batches of one size (the last one is filled up with its last image).
 *
 * @throws ShapeError if the images are of another size than the extractor takes. @throws NonFiniteError for NaN in them.
 */
export async function extractFeatures(options: ExtractOptions): Promise<ImageFeatures> {
  const { engine, extractor, images, onProgress, signal } = options;
  const { featureLength, numClasses, imageShape } = extractor;
  if (imageShape.join() !== images.imageShape.join())
    throw new ShapeError(
      `extractor "${extractor.name}" takes images of [${imageShape.join(', ')}], got [${images.imageShape.join(', ')}]`,
    );
  const { count } = images;
  const wanted = requireInteger(options.batchSize, 'extractFeatures: batchSize', 1, 256);
  const batchSize = Math.min(wanted, Math.max(1, count));
  const features = new Float32Array(count * featureLength);
  const logits = new Float32Array(count * numClasses);
  const state = await engine.upload(extractor.weights);
  const compiled = await engine.compile(
    (weights, inputs) => ({ outputs: { ...extractor.extract(weights, inputs['images'] as Tensor4D) } as TensorTree }),
    {
      state: specsOf(extractor.weights),
      inputs: { images: { dtype: 'float32', shape: [batchSize, ...imageShape] } },
    },
  );
  try {
    for (let first = 0; first < count; first += batchSize) {
      signal?.throwIfAborted();
      const number = Math.min(batchSize, count - first);
      const batch = await images.read(first, number);
      checkValues(`images from ${first} on`, batch);
      const outputs = await compiled.run(state, { images: filledUp(batch, batchSize) });
      features.set(
        (outputs['features']!.data as Float32Array).subarray(0, number * featureLength),
        first * featureLength,
      );
      if (numClasses > 0)
        logits.set((outputs['logits']!.data as Float32Array).subarray(0, number * numClasses), first * numClasses);
      onProgress?.(first + number, count);
    }
  } finally {
    await compiled.dispose();
    await state.dispose();
  }
  return {
    features: matrix(features, featureLength),
    ...(numClasses > 0 ? { logits: matrix(logits, numClasses) } : {}),
  };
}

/** The images with the last one repeated up to `batchSize`. */
function filledUp(images: HostTensor<'float32'>, batchSize: number): HostTensor<'float32'> {
  const number = images.shape[0]!;
  if (number === batchSize) return images;
  const size = images.data.length / number;
  const data = new Float32Array(batchSize * size);
  data.set(images.data);
  for (let i = number; i < batchSize; i++) data.set(images.data.subarray((number - 1) * size), i * size);
  return { dtype: 'float32', shape: [batchSize, ...images.shape.slice(1)], data };
}
