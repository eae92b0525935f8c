/** Elementwise kernels with two or three inputs. */
import * as tf from '@tensorflow/tfjs-core';
import type { DType } from '@dimo/core';
import type { GraphBuilder } from '../builder.js';
import { elementwise, elementwiseNode } from '../elementwise.js';
import { castValue, broadcastLazy, broadcastShape, splat, type LazyTensor } from '../lazy.js';
import { kernel, listKernel, type KernelTable, type TraceKernel } from './kernel.js';

type Fold = (a: number, b: number) => number;

const isSplat = (tensor: LazyTensor, number: number): boolean =>
  tensor.kind === 'splat' && Object.is(tensor.number, number);

/** One ONNX node with the type of the operands; `fold` computes it for two splats. */
function arithmetic(builder: GraphBuilder, op: string, a: LazyTensor, b: LazyTensor, fold?: Fold): LazyTensor {
  if (fold && a.kind === 'splat' && b.kind === 'splat')
    return splat(a.type, broadcastShape(a.shape, b.shape), fold(a.number, b.number));
  return elementwiseNode(builder, op, [a, b], a.type);
}

/** a + b without nodes for zeros. */
export function addLazy(builder: GraphBuilder, a: LazyTensor, b: LazyTensor): LazyTensor {
  const shape = broadcastShape(a.shape, b.shape);
  if (isSplat(a, 0)) return broadcastLazy(builder, b, shape);
  if (isSplat(b, 0)) return broadcastLazy(builder, a, shape);
  return arithmetic(builder, 'Add', a, b, (x, y) => x + y);
}

/** a - b without nodes for zeros. */
export function subtractLazy(builder: GraphBuilder, a: LazyTensor, b: LazyTensor): LazyTensor {
  if (isSplat(b, 0)) return broadcastLazy(builder, a, broadcastShape(a.shape, b.shape));
  return arithmetic(builder, 'Sub', a, b, (x, y) => x - y);
}

/** a * b without nodes for ones; a factor 0 stays, as it would hide a NaN. */
export function multiplyLazy(builder: GraphBuilder, a: LazyTensor, b: LazyTensor): LazyTensor {
  const shape = broadcastShape(a.shape, b.shape);
  if (isSplat(a, 1)) return broadcastLazy(builder, b, shape);
  if (isSplat(b, 1)) return broadcastLazy(builder, a, shape);
  return arithmetic(builder, 'Mul', a, b, (x, y) => x * y);
}

/** a / b; dividing by a power of two is multiplying by its exact inverse, which is faster. */
export function divideLazy(builder: GraphBuilder, a: LazyTensor, b: LazyTensor): LazyTensor {
  if (
    a.type === 'float32' &&
    b.kind === 'splat' &&
    Math.abs(b.number) > 2 ** -100 &&
    Math.log2(Math.abs(b.number)) % 1 === 0
  )
    return multiplyLazy(builder, a, splat('float32', b.shape, 1 / b.number));
  if (isSplat(a, 1) && b.kind !== 'splat') {
    const reciprocal = elementwiseNode(builder, 'Reciprocal', [b], 'float32');
    return broadcastLazy(builder, reciprocal, broadcastShape(a.shape, b.shape));
  }
  return arithmetic(builder, 'Div', a, b, (x, y) => x / y);
}

const binary = (lower: (builder: GraphBuilder, a: LazyTensor, b: LazyTensor) => LazyTensor): TraceKernel =>
  kernel<'a' | 'b'>((builder, { a, b }) => lower(builder, a, b));

const simple = (op: string, fold?: Fold): TraceKernel => binary((builder, a, b) => arithmetic(builder, op, a, b, fold));

/** A comparison; ONNX orders numbers only. */
function comparison(op: string, fold: (a: number, b: number) => boolean, negate = false): TraceKernel {
  return binary((builder, a, b) => {
    if (a.kind === 'splat' && b.kind === 'splat')
      return splat('bool', broadcastShape(a.shape, b.shape), Number(fold(a.number, b.number) !== negate));
    return elementwise(builder, [a, b], (operands, shape) => {
      const isOrder = op !== 'Equal';
      const numbers = operands.map((value) =>
        isOrder && value.type === 'bool' ? castValue(builder, value, 'int32') : value,
      );
      const result = builder.node(op, numbers, { type: 'bool', shape });
      return negate ? builder.node('Not', [result], { type: 'bool', shape }) : result;
    });
  });
}

