/** Constants and table lookups. */
import * as tf from '@tensorflow/tfjs-core';
import { sizeOf, type DType } from '@dimo/core';
import type { GraphBuilder } from '../builder.js';
import { int, text, type Value } from '../graph.js';
import { castValue, expandValue, lazy, materialize, reshapeValue, splat, type LazyTensor } from '../lazy.js';
import { reshapeLazy } from '../lazy-reshape.js';
import { castLazy } from './unary.js';
import { elementwiseNode } from '../elementwise.js';
import { selectLazy } from './binary.js';
import { kernel, parseAxes, unsupported, type KernelTable } from './kernel.js';

/** Rows of `x` along `axis`. */
function gather(builder: GraphBuilder, x: LazyTensor, indices: LazyTensor, axis: number): LazyTensor {
  const shape = [...x.shape.slice(0, axis), ...indices.shape, ...x.shape.slice(axis + 1)];
  if (x.kind === 'splat') return splat(x.type, shape, x.number);
  const inputs = [materialize(builder, x), materialize(builder, castLazy(builder, indices, 'int32'))];
  return lazy(builder.node('Gather', inputs, { type: x.type, shape }, { attributes: { axis: int(axis) } }));
}

/** Gather with one index list per leading batch entry, through indices into the flattened leading axes. */
function gatherBatched(
  builder: GraphBuilder,
  x: LazyTensor,
  indices: LazyTensor,
  axis: number,
  batchDims: number,
): LazyTensor {
  if (axis !== batchDims)
    return unsupported(`GatherV2: batchDims ${batchDims} is supported for axis ${batchDims} only, got axis ${axis}`);
  const batch = sizeOf(x.shape.slice(0, batchDims));
  const length = x.shape[axis]!;
  const inner = x.shape.slice(axis + 1);
  const perEntry = sizeOf(indices.shape) / Math.max(batch, 1);
  const starts = lazy(
    builder.constant(
      'int32',
      [batch, 1],
      Array.from({ length: batch }, (_, entry) => entry * length),
    ),
  );
  const flat = elementwiseNode(builder, 'Add', [reshapeLazy(builder, indices, [batch, perEntry]), starts], 'int32');
  const rows = gather(builder, reshapeLazy(builder, x, [batch * length, ...inner]), flat, 0);
  return reshapeLazy(builder, rows, [...indices.shape, ...inner]);
}

/** Adds (or writes) rows of `updates` into zeros; deterministic in onnxruntime. */
export function scatterRows(
  builder: GraphBuilder,
  ids: Value,
  updates: Value,
  shape: readonly number[],
  add: boolean,
): Value {
  const zeros = expandValue(builder, builder.constant(updates.type, [], [0]), shape);
  const indices = castValue(builder, ids, 'int64');
  const attributes = { reduction: text(add ? 'add' : 'none') };
  return builder.node('ScatterND', [zeros, indices, updates], { type: updates.type, shape }, { attributes });
}

/** Sum of the rows of `x` [n, ...] by segment id [n]. */
function segmentSum(builder: GraphBuilder, x: LazyTensor, ids: LazyTensor, numSegments: number): LazyTensor {
  const rank = ids.shape.length;
  if (rank !== 1)
    return unsupported(`UnsortedSegmentSum is supported for rank 1 ids only, got [${ids.shape.join(', ')}]`);
  const rows = ids.shape[0]!;
  const column = reshapeValue(builder, materialize(builder, castLazy(builder, ids, 'int32')), [rows, 1]);
  return lazy(scatterRows(builder, column, materialize(builder, x), [numSegments, ...x.shape.slice(1)], true));
}

const range = (start: number, stop: number, step: number): number[] =>
  Array.from({ length: Math.max(0, Math.ceil((stop - start) / step)) }, (_, index) => start + index * step);

/** Literal tensor, as a splat if all elements are equal. */
export function literal(
  builder: GraphBuilder,
  type: DType,
  shape: readonly number[],
  data: ArrayLike<number | boolean>,
): LazyTensor {
  const numbers = Array.from(data as ArrayLike<number>, Number);
  const first = numbers[0];
  if (first !== undefined && numbers.every((number) => Object.is(number, first))) return splat(type, shape, first);
  return lazy(
    builder.constant(type, shape, type === 'float32' ? Float32Array.from(numbers) : Int32Array.from(numbers)),
  );
}

export const gatherKernels: KernelTable = {
  [tf.GatherV2]: kernel<'x' | 'indices', tf.GatherV2Attrs>((builder, { x, indices }, { axis, batchDims }) => {
    const gatherAxis = parseAxes(axis, x.shape.length)[0]!;
    const dims = batchDims < 0 ? batchDims + indices.shape.length : batchDims;
    return dims > 0 ? gatherBatched(builder, x, indices, gatherAxis, dims) : gather(builder, x, indices, gatherAxis);
  }),
  [tf.GatherNd]: kernel<'params' | 'indices'>((builder, { params, indices }) => {
    const depth = indices.shape[indices.shape.length - 1]!;
    const shape = [...indices.shape.slice(0, -1), ...params.shape.slice(depth)];
    const ids = castValue(builder, materialize(builder, castLazy(builder, indices, 'int32')), 'int64');
    return lazy(builder.node('GatherND', [materialize(builder, params), ids], { type: params.type, shape }));
  }),
  [tf.ScatterNd]: kernel<'indices' | 'updates', tf.ScatterNdAttrs>((builder, { indices, updates }, { shape }) =>
    lazy(scatterRows(builder, materialize(builder, indices), materialize(builder, updates), shape, true)),
  ),
  [tf.UnsortedSegmentSum]: kernel<'x' | 'segmentIds', tf.UnsortedSegmentSumAttrs>(
    (builder, { x, segmentIds }, { numSegments }) => segmentSum(builder, x, segmentIds, numSegments),
  ),
  [tf.OneHot]: kernel<'indices', tf.OneHotAttrs>((builder, { indices }, { depth, onValue, offValue, dtype }) => {
    const ids = castLazy(builder, reshapeLazy(builder, indices, [...indices.shape, 1]), 'int32');
    const classes = lazy(builder.constant('int32', [depth], range(0, depth, 1)));
    const isClass = elementwiseNode(builder, 'Equal', [ids, classes], 'bool');
    const type = (dtype ?? 'float32') as DType;
    if (onValue === 1 && offValue === 0) return castLazy(builder, isClass, type);
    return selectLazy(builder, isClass, splat(type, [], onValue), splat(type, [], offValue));
  }),
  [tf.Range]: kernel<never, tf.RangeAttrs>((builder, _, { start, stop, step, dtype }) => {
    const sign = start < stop && step === 1 ? 1 : stop < start && step === 1 ? -1 : step;
    const data = range(start, stop, sign);
    return literal(builder, dtype ?? 'float32', [data.length], data);
  }),
  [tf.LinSpace]: kernel<never, tf.LinSpaceAttrs>((builder, _, { start, stop, num }) => {
    const step = num > 1 ? (stop - start) / (num - 1) : 0;
    return literal(
      builder,
      'float32',
      [num],
      Array.from({ length: num }, (_, index) => start + index * step),
    );
  }),
  [tf.Fill]: kernel<never, tf.FillAttrs>((_, __, { shape, value, dtype }) => {
    if (typeof value === 'string') return unsupported('Fill with strings is not supported');
    return splat((dtype ?? 'float32') as DType, shape, value);
  }),
};
