/** Subsets of a split, and their labels. */
import { int32, OptionError, randomStream, ShapeError, type DatasetSplit, type HostTensor } from '@dimo/core';

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