const logical = (op: string, fold: Fold): TraceKernel =>
  binary((builder, a, b) => {
    const shape = broadcastShape(a.shape, b.shape);
    if (a.kind === 'splat' && b.kind === 'splat') return splat('bool', shape, fold(a.number, b.number));
    return elementwiseNode(builder, op, [a, b], 'bool');
  });

/** Rounds the quotient down; integers through float, exact below 2^24. */
function floorDivide(builder: GraphBuilder, a: LazyTensor, b: LazyTensor): LazyTensor {
  return elementwise(builder, [a, b], (operands, shape) => {
    const floats = operands.map((value) => castValue(builder, value, 'float32'));
    const quotient = builder.node('Div', floats, { type: 'float32', shape });
    return castValue(builder, builder.node('Floor', [quotient], { type: 'float32', shape }), a.type);
  });
}

/** Remainder with the sign of the divisor. */
function modulo(builder: GraphBuilder, a: LazyTensor, b: LazyTensor): LazyTensor {
  if (a.type === 'int32') return elementwiseNode(builder, 'Mod', [a, b], 'int32');
  return subtractLazy(builder, a, multiplyLazy(builder, floorDivide(builder, a, b), b));
}

/** t where the condition holds, else e. */
export function selectLazy(builder: GraphBuilder, condition: LazyTensor, t: LazyTensor, e: LazyTensor): LazyTensor {
  const shape = broadcastShape(condition.shape, t.shape, e.shape);
  if (condition.kind === 'splat') return broadcastLazy(builder, condition.number ? t : e, shape);
  const type: DType = t.type;
  return elementwise(builder, [condition, t, e], ([c, whenTrue, whenFalse], stored) => {
    if (type !== 'bool') return builder.node('Where', [c, whenTrue, whenFalse], { type, shape: stored });
    // onnxruntime has no Where for booleans.
    const numbers = [whenTrue!, whenFalse!].map((value) => castValue(builder, value, 'int32'));
    return castValue(builder, builder.node('Where', [c, ...numbers], { type: 'int32', shape: stored }), 'bool');
  });
}

export const binaryKernels: KernelTable = {
  [tf.Add]: binary(addLazy),
  [tf.Sub]: binary(subtractLazy),
  [tf.Multiply]: binary(multiplyLazy),
  [tf.RealDiv]: binary(divideLazy),
  [tf.FloorDiv]: binary(floorDivide),
  [tf.Mod]: binary(modulo),
  [tf.Maximum]: simple('Max', Math.max),
  [tf.Minimum]: simple('Min', Math.min),
  [tf.Pow]: simple('Pow', Math.pow),
  [tf.SquaredDifference]: binary((builder, a, b) => {
    const difference = subtractLazy(builder, a, b);
    return multiplyLazy(builder, difference, difference);
  }),
  [tf.Square]: kernel<'x'>((builder, { x }) => multiplyLazy(builder, x, x)),
  [tf.Less]: comparison('Less', (a, b) => a < b),
  [tf.LessEqual]: comparison('LessOrEqual', (a, b) => a <= b),
  [tf.Greater]: comparison('Greater', (a, b) => a > b),
  [tf.GreaterEqual]: comparison('GreaterOrEqual', (a, b) => a >= b),
  [tf.Equal]: comparison('Equal', (a, b) => a === b),
  [tf.NotEqual]: comparison('Equal', (a, b) => a === b, true),
  [tf.LogicalAnd]: logical('And', (a, b) => a & b),
  [tf.LogicalOr]: logical('Or', (a, b) => a | b),
  [tf.Select]: kernel<'condition' | 't' | 'e'>((builder, { condition, t, e }) => selectLazy(builder, condition, t, e)),
  [tf.AddN]: listKernel((builder, terms) => terms.reduce((sum, term) => addLazy(builder, sum, term))),
  [tf.Prelu]: kernel<'x' | 'alpha'>((builder, { x, alpha }) =>
    elementwise(builder, [x, alpha], ([value, slope], shape) => {
      const spec = { type: 'float32' as const, shape };
      const zero = builder.constant('float32', [], [0]);
      const product = builder.node('Mul', [value, slope], spec);
      return builder.node(
        'Where',
        [builder.node('Less', [value, zero], { type: 'bool', shape }), product, value],
        spec,
      );
    }),
  ),
};
