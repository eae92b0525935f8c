/** Repetition of elements, as in nearest-neighbour upsampling. */
import { sizeOf } from '@dimo/core';
import type { GraphBuilder } from './builder.js';
import { text, type Value } from './graph.js';
import { expandValue, reshapeValue } from './lazy.js';

/**
 * Repeats axes of length 1 as often as `shape` says. Where each repeats the elements of the axis before it, as in
 * [..., rows, 1, columns, 1], the operator is Resize: onnxruntime's Expand is 15 times slower there.
 */
export function repeatValue(builder: GraphBuilder, value: Value, shape: readonly number[]): Value {
  const repeated = shape.flatMap((length, axis) => (length !== value.shape[axis] ? [axis] : []));
  const image = value.type === 'float32' ? asImage(value.shape, repeated) : undefined;
  if (!image) return expandValue(builder, value, shape);
  const [batch, channels, rows, columns] = image;
  const [vertical, horizontal] =
    repeated.length === 2 ? repeated.map((axis) => shape[axis]!) : [shape[repeated[0]!]!, 1];
  const size = [batch, channels, rows * vertical!, columns * horizontal!];
  const inputs = [reshapeValue(builder, value, image), undefined, undefined, builder.constant('int64', [4], size)];
  const attributes = {
    mode: text('nearest'),
    coordinate_transformation_mode: text('asymmetric'),
    nearest_mode: text('floor'),
  };
  const resized = builder.node('Resize', inputs, { type: 'float32', shape: size }, { attributes });
  return reshapeValue(builder, resized, shape);
}

/** [1, lead, rows, columns] so that the repeated axes follow rows and columns; undefined if they do not. */
function asImage(shape: readonly number[], repeated: readonly number[]): [1, number, number, number] | undefined {
  const [first, second] = repeated;
  if (first === undefined || first === 0 || repeated.length > 2) return undefined;
  const between = shape.slice(first + 1, second);
  const trailing = second === undefined ? [] : shape.slice(second + 1);
  if (sizeOf(trailing) !== 1 || sizeOf(between) === 1) return undefined;
  return [1, sizeOf(shape.slice(0, first - 1)), shape[first - 1]!, sizeOf(between)];
}
