/**
 * Tensors as the rest of the code names them: on the host (typed arrays, no backend involved) and, while a pure
 * function runs, as tfjs tensors. Both come as flat records from name to tensor ("trees" keep their hierarchy in the
 * names, separated by `/`: `generator/transformer.layers.0.norm.weight`).
 */
import type { Tensor } from '@tensorflow/tfjs-core';
import { ShapeError } from '../errors.js';

/** Element types that every engine supports. */
export type DType = 'float32' | 'int32' | 'bool';

/** Array type behind each `DType`; `bool` is one byte per element, 0 or 1. */
export interface DTypeArray {
  float32: Float32Array;
  int32: Int32Array;
  bool: Uint8Array;
}

/** A tensor in host memory, row-major. */
export interface HostTensor<D extends DType = DType> {
  readonly dtype: D;
  readonly shape: readonly number[];
  readonly data: DTypeArray[D];
}

/** Named host tensors. */
export type HostTree = Record<string, HostTensor>;

/** Named tfjs tensors, the arguments and results of pure functions. */
export type TensorTree = Record<string, Tensor>;

/** Shape and dtype of a tensor, without its values. */
export interface TensorSpec {
  readonly dtype: DType;
  readonly shape: readonly number[];
}

/** Named tensor specifications. */
export type SpecTree = Record<string, TensorSpec>;

/** Elements that a tensor may have: kernels index with int32. */
export const maximumElements = 2 ** 31 - 1;

/**
 * Checks a shape: integers >= 0 with a product below 2^31.
 *
 * @param where - what has the shape, the beginning of the message.
 * @throws ShapeError
 */
export function checkShape(where: string, shape: unknown): asserts shape is readonly number[] {
  const text = () => (Array.isArray(shape) ? `[${shape.join(', ')}]`.slice(0, 100) : typeof shape);
  if (!Array.isArray(shape) || !shape.every((length) => Number.isSafeInteger(length) && length >= 0))
    throw new ShapeError(`${where}: shape must be a list of integers >= 0, got ${text()}`);
  if (sizeOf(shape as number[]) > maximumElements)
    throw new ShapeError(`${where}: shape ${text()} has more than ${maximumElements} elements`, {
      hint: 'lower the batch size, or use a smaller model',
    });
}

/** Number of elements of a shape; 1 for a scalar. */
export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, length) => product * length, 1);
}

/**
 * A float32 host tensor, of zeros unless there are data.
 *
 * @throws ShapeError if `shape` is none, or if `data` does not have the number of elements that `shape` says.
 */
export function float32(shape: readonly number[], data?: ArrayLike<number>): HostTensor<'float32'> {
  checkShape('float32', shape);
  data ??= new Float32Array(sizeOf(shape));
  return hostTensor('float32', shape, data instanceof Float32Array ? data : Float32Array.from(data));
}

/** An int32 host tensor, of zeros unless there are data. @throws ShapeError if shape and data disagree. */
export function int32(shape: readonly number[], data?: ArrayLike<number>): HostTensor<'int32'> {
  checkShape('int32', shape);
  data ??= new Int32Array(sizeOf(shape));
  return hostTensor('int32', shape, data instanceof Int32Array ? data : Int32Array.from(data));
}

/** A bool host tensor, all false unless there are data, which are 0 or 1. @throws ShapeError if shape and data disagree. */
export function bool(shape: readonly number[], data?: ArrayLike<number>): HostTensor<'bool'> {
  checkShape('bool', shape);
  data ??= new Uint8Array(sizeOf(shape));
  return hostTensor('bool', shape, data instanceof Uint8Array ? data : Uint8Array.from(data));
}

/** A float32 scalar. */
export function scalar(value: number): HostTensor<'float32'> {
  return float32([], [value]);
}

function hostTensor<D extends DType>(dtype: D, shape: readonly number[], data: DTypeArray[D]): HostTensor<D> {
  if (data.length !== sizeOf(shape))
    throw new ShapeError(
      `host tensor: shape [${shape.join(', ')}] needs ${sizeOf(shape)} elements, got ${data.length}`,
    );
  return { dtype, shape, data };
}

/** Specification of a host tensor. */
export function specOf(tensor: TensorSpec): TensorSpec {
  return { dtype: tensor.dtype, shape: tensor.shape };
}

/** Specifications of all tensors of a tree. */
export function specsOf(tree: Record<string, TensorSpec>): SpecTree {
  return Object.fromEntries(Object.entries(tree).map(([name, tensor]) => [name, specOf(tensor)]));
}

/** The tree with every name prefixed by `prefix/`. */
export function withPrefix<T>(prefix: string, tree: Record<string, T>): Record<string, T> {
  return Object.fromEntries(Object.entries(tree).map(([name, value]) => [`${prefix}/${name}`, value]));
}

/** The entries below `prefix/`, with the prefix removed. */
export function subtree<T>(prefix: string, tree: Record<string, T>): Record<string, T> {
  const start = `${prefix}/`;
  return Object.fromEntries(
    Object.entries(tree).flatMap(([name, value]) =>
      name.startsWith(start) ? [[name.slice(start.length), value]] : [],
    ),
  );
}
