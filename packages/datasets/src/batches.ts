/** Subsets of a split, and the pixels of images as tensors. */
import {
  float32,
  int32,
  OptionError,
  randomStream,
  ShapeError,
  sizeOf,
  type Dataset,
  type DatasetSplit,
  type HostTensor,
} from '@dimo/core';

/**
 * `size` distinct indices below `count`, shuffled. The MNIST test split is in an order that matters: sample it with this.
 *
 * @throws OptionError if `size` is larger than `count`.
 */
export function shuffledSubset(
  count: number,
  size: number,
  seed: number,
  stream = 'datasets/subset',
): Int32Array<ArrayBuffer> {
  if (!Number.isInteger(size) || size < 0 || size > count)
    throw new OptionError(`shuffledSubset: size must be an integer from 0 to ${count}, got ${size}`);
  return randomStream(seed, 0, stream).permutation(count).slice(0, size);
}

/**
 * Pixels as float32 [indices.length, H, W, C] in [0, 1] (byte / 255).
 *
 * @throws OptionError if an index is outside the split; ShapeError if the pixels are not those of the images.
 */
export function imagesAt(
  dataset: Pick<Dataset, 'imageShape'>,
  split: DatasetSplit,
  indices: ArrayLike<number>,
): HostTensor<'float32'> {
  const numValues = sizeOf(dataset.imageShape);
  if (split.pixels.length !== split.count * numValues)
    throw new ShapeError(
      `a split of ${split.count} images of [${dataset.imageShape.join(', ')}] needs ${split.count * numValues} bytes, got ${split.pixels.length}`,
    );
  const values = new Float32Array(indices.length * numValues);
  for (let i = 0; i < indices.length; i++) {
    const source = checkedIndex(split, indices[i]!) * numValues;
    for (let k = 0; k < numValues; k++) values[i * numValues + k] = split.pixels[source + k]! / 255;
  }
  return float32([indices.length, ...dataset.imageShape], values);
}

/** Labels as int32 [indices.length]. @throws OptionError if an index is outside the split. */
export function labelsAt(split: DatasetSplit, indices: ArrayLike<number>): HostTensor<'int32'> {
  if (split.labels.data.length !== split.count)
    throw new ShapeError(`a split of ${split.count} images needs as many labels, got ${split.labels.data.length}`);
  const labels = Int32Array.from(
    { length: indices.length },
    (_, i) => split.labels.data[checkedIndex(split, indices[i]!)]!,
  );
  return int32([labels.length], labels);
}

function checkedIndex(split: DatasetSplit, index: number): number {
  if (!Number.isInteger(index) || index < 0 || index >= split.count)
    throw new OptionError(`image index must be an integer from 0 to ${split.count - 1}, got ${index}`);
  return index;
}
