/**
 * Reshapes of views that keep them views. Splitting and merging neighbouring axes commutes with transposing and
 * broadcasting, so that [batch, rows, columns, channels] stored channels-first can become [batch, rows * columns,
 * groups, channels / groups] (group norm) or [batch, rows, 2, columns, 2, channels] (upsampling) without a copy.
 */
import { sizeOf } from '@dimo/core';
import type { GraphBuilder } from './builder.js';
import { sameShape } from './graph.js';
import {
  expandValue,
  lazy,
  makeView,
  materialize,
  reshapeValue,
  splat,
  type LazyTensor,
  type ViewTensor,
} from './lazy.js';

/** Reshapes lazily. */
export function reshapeLazy(builder: GraphBuilder, tensor: LazyTensor, shape: readonly number[]): LazyTensor {
  if (sameShape(tensor.shape, shape)) return tensor;
  if (tensor.kind === 'splat') return splat(tensor.type, shape, tensor.number);
  if (tensor.kind === 'view') {
    const view = reshapeView(builder, tensor, shape);
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

function reshapeView(builder: GraphBuilder, view: ViewTensor, shape: readonly number[]): LazyTensor | undefined {
  const { base, permutation } = view;
  if (sizeOf(shape) === 0) return undefined;
  const isRepeated = (axis: number) => view.shape[axis] !== 1 && base.shape[permutation[axis]!] === 1;
  const plans = groupAxes(view.shape, shape).map((group) => {
    const long = group.from.filter((axis) => view.shape[axis] !== 1);
    const repeated = long.filter(isRepeated);
    const axes = long.map((axis) => permutation[axis]!);
    return {
      ...group,
      axes,
      isRepeated: long.length > 0 && repeated.length === long.length,
      mustExpand: repeated.length > 0 && repeated.length < long.length,
    };
  });
  // Axes of one group must be neighbours in the base, in order, not counting axes of length 1.
  const longAxes = base.shape.flatMap((_, axis) => {
    const viewAxis = permutation.indexOf(axis);
    return view.shape[viewAxis] === 1 ? [] : [axis];
  });
  for (const { axes, isRepeated: free } of plans) {
    const start = longAxes.indexOf(axes[0] ?? 0);
    if (!free && !axes.every((axis, index) => longAxes[start + index] === axis)) return undefined;
  }
  const expandedShape = base.shape.map((length, axis) => {
    const viewAxis = permutation.indexOf(axis);
    return plans.some((plan) => plan.mustExpand && plan.from.includes(viewAxis)) ? view.shape[viewAxis]! : length;
  });
  const expanded = expandValue(builder, base, expandedShape);
  const inBaseOrder = plans
    .map((plan, index) => ({
      ...plan,
      order: plan.axes.length > 0 ? Math.min(...plan.axes) : base.shape.length + index,
    }))
    .sort((a, b) => a.order - b.order);
  const newBaseShape: number[] = [];
  const newPermutation = new Array<number>(shape.length);
  for (const plan of inBaseOrder)
    for (const axis of plan.to) {
      newPermutation[axis] = newBaseShape.length;
      newBaseShape.push(plan.isRepeated ? 1 : shape[axis]!);
    }
  return makeView(builder, reshapeValue(builder, expanded, newBaseShape), newPermutation, shape);
}
