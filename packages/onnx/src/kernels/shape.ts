/** Kernels that move elements: reshape, transpose, slice, pad, concatenate, tile, reverse. */
import * as tf from '@tensorflow/tfjs-core';
import { sizeOf } from '@dimo/core';
import type { GraphBuilder } from '../builder.js';
import { int, sameShape, text, type Value } from '../graph.js';
import {
  broadcastLazy,
  castValue,
  identityPermutation,
  inversePermutation,
  lazy,
  makeView,
  materialize,
  permuteLazy,
  splat,
  type LazyTensor,
} from '../lazy.js';
import { repeatLazy, reshapeLazy, reshapeTraced, settle } from '../lazy-reshape.js';
import { kernel, listKernel, reshapeKernel, parseAxes, unsupported, type KernelTable } from './kernel.js';

/** Start, end (exclusive) and step per axis. */
interface SliceRange {
  readonly start: number;
  readonly end: number;
  readonly step: number;
}

/** Slices a value; only axes that really change are named. `shape` is that of the result. */
export function sliceValue(
  builder: GraphBuilder,
  value: Value,
  ranges: readonly SliceRange[],
  shape: readonly number[],
): Value {
  const axes = ranges.flatMap(({ start, end, step }, axis) =>
    start === 0 && end === value.shape[axis] && step === 1 ? [] : [axis],
  );
  if (axes.length === 0) return value;
  const part = partOfConcat(value, ranges, shape);
  if (part) return part;
  const list = (data: number[]) => builder.constant('int64', [data.length], data);
  const inputs = [
    value,
    list(axes.map((axis) => ranges[axis]!.start)),
    list(axes.map((axis) => ranges[axis]!.end)),
    list(axes),
  ];
  if (axes.some((axis) => ranges[axis]!.step !== 1)) inputs.push(list(axes.map((axis) => ranges[axis]!.step)));
  return builder.node('Slice', inputs, { type: value.type, shape });
}

/** Ranges that turn some axes around; an end below every index includes element 0. */
function reversedRanges(shape: readonly number[], axes: readonly number[]): SliceRange[] {
  return shape.map((length, axis) =>
    axes.includes(axis) && length > 1
      ? { start: length - 1, end: -(2 ** 31), step: -1 }
      : { start: 0, end: length, step: 1 },
  );
}

/** A value with some axes turned around. */
export function reverseValue(builder: GraphBuilder, value: Value, axes: readonly number[]): Value {
  return sliceValue(builder, value, reversedRanges(value.shape, axes), value.shape);
}

/** The operand of a concatenation that a slice takes out again. */
function partOfConcat(value: Value, ranges: readonly SliceRange[], shape: readonly number[]): Value | undefined {
  const { source } = value;
  if (source.kind !== 'node' || source.node.op !== 'Concat') return undefined;
  const axis = source.node.attributes['axis']!.value as number;
  let start = 0;
  for (const part of source.node.inputs) {
    if (start === ranges[axis]!.start && sameShape(part!.shape, shape))
      return ranges[axis]!.step === 1 ? part : undefined;
    start += part!.shape[axis]!;
  }
  return undefined;
}

/** Slices lazily: a view stays a view, a broadcast axis only gets shorter. */
export function sliceLazy(
  builder: GraphBuilder,
  x: LazyTensor,
  ranges: readonly SliceRange[],
  shape: readonly number[],
): LazyTensor {
  if (x.kind === 'splat') return splat(x.type, shape, x.number);
  if (x.kind === 'value') return lazy(sliceValue(builder, x.value, ranges, shape));
  const { base, permutation } = x;
  const whole = { start: 0, end: 1, step: 1 };
  const baseRanges = new Array<SliceRange>(base.shape.length).fill(whole);
  const baseShape = [...base.shape];
  permutation.forEach((baseAxis, axis) => {
    if (base.shape[baseAxis] === 1 && x.shape[axis] !== 1) return;
    baseRanges[baseAxis] = ranges[axis]!;
    baseShape[baseAxis] = shape[axis]!;
  });
  return makeView(builder, sliceValue(builder, base, baseRanges, baseShape), permutation, shape);
}

/** Contiguous slice in tfjs' terms; a size of -1 means "to the end". */
export function sliceFrom(
  builder: GraphBuilder,
  x: LazyTensor,
  begin: readonly number[],
  size: readonly number[],
): LazyTensor {
  const shape = x.shape.map((length, axis) => {
    const wanted = size[axis] ?? -1;
    return wanted < 0 ? length - (begin[axis] ?? 0) : wanted;
  });
  const ranges = shape.map((length, axis) => {
    const start = begin[axis] ?? 0;
    return { start, end: start + length, step: 1 };
  });
  return sliceLazy(builder, x, ranges, shape);
}

