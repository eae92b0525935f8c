/** Rows of trees of host tensors. */
import { requireInteger } from '../options/check-options.js';
import { OptionError, ShapeError } from '../errors.js';
import { checkShape, sizeOf, type DTypeArray, type HostTensor, type HostTree } from './tensors.js';

/**
 * Length of the leading axis that all tensors share.
 *
 * @throws ShapeError if the tree is empty or the lengths differ.
 */
export function numRows(tree: HostTree): number {
  if (typeof tree !== 'object' || tree === null) throw new ShapeError(`a batch needs tensors, got ${String(tree)}`);
  const lengths = new Set(Object.values(tree).map(({ shape }) => shape[0]));
  const [length] = lengths;
  if (lengths.size !== 1 || length === undefined)
    throw new ShapeError(
      `a batch needs tensors with one leading axis, got lengths ${[...lengths].join(', ') || 'none'}`,
    );
  return length;
}

/**
 * `count` rows from `first` on; after the last row, that one is repeated, so that a short batch can be filled up.
 *
 * @throws OptionError or ShapeError for numbers that are none, or a tree without rows.
 */
export function takeRows(tree: HostTree, first: number, count: number): HostTree {
  requireInteger(first, 'rows of a batch: first', 0);
  requireInteger(count, 'rows of a batch: count', 0);
  const last = numRows(tree) - 1;
  if (last < 0 && count > 0) throw new ShapeError('rows of a batch: there is none to take');
  for (const { shape } of Object.values(tree)) checkShape('rows of a batch', [count, ...shape.slice(1)]);
  const rows = Array.from({ length: count }, (_, i) => Math.min(first + i, last));
  return Object.fromEntries(Object.entries(tree).map(([name, tensor]) => [name, gatherRows(tensor, rows)]));
}

/** Rows of a tensor by index. @throws OptionError for an index that is none. */
export function gatherRows<T extends HostTensor>(tensor: T, rows: readonly number[]): T {
  const width = sizeOf(tensor.shape.slice(1));
  for (const row of rows)
    if (!Number.isInteger(row) || row < 0 || row >= tensor.shape[0]!)
      throw new OptionError(`rows of a tensor: index must be an integer in [0, ${tensor.shape[0]}), got ${row}`);
  const data = new (tensor.data.constructor as new (length: number) => DTypeArray[T['dtype']])(rows.length * width);
  rows.forEach((row, i) => data.set(tensor.data.subarray(row * width, (row + 1) * width), i * width));
  return { ...tensor, shape: [rows.length, ...tensor.shape.slice(1)], data };
}
