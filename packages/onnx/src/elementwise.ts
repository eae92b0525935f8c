/** Elementwise operators on lazy tensors: computed at the size and in the layout of what is really stored. */
import { sizeOf } from '@dimo/core';
import type { GraphBuilder } from './builder.js';
import { sameShape, type Value } from './graph.js';
import {
  broadcastLazy,
  broadcastShape,
  identityPermutation,
  inversePermutation,
  keepsElementOrder,
  lazy,
  makeView,
  reshapeValue,
  transposeValue,
  type LazyTensor,
} from './lazy.js';

/** Makes the node(s) from operands whose shapes broadcast to `shape`. */
export type EmitElementwise = (operands: readonly Value[], shape: readonly number[]) => Value;

/**
 * Applies an elementwise operator with NumPy broadcasting.
 *
 * Broadcast axes are not expanded if no operand needs them. If operands are transposed, the operator works in the
 * layout that most of the stored elements have, and the result is a view too.
 */
export function elementwise(builder: GraphBuilder, operands: readonly LazyTensor[], emit: EmitElementwise): LazyTensor {
  const shape = broadcastShape(...operands.map((operand) => operand.shape));
  const layout = chooseLayout(operands, shape.length);
  const stored = operands.map((operand) => storedValue(builder, operand, layout));
  const result = emit(stored, broadcastShape(...stored.map((value) => value.shape)));
  if (layout) return makeView(builder, result, layout, shape);
  return sameShape(result.shape, shape) ? lazy(result) : broadcastLazy(builder, lazy(result), shape);
}

/** The permutation that most stored elements have, or undefined for the plain order. Ties go to the permuted layout. */
function chooseLayout(operands: readonly LazyTensor[], rank: number): readonly number[] | undefined {
  const weights = new Map<string, { permutation: readonly number[]; size: number }>();
  let plain = 0;
  for (const operand of operands) {
    if (operand.kind === 'splat') continue;
    const stored = operand.kind === 'value' ? operand.value : operand.base;
    const isPermuted = operand.kind === 'view' && !keepsElementOrder(stored.shape, operand.permutation);
    if (!isPermuted) {
      // A vector fits any layout by a reshape.
      if (stored.shape.filter((length) => length !== 1).length > 1) plain += sizeOf(stored.shape);
    } else if (operand.permutation.length === rank) {
      const key = operand.permutation.join();
      const size = (weights.get(key)?.size ?? 0) + sizeOf(stored.shape);
      weights.set(key, { permutation: operand.permutation, size });
    }
  }
  const best = [...weights.values()].sort((a, b) => b.size - a.size)[0];
  return best && best.size >= plain ? best.permutation : undefined;
}

/** The stored elements of an operand in a layout, broadcast axes left at length 1. */
function storedValue(builder: GraphBuilder, operand: LazyTensor, layout: readonly number[] | undefined): Value {
  if (operand.kind === 'splat') return builder.constant(operand.type, [], [operand.number]);
  const stored = operand.kind === 'value' ? operand.value : operand.base;
  const rank = operand.shape.length;
  const permutation = operand.kind === 'view' ? operand.permutation : identityPermutation(rank);
  if (!layout) return transposeValue(builder, stored, permutation);
  if (rank === 0) return stored;
  const missing = layout.length - rank;
  const padded = reshapeValue(builder, stored, [...new Array<number>(missing).fill(1), ...stored.shape]);
  const full = [...identityPermutation(missing), ...permutation.map((axis) => axis + missing)];
  return transposeValue(
    builder,
    padded,
    inversePermutation(layout).map((axis) => full[axis]!),
  );
}

/** An elementwise operator with one ONNX node. */
export function elementwiseNode(
  builder: GraphBuilder,
  op: string,
  operands: readonly LazyTensor[],
  type: LazyTensor['type'],
): LazyTensor {
  return elementwise(builder, operands, (values, shape) => builder.node(op, values, { type, shape }));
}