/** Pads with a constant, in the layout of the stored elements. */
export function padLazy(
  builder: GraphBuilder,
  x: LazyTensor,
  paddings: readonly (readonly [number, number])[],
  constant: number,
  mode: 'constant' | 'reflect' = 'constant',
): LazyTensor {
  const shape = x.shape.map((length, axis) => length + paddings[axis]![0] + paddings[axis]![1]);
  if (sameShape(shape, x.shape)) return x;
  if (x.kind === 'splat' && (mode === 'reflect' || x.number === constant)) return splat(x.type, shape, x.number);
  const isTransposed = x.kind === 'view' && sizeOf(x.base.shape) === sizeOf(x.shape);
  const base = isTransposed ? x.base : materialize(builder, x);
  const permutation = isTransposed ? x.permutation : identityPermutation(shape.length);
  const axes = inversePermutation(permutation);
  const pads = [...axes.map((axis) => paddings[axis]![0]), ...axes.map((axis) => paddings[axis]![1])];
  // onnxruntime pads no booleans.
  const numbers = castValue(builder, base, base.type === 'bool' ? 'int32' : base.type);
  const inputs = [
    numbers,
    builder.constant('int64', [pads.length], pads),
    builder.constant(numbers.type, [], [constant]),
  ];
  const padded = builder.node(
    'Pad',
    inputs,
    { type: numbers.type, shape: axes.map((axis) => shape[axis]!) },
    {
      attributes: { mode: text(mode) },
    },
  );
  return makeView(builder, castValue(builder, padded, base.type), permutation, shape);
}

/** Concatenates, in the common layout if all parts are transposed alike. */
export function concatLazy(builder: GraphBuilder, parts: readonly LazyTensor[], axis: number): LazyTensor {
  const filled = parts.filter((part) => part.shape[axis] !== 0);
  const first = filled[0] ?? parts[0]!;
  if (filled.length <= 1) return first;
  const shape = first.shape.map((length, index) =>
    index === axis ? filled.reduce((sum, part) => sum + part.shape[axis]!, 0) : length,
  );
  if (filled.every((part) => part.kind === 'splat' && Object.is(part.number, (first as { number?: number }).number)))
    return { ...first, shape } as LazyTensor;
  const layout =
    first.kind === 'view' && sizeOf(first.base.shape) === sizeOf(first.shape) ? first.permutation : undefined;
  const isAlike = filled.every(
    (part) =>
      part.kind === 'view' &&
      sameShape(part.permutation, layout ?? []) &&
      sizeOf(part.base.shape) === sizeOf(part.shape),
  );
  const permutation = layout && isAlike ? layout : identityPermutation(shape.length);
  const values = filled.map((part) => (isAlike && part.kind === 'view' ? part.base : materialize(builder, part)));
  const spec = { type: first.type, shape: inversePermutation(permutation).map((index) => shape[index]!) };
  const value = builder.node('Concat', values, spec, { attributes: { axis: int(permutation[axis]!) } });
  return makeView(builder, value, permutation, shape);
}

const tile = kernel<'x', tf.TileAttrs>((builder, { x }, { reps }) => {
  const shape = x.shape.map((length, axis) => length * reps[axis]!);
  if (x.kind === 'splat' || reps.every((count, axis) => count === 1 || x.shape[axis] === 1))
    return broadcastLazy(builder, x, shape);
  const inputs = [materialize(builder, x), builder.constant('int64', [reps.length], reps)];
  return lazy(builder.node('Tile', inputs, { type: x.type, shape }));
});

const stridedSlice = kernel<'x', tf.StridedSliceAttrs>((builder, { x }, attributes) => {
  const { begin, end, strides, beginMask, endMask, ellipsisMask, newAxisMask, shrinkAxisMask } = attributes;
  const info = tf.slice_util.sliceInfo(
    [...x.shape],
    begin,
    end,
    strides,
    beginMask,
    endMask,
    ellipsisMask,
    newAxisMask,
    shrinkAxisMask,
  );
  const shape = info.finalShapeSparse;
  if (info.isIdentity) return reshapeLazy(builder, x, info.finalShape);
  const ranges = info.begin.map((start, axis) => {
    const step = info.strides[axis]!;
    if (step === 0) return unsupported('StridedSlice: strides must not be 0');
    // The end of a backward slice that includes element 0 is below every index.
    const end = step < 0 && info.end[axis]! < 0 ? -(2 ** 31) : info.end[axis]!;
    return { start, end, step };
  });
  const taken = ranges.map(({ start, end, step }, axis) =>
    Math.max(0, Math.ceil(((step < 0 ? Math.max(end, -1) : Math.min(end, x.shape[axis]!)) - start) / step)),
  );
  if (sizeOf(taken) !== sizeOf(shape))
    unsupported(`StridedSlice of [${x.shape.join(', ')}] with strides [${strides.join(', ')}]`);
  return reshapeLazy(builder, sliceLazy(builder, x, ranges, taken), info.finalShape);
});

