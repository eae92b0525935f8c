/** Reductions, cumulative sums, arg-extrema, top-k and softmax. */
import * as tf from '@tensorflow/tfjs-core';
import { sizeOf, type DType } from '@dimo/core';
import type { GraphBuilder } from '../builder.js';
import { int, type Value } from '../graph.js';
import { castValue, lazy, makeView, materialize, splat, type LazyTensor } from '../lazy.js';
import { reshapeLazy } from '../lazy-reshape.js';
import { multiplyLazy } from './binary.js';
import { kernel, parseAxes, type KernelTable, type TraceKernel } from './kernel.js';
import { castLazy } from './unary.js';

type Reduction = 'ReduceSum' | 'ReduceMean' | 'ReduceMax' | 'ReduceMin' | 'ReduceProd';

/** Removes or keeps reduced axes. */
function reducedShape(shape: readonly number[], axes: readonly number[], keepDims: boolean): number[] {
  return shape.flatMap((length, axis) => (!axes.includes(axis) ? [length] : keepDims ? [1] : []));
}

/**
 * Reduces a lazy tensor. A broadcast axis is never expanded: summing over it multiplies, the other reductions ignore
 * it (a product is the exception and expands).
 */
export function reduceLazy(
  builder: GraphBuilder,
  op: Reduction,
  x: LazyTensor,
  axes: readonly number[],
  keepDims: boolean,
): LazyTensor {
  const shape = reducedShape(x.shape, axes, keepDims);
  if (x.kind === 'splat' && op !== 'ReduceProd') {
    const count = op === 'ReduceSum' ? sizeOf(axes.map((axis) => x.shape[axis]!)) : 1;
    return splat(x.type, shape, x.number * count);
  }
  if (x.kind !== 'view' || op === 'ReduceProd') {
    const value = materialize(builder, x);
    const reduced = reduceValue(builder, op, value, axes, keepDims);
    return reshapeLazy(builder, lazy(reduced), shape);
  }
  const { base, permutation } = x;
  const reduced = reduceValue(
    builder,
    op,
    base,
    axes.map((axis) => permutation[axis]!),
    true,
  );
  const kept = reducedShape(x.shape, axes, true);
  const view = reshapeLazy(builder, makeView(builder, reduced, permutation, kept), shape);
  const repeats = sizeOf(axes.map((axis) => (base.shape[permutation[axis]!] === 1 ? x.shape[axis]! : 1)));
  return op === 'ReduceSum' && repeats !== 1 ? multiplyLazy(builder, view, splat(x.type, [], repeats)) : view;
}

/** Reduces the axes that are longer than 1; the others only keep or lose their place. */
function reduceValue(
  builder: GraphBuilder,
  op: Reduction,
  value: Value,
  axes: readonly number[],
  keepDims: boolean,
): Value {
  const long = axes.filter((axis) => value.shape[axis] !== 1).sort((a, b) => a - b);
  if (long.length === 0) return value;
  const spec = { type: value.type, shape: reducedShape(value.shape, long, keepDims) };
  const axesInput = builder.constant('int64', [long.length], long);
  return builder.node(op, [value, axesInput], spec, { attributes: { keepdims: int(keepDims ? 1 : 0) } });
}

interface ReductionAttributes {
  readonly axis?: number | number[];
  readonly reductionIndices?: number | number[];
  readonly keepDims?: boolean;
}

const reduction = (op: Reduction, as?: DType): TraceKernel =>
  kernel<'x', ReductionAttributes>((builder, { x }, { axis, reductionIndices, keepDims = false }) => {
    const type = as ?? (x.type === 'bool' ? 'int32' : x.type);
    return reduceLazy(
      builder,
      op,
      castLazy(builder, x, type),
      parseAxes(axis ?? reductionIndices, x.shape.length),
      keepDims,
    );
  });

/** `All` and `Any`: extrema of 0 and 1. */
const logicalReduction = (op: Reduction): TraceKernel =>
  kernel<'x', ReductionAttributes>((builder, { x }, { axis, keepDims = false }) => {
    const numbers = castLazy(builder, x, 'int32');
    return castLazy(builder, reduceLazy(builder, op, numbers, parseAxes(axis, x.shape.length), keepDims), 'bool');
  });

const argExtremum = (op: 'ArgMax' | 'ArgMin'): TraceKernel =>
  kernel<'x', tf.ArgMaxAttrs>((builder, { x }, attributes) => {
    const axis = parseAxes(attributes.axis, x.shape.length)[0] ?? 0;
    const shape = reducedShape(x.shape, [axis], false);
    const value = materialize(builder, castLazy(builder, x, x.type === 'bool' ? 'int32' : x.type));
    const options = { attributes: { axis: int(axis), keepdims: int(0) } };
    return lazy(castValue(builder, builder.node(op, [value], { type: 'int64', shape }, options), 'int32'));
  });

/** Softmax or LogSoftmax over the last axis. */
export function softmaxLazy(builder: GraphBuilder, op: 'Softmax' | 'LogSoftmax', x: LazyTensor): LazyTensor {
  const value = materialize(builder, x);
  return lazy(builder.node(op, [value], { type: 'float32', shape: x.shape }, { attributes: { axis: int(-1) } }));
}

export const reduceKernels: KernelTable = {
  [tf.Sum]: reduction('ReduceSum'),
  [tf.Mean]: reduction('ReduceMean', 'float32'),
  [tf.Max]: reduction('ReduceMax'),
  [tf.Min]: reduction('ReduceMin'),
  [tf.Prod]: reduction('ReduceProd'),
  [tf.All]: logicalReduction('ReduceMin'),
  [tf.Any]: logicalReduction('ReduceMax'),
  [tf.ArgMax]: argExtremum('ArgMax'),
  [tf.ArgMin]: argExtremum('ArgMin'),
  [tf.Softmax]: kernel<'logits'>((builder, { logits }) => softmaxLazy(builder, 'Softmax', logits)),
  [tf.LogSoftmax]: kernel<'logits'>((builder, { logits }) => softmaxLazy(builder, 'LogSoftmax', logits)),
  [tf.Cumsum]: kernel<'x', tf.CumsumAttrs>((builder, { x }, { axis, exclusive, reverse }) => {
    const position = builder.constant('int64', [], parseAxes(axis, x.shape.length));
    const value = materialize(builder, castLazy(builder, x, x.type === 'bool' ? 'int32' : x.type));
    const attributes = { exclusive: int(exclusive ? 1 : 0), reverse: int(reverse ? 1 : 0) };
    return lazy(builder.node('CumSum', [value, position], { type: value.type, shape: x.shape }, { attributes }));
  }),
  [tf.TopK]: kernel<'x', tf.TopKAttrs>((builder, { x }, { k, sorted }) => {
    const shape = [...x.shape.slice(0, -1), k];
    const value = materialize(builder, x);
    const [values, indices] = builder.nodes(
      'TopK',
      [value, builder.constant('int64', [1], [k])],
      [
        { type: x.type, shape },
        { type: 'int64', shape },
      ],
      { attributes: { axis: int(-1), largest: int(1), sorted: int(sorted ? 1 : 0) } },
    );
    return [lazy(values!), lazy(castValue(builder, indices!, 'int32'))];
  }),
};
