/**
 * Tensors of the traced function before they become values of the graph. tfjs makes constants, broadcasts and layout
 * changes freely; here they cost nothing until an operator needs the elements: an elementwise operator computes on the
 * base of a view and stays a view, a reduction drops broadcast axes, two transpositions cancel.
 */
import { sizeOf, type DType } from '@dimo/core';
import type { GraphBuilder } from './builder.js';
import { int, ints, sameShape, type Value } from './graph.js';

/** A value of the graph. */
export interface ConcreteTensor {
  readonly kind: 'value';
  readonly type: DType;
  readonly shape: readonly number[];
  readonly value: Value;
}

/** A tensor with all elements equal; booleans are 0 and 1. */
export interface SplatTensor {
  readonly kind: 'splat';
  readonly type: DType;
  readonly shape: readonly number[];
  readonly number: number;
}

/**
 * A transposed and broadcast value: axis `a` of the view is axis `permutation[a]` of the base, which has the same
 * length, or length 1 and is repeated.
 */
export interface ViewTensor {
  readonly kind: 'view';
  readonly type: DType;
  readonly shape: readonly number[];
  readonly base: Value;
  readonly permutation: readonly number[];
}

/** A tensor that operators can work on. */
export type LazyTensor = ConcreteTensor | SplatTensor | ViewTensor;

/**
 * A reshape that has not happened: the elements of the view in row-major order, in another shape. A later reshape may
 * make it a view again; see `settle` in lazy-reshape.ts for the others.
 */
export interface ReshapedView {
  readonly kind: 'reshaped';
  readonly type: DType;
  readonly shape: readonly number[];
  readonly view: ViewTensor;
}

/** A tensor of the traced function. */
export type TracedTensor = LazyTensor | ReshapedView;

/** Wraps a float32, int32 or bool value. */
export function lazy(value: Value): ConcreteTensor {
  return { kind: 'value', type: value.type as DType, shape: value.shape, value };
}

/** A tensor with all elements equal to `number`, rounded to float32 if it is one. */
export function splat(type: DType, shape: readonly number[], number: number): SplatTensor {
  return { kind: 'splat', type, shape, number: type === 'float32' ? Math.fround(number) : number };
}

/** 0, 1, ... rank - 1. */
export function identityPermutation(rank: number): number[] {
  return Array.from({ length: rank }, (_, axis) => axis);
}

/** The permutation that undoes `permutation`. */
export function inversePermutation(permutation: readonly number[]): number[] {
  const inverse = new Array<number>(permutation.length);
  permutation.forEach((source, axis) => (inverse[source] = axis));
  return inverse;
}

/** True if transposing by `permutation` keeps the order of the elements: only axes of length 1 move. */
export function keepsElementOrder(shape: readonly number[], permutation: readonly number[]): boolean {
  const moved = permutation.filter((axis) => shape[axis] !== 1);
  return moved.every((axis, index) => index === 0 || moved[index - 1]! < axis);
}

/** The smallest description of a view: a value if nothing is broadcast or permuted. */
export function makeView(
  builder: GraphBuilder,
  base: Value,
  permutation: readonly number[],
  shape: readonly number[],
): LazyTensor {
  const natural = permutation.map((axis) => base.shape[axis]!);
  if (keepsElementOrder(base.shape, permutation)) {
    const straight = reshapeValue(builder, base, natural);
    if (sameShape(natural, shape)) return lazy(straight);
    return {
      kind: 'view',
      type: base.type as DType,
      shape,
      base: straight,
      permutation: identityPermutation(shape.length),
    };
  }
  return { kind: 'view', type: base.type as DType, shape, base, permutation };
}

/** Reshapes a value; a reshape of a reshape is one reshape, a reshape to the same shape none. */
export function reshapeValue(builder: GraphBuilder, value: Value, shape: readonly number[]): Value {
  const { source } = value;
  const origin = source.kind === 'node' && source.node.op === 'Reshape' ? source.node.inputs[0]! : value;
  if (sameShape(origin.shape, shape)) return origin;
  if (sameShape(value.shape, shape)) return value;
  if (source.kind === 'constant') return builder.constant(value.type, shape, source.data);
  const target = builder.constant('int64', [shape.length], shape);
  // Without the attribute a length of 0 stands for that of the input.
  const attributes = shape.includes(0) ? { allowzero: int(1) } : {};
  return builder.node('Reshape', [origin, target], { type: value.type, shape }, { attributes });
}

