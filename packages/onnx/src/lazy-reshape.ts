/**
 * Reshapes of views that keep them views. Splitting and merging neighbouring axes commutes with transposing and
 * broadcasting, so that [batch, rows, columns, channels] stored channels-first can become [batch, rows * columns,
 * groups, channels / groups] (group norm) or [batch, rows, 2, columns, 2, channels] (upsampling) without a copy.
 */
import { sizeOf } from '@dimo/core';
import type { GraphBuilder } from './builder.js';
import { sameShape } from './graph.js';
import {
  lazy,
  makeView,
  materialize,
  reshapeValue,
  splat,
  type LazyTensor,
  type TracedTensor,
  type ViewTensor,
} from './lazy.js';
import { repeatValue } from './repeat.js';

/** Reshapes lazily; a view that a reshape would break is remembered together with its new shape. */
export function reshapeTraced(builder: GraphBuilder, tensor: TracedTensor, shape: readonly number[]): TracedTensor {
  if (sameShape(tensor.shape, shape)) return tensor;
  const source = tensor.kind === 'reshaped' ? tensor.view : tensor;
  if (source.kind !== 'view') return reshapeLazy(builder, source, shape);
  if (sameShape(source.shape, shape)) return source;
  // Repeated elements are written out as late as possible.
  const view = reshapeView(builder, source, shape, false);
  return view ?? { kind: 'reshaped', type: source.type, shape, view: source };
}

/** The tensor without a pending reshape. */
export function settle(builder: GraphBuilder, tensor: TracedTensor): LazyTensor {
  return tensor.kind === 'reshaped' ? reshapeLazy(builder, tensor.view, tensor.shape) : tensor;
}

/** Reshapes lazily. */
export function reshapeLazy(builder: GraphBuilder, tensor: LazyTensor, shape: readonly number[]): LazyTensor {
  if (sameShape(tensor.shape, shape)) return tensor;
  if (tensor.kind === 'splat') return splat(tensor.type, shape, tensor.number);
  if (tensor.kind === 'view') {
    const view = reshapeView(builder, tensor, shape, true);
    if (view) return view;
  }
  return lazy(reshapeValue(builder, materialize(builder, tensor), shape));
}

/** A run of axes before the reshape that holds the same elements as a run of axes after it. */
interface AxisGroup {
  readonly from: readonly number[];
  readonly to: readonly number[];
}

/** Splits a reshape into the smallest independent groups of axes. */
export function groupAxes(from: readonly number[], to: readonly number[]): AxisGroup[] {
  const groups: AxisGroup[] = [];
  let i = 0;
  let k = 0;
  while (i < from.length || k < to.length) {
    const group = { from: [] as number[], to: [] as number[] };
    let fromSize = 1;
    let toSize = 1;
    do {
      if (i < from.length && (fromSize <= toSize || k >= to.length)) {
        fromSize *= from[i]!;
        group.from.push(i++);
      } else {
        toSize *= to[k]!;
        group.to.push(k++);
      }
    } while (fromSize !== toSize && (i < from.length || k < to.length));
    // Axes of length 1 that follow belong to no other group of their own.
    while (i < from.length && from[i] === 1 && group.to.length > 0) group.from.push(i++);
    while (k < to.length && to[k] === 1 && group.from.length > 0) group.to.push(k++);
    groups.push(group);
  }
  return groups;
}

/** The reshaped view as a view, if splitting and merging axes of the base is enough. */
function reshapeView(
  builder: GraphBuilder,
  view: ViewTensor,
  shape: readonly number[],
  mayExpand: boolean,
): LazyTensor | undefined {
  const { base, permutation } = view;
  if (sizeOf(shape) === 0) return undefined;
  const isStored = (axis: number) => base.shape[permutation[axis]!] !== 1;
  const groups = groupAxes(view.shape, shape).map((group) => {
    const long = group.from.filter((axis) => view.shape[axis] !== 1);
    const stored = long.filter(isStored).map((axis) => permutation[axis]!);
    return { ...group, long, stored, mustExpand: stored.length > 0 && stored.length < long.length };
  });
  if (!mayExpand && groups.some((group) => group.mustExpand)) return undefined;
  // Stored axes of one group must be neighbours in the base, in order, not counting axes of length 1.
  const storedAxes = base.shape.flatMap((length, axis) => (length === 1 ? [] : [axis]));
  for (const { stored } of groups) {
    const start = storedAxes.indexOf(stored[0] ?? 0);
    if (!stored.every((axis, index) => storedAxes[start + index] === axis)) return undefined;
  }
  // Repeated axes have length 1 in the base, so they may be put beside the axes they are merged with.
  const inBaseOrder = [...groups].sort((a, b) => (a.stored[0] ?? Infinity) - (b.stored[0] ?? Infinity) || 0);
  const lengths = inBaseOrder.flatMap(({ long, mustExpand }) =>
    long.map((axis) => ({
      stored: base.shape[permutation[axis]!]!,
      expanded: mustExpand ? view.shape[axis]! : undefined,
    })),
  );
  const aligned = reshapeValue(
    builder,
    base,
    lengths.map(({ stored }) => stored),
  );
  const expanded = repeatValue(
    builder,
    aligned,
    lengths.map(({ stored, expanded: length }) => length ?? stored),
  );
  const newBaseShape: number[] = [];
  const newPermutation = new Array<number>(shape.length);
  for (const { to, long, stored } of inBaseOrder)
    for (const axis of to) {
      newPermutation[axis] = newBaseShape.length;
      newBaseShape.push(long.length > 0 && stored.length === 0 ? 1 : shape[axis]!);
    }
  return makeView(builder, reshapeValue(builder, expanded, newBaseShape), newPermutation, shape);
}

/**
 * The elements of a tensor repeated along a new axis in front of axis `axis`, which is merged into it: what
 * concatenating a tensor with itself is. Undefined where that would not be a reshaped view.
 */
export function repeatLazy(
  builder: GraphBuilder,
  tensor: TracedTensor,
  axis: number,
  count: number,
): TracedTensor | undefined {
  const view = tensor.kind === 'reshaped' ? tensor.view : tensor;
  if (view.kind !== 'view') return undefined;
  const before = sizeOf(tensor.shape.slice(0, axis));
  let position = 0;
  for (let size = 1; size !== before; position++) {
    if (position === view.shape.length || size > before) return undefined;
    size *= view.shape[position]!;
  }
  const { base, permutation } = view;
  const longer = [...view.shape.slice(0, position), count, ...view.shape.slice(position)];
  const order = [...permutation.slice(0, position), base.shape.length, ...permutation.slice(position)];
  const repeated = makeView(builder, reshapeValue(builder, base, [...base.shape, 1]), order, longer);
  const shape = tensor.shape.map((length, index) => (index === axis ? length * count : length));
  return reshapeTraced(builder, repeated, shape);
}
