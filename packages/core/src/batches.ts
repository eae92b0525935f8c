/** Rows of trees of host tensors. */
import { ShapeError } from './errors.js';
import { sizeOf, type DTypeArray, type HostTensor, type HostTree } from './tensors.js';

/**
 * Length of the leading axis that all tensors share.
 *
 * @throws ShapeError if the tree is empty or the lengths differ.
 */
export function numRows(tree: HostTree): number {
  const lengths = new Set(Object.values(tree).map(({ shape }) => shape[0]));
  const [length] = lengths;
  if (lengths.size !== 1 || length === undefined)
    throw new ShapeError(
      `a batch needs tensors with one leading axis, got lengths ${[...lengths].join(', ') || 'none'}`,
    );
  return length;
}

/** `count` rows from `first` on; after the last row, that one is repeated, so that a short batch can be filled up. */
export function takeRows(tree: HostTree, first: number, count: number): HostTree {
  const last = numRows(tree) - 1;
  const rows = Array.from({ length: count }, (_, i) => Math.min(first + i, last));
  return Object.fromEntries(Object.entries(tree).map(([name, tensor]) => [name, gatherRows(tensor, rows)]));
}

/** Rows of a tensor by index. */
export function gatherRows<T extends HostTensor>(tensor: T, rows: readonly number[]): T {
  const width = sizeOf(tensor.shape.slice(1));
  const data = new (tensor.data.constructor as new (length: number) => DTypeArray[T['dtype']])(rows.length * width);
  rows.forEach((row, i) => data.set(tensor.data.subarray(row * width, (row + 1) * width), i * width));
  return { ...tensor, shape: [rows.length, ...tensor.shape.slice(1)], data };
}