/** Transposes a value; a transpose of a transpose is one transpose, moving only axes of length 1 is a reshape. */
export function transposeValue(builder: GraphBuilder, value: Value, permutation: readonly number[]): Value {
  const shape = permutation.map((axis) => value.shape[axis]!);
  if (keepsElementOrder(value.shape, permutation)) return reshapeValue(builder, value, shape);
  const { source } = value;
  if (source.kind === 'node' && source.node.op === 'Transpose') {
    const first = source.node.attributes['perm']!.value as readonly number[];
    return transposeValue(
      builder,
      source.node.inputs[0]!,
      permutation.map((axis) => first[axis]!),
    );
  }
  return builder.node('Transpose', [value], { type: value.type, shape }, { attributes: { perm: ints(permutation) } });
}

/** Casts a value; an integer or boolean that went through float comes back as it was (integers up to 2^24). */
export function castValue(builder: GraphBuilder, value: Value, type: Value['type']): Value {
  if (value.type === type) return value;
  const { source } = value;
  if (source.kind === 'node' && source.node.op === 'Cast') {
    const origin = source.node.inputs[0]!;
    const isLossless = type === 'bool' || (type === 'int32' && value.type !== 'bool');
    if (origin.type === type && isLossless) return reshapeValue(builder, origin, value.shape);
  }
  const onnxType = { float32: 1, int32: 6, int64: 7, bool: 9 }[type];
  return builder.node(
    'Cast',
    [value],
    { type, shape: value.shape },
    { attributes: { to: { kind: 'int', value: onnxType } } },
  );
}

/** Repeats axes of length 1 (and adds leading axes). */
export function expandValue(builder: GraphBuilder, value: Value, shape: readonly number[]): Value {
  if (sameShape(value.shape, shape)) return value;
  if (sizeOf(value.shape) === sizeOf(shape)) return reshapeValue(builder, value, shape);
  return builder.node('Expand', [value, builder.constant('int64', [shape.length], shape)], { type: value.type, shape });
}

/** Below this many elements a splat is written out, above it is a ConstantOfShape node. */
const literalSplatSize = 16;

/** The graph value with all elements of the tensor. */
export function materialize(builder: GraphBuilder, tensor: LazyTensor): Value {
  switch (tensor.kind) {
    case 'value':
      return tensor.value;
    case 'splat': {
      const { type, shape, number } = tensor;
      const size = sizeOf(shape);
      if (size <= literalSplatSize) return builder.constant(type, shape, new Array<number>(size).fill(number));
      return expandValue(builder, builder.constant(type, [], [number]), shape);
    }
    case 'view':
      return expandValue(builder, transposeValue(builder, tensor.base, tensor.permutation), tensor.shape);
  }
}

/** Transposes lazily. */
export function permuteLazy(builder: GraphBuilder, tensor: LazyTensor, permutation: readonly number[]): LazyTensor {
  const shape = permutation.map((axis) => tensor.shape[axis]!);
  switch (tensor.kind) {
    case 'splat':
      return { ...tensor, shape };
    case 'value':
      return makeView(builder, tensor.value, permutation, shape);
    case 'view':
      return makeView(
        builder,
        tensor.base,
        permutation.map((axis) => tensor.permutation[axis]!),
        shape,
      );
  }
}

/** Broadcasts lazily to a larger shape (NumPy rules). */
export function broadcastLazy(builder: GraphBuilder, tensor: LazyTensor, shape: readonly number[]): LazyTensor {
  if (sameShape(tensor.shape, shape)) return tensor;
  if (tensor.kind === 'splat') return { ...tensor, shape };
  const missing = shape.length - tensor.shape.length;
  const base = tensor.kind === 'value' ? tensor.value : tensor.base;
  const inner = tensor.kind === 'value' ? identityPermutation(tensor.shape.length) : tensor.permutation;
  const padded = reshapeValue(builder, base, [...new Array<number>(missing).fill(1), ...base.shape]);
  const permutation = [...identityPermutation(missing), ...inner.map((axis) => axis + missing)];
  return makeView(builder, padded, permutation, shape);
}

/** Shape of an elementwise result (NumPy rules); shapes are known to be compatible, tfjs has checked them. */
export function broadcastShape(...shapes: (readonly number[])[]): number[] {
  const rank = Math.max(0, ...shapes.map((shape) => shape.length));
  return Array.from({ length: rank }, (_, axis) => {
    const lengths = shapes.map((shape) => shape[axis - rank + shape.length] ?? 1);
    return lengths.find((length) => length !== 1) ?? 1;
  });
}