export const shapeKernels: KernelTable = {
  [tf.Reshape]: reshapeKernel<'x', tf.ReshapeAttrs>((builder, { x }, { shape }) =>
    reshapeTraced(builder, x, tf.util.inferFromImplicitShape(shape, sizeOf(x.shape))),
  ),
  [tf.ExpandDims]: reshapeKernel<'input', tf.ExpandDimsAttrs>((builder, { input }, { dim }) => {
    const shape = [...input.shape];
    shape.splice(dim < 0 ? input.shape.length + 1 + dim : dim, 0, 1);
    return reshapeTraced(builder, input, shape);
  }),
  [tf.Transpose]: kernel<'x', tf.TransposeAttrs>((builder, { x }, { perm }) => permuteLazy(builder, x, perm)),
  [tf.Slice]: kernel<'x', tf.SliceAttrs>((builder, { x }, { begin, size }) => {
    const [starts, sizes] = tf.slice_util.parseSliceParams({ shape: [...x.shape] } as tf.TensorInfo, begin, size);
    return sliceFrom(builder, x, starts!, sizes!);
  }),
  [tf.StridedSlice]: stridedSlice,
  [tf.PadV2]: kernel<'x', tf.PadV2Attrs>((builder, { x }, { paddings, constantValue }) =>
    padLazy(builder, x, paddings, constantValue),
  ),
  [tf.MirrorPad]: kernel<'x', tf.MirrorPadAttrs>((builder, { x }, { paddings, mode }) =>
    mode === 'reflect'
      ? padLazy(builder, x, paddings, 0, 'reflect')
      : unsupported(`MirrorPad: mode ${mode} is not supported`),
  ),
  [tf.Concat]: reshapeKernel<string, tf.ConcatAttrs>((builder, inputs, { axis }) => {
    const parts = Object.values(inputs);
    const first = parts[0]!;
    const concatAxis = parseAxes(axis, first.shape.length)[0]!;
    const repeated = parts.every((part) => part === first) && repeatLazy(builder, first, concatAxis, parts.length);
    return (
      repeated ||
      concatLazy(
        builder,
        parts.map((part) => settle(builder, part)),
        concatAxis,
      )
    );
  }),
  [tf.SplitV]: kernel<'x', tf.SplitVAttrs>((builder, { x }, { numOrSizeSplits, axis }) => {
    const splitAxis = parseAxes(axis, x.shape.length)[0]!;
    const sizes = tf.backend_util.prepareSplitSize({ shape: [...x.shape] } as tf.Tensor, numOrSizeSplits, splitAxis);
    let start = 0;
    return sizes.map((length) => {
      const begin = x.shape.map((_, index) => (index === splitAxis ? start : 0));
      start += length;
      return sliceFrom(
        builder,
        x,
        begin,
        x.shape.map((whole, index) => (index === splitAxis ? length : whole)),
      );
    });
  }),
  [tf.Unpack]: kernel<'value', tf.UnpackAttrs>((builder, { value }, { axis }) => {
    const unpackAxis = parseAxes(axis, value.shape.length)[0]!;
    const shape = value.shape.filter((_, index) => index !== unpackAxis);
    return Array.from({ length: value.shape[unpackAxis]! }, (_, position) => {
      const begin = value.shape.map((_, index) => (index === unpackAxis ? position : 0));
      const size = value.shape.map((length, index) => (index === unpackAxis ? 1 : length));
      return reshapeLazy(builder, sliceFrom(builder, value, begin, size), shape);
    });
  }),
  [tf.Pack]: listKernel<tf.PackAttrs>((builder, parts, { axis }) => {
    const packAxis = axis < 0 ? parts[0]!.shape.length + 1 + axis : axis;
    const shape = [...parts[0]!.shape];
    shape.splice(packAxis, 0, 1);
    return concatLazy(
      builder,
      parts.map((part) => reshapeLazy(builder, part, shape)),
      packAxis,
    );
  }),
  [tf.Tile]: tile,
  [tf.BroadcastTo]: kernel<'x', tf.BroadCastToAttrs>((builder, { x }, { shape }) => broadcastLazy(builder, x, shape)),
  [tf.Reverse]: kernel<'x', tf.ReverseAttrs>((builder, { x }, { dims }) =>
    sliceLazy(builder, x, reversedRanges(x.shape, parseAxes(dims, x.shape.length)), x.shape),
  ),
};
