/** Elementwise kernels with one input. */
import * as tf from '@tensorflow/tfjs-core';
import type { DType } from '@dimo/core';
import type { GraphBuilder } from '../builder.js';
import { elementwise, elementwiseNode } from '../elementwise.js';
import type { Value } from '../graph.js';
import { castValue, splat, type LazyTensor } from '../lazy.js';
import { kernel, reshapeKernel, unsupported, type KernelTable, type TraceKernel } from './kernel.js';

type Fold = (x: number) => number;

/** A kernel that is one ONNX node of the same type; `fold` computes it for splats. */
function unary(op: string, fold?: Fold): TraceKernel {
  return kernel<'x'>((builder, { x }) =>
    x.kind === 'splat' && fold ? splat(x.type, x.shape, fold(x.number)) : elementwiseNode(builder, op, [x], x.type),
  );
}

/** A kernel on floats that takes several nodes; integers are converted first. */
function composed(emit: (builder: GraphBuilder, x: Value, constant: (value: number) => Value) => Value): TraceKernel {
  return kernel<'x'>((builder, { x }) =>
    elementwise(builder, [x], ([value]) =>
      emit(builder, castValue(builder, value!, 'float32'), (number) => builder.constant('float32', [], [number])),
    ),
  );
}

function apply(builder: GraphBuilder, op: string, inputs: Value[], type: Value['type'] = 'float32'): Value {
  const shape = inputs.find((input) => input.shape.length > 0)?.shape ?? [];
  return builder.node(op, inputs, { type, shape });
}

/** Element type conversion; float to int truncates towards zero, as in tfjs. */
export function castLazy(builder: GraphBuilder, x: LazyTensor, type: DType): LazyTensor {
  if (x.type === type) return x;
  if (x.kind === 'splat') {
    const number = type === 'int32' ? Math.trunc(x.number) : type === 'bool' ? Number(x.number !== 0) : x.number;
    return splat(type, x.shape, number);
  }
  return elementwise(builder, [x], ([value]) => castValue(builder, value!, type));
}

const isNan = kernel<'x'>((builder, { x }) =>
  // Not IsNaN: it has no WebGPU kernel. NaN is the only number that differs from itself.
  elementwise(builder, [x], ([value]) =>
    apply(builder, 'Not', [apply(builder, 'Equal', [value!, value!], 'bool')], 'bool'),
  ),
);

export const unaryKernels: KernelTable = {
  [tf.Abs]: unary('Abs', Math.abs),
  [tf.Neg]: unary('Neg', (x) => -x),
  [tf.Exp]: unary('Exp', Math.exp),
  [tf.Log]: unary('Log', Math.log),
  [tf.Sqrt]: unary('Sqrt', Math.sqrt),
  [tf.Sin]: unary('Sin', Math.sin),
  [tf.Cos]: unary('Cos', Math.cos),
  [tf.Tan]: unary('Tan'),
  [tf.Asin]: unary('Asin'),
  [tf.Acos]: unary('Acos'),
  [tf.Atan]: unary('Atan'),
  [tf.Sinh]: unary('Sinh'),
  [tf.Cosh]: unary('Cosh'),
  [tf.Tanh]: unary('Tanh'),
  [tf.Erf]: unary('Erf'),
  [tf.Floor]: unary('Floor', Math.floor),
  [tf.Ceil]: unary('Ceil', Math.ceil),
  [tf.Round]: unary('Round'),
  [tf.Sign]: unary('Sign', Math.sign),
  [tf.Reciprocal]: unary('Reciprocal', (x) => 1 / x),
  [tf.Sigmoid]: unary('Sigmoid'),
  [tf.Softplus]: unary('Softplus'),
  [tf.Relu]: unary('Relu', (x) => Math.max(x, 0)),
  [tf.LogicalNot]: unary('Not', (x) => 1 - x),
  [tf.IsNan]: isNan,
  [tf.Rsqrt]: composed((builder, x) => apply(builder, 'Reciprocal', [apply(builder, 'Sqrt', [x])])),
  [tf.Log1p]: composed((builder, x, constant) => apply(builder, 'Log', [apply(builder, 'Add', [x, constant(1)])])),
  [tf.Expm1]: composed((builder, x, constant) => apply(builder, 'Sub', [apply(builder, 'Exp', [x]), constant(1)])),
  [tf.Relu6]: composed((builder, x, constant) =>
    apply(builder, 'Min', [apply(builder, 'Max', [x, constant(0)]), constant(6)]),
  ),
  [tf.IsFinite]: kernel<'x'>((builder, { x }) =>
    // |x| < infinity is false for NaN too.
    elementwise(builder, [x], ([value]) =>
      apply(builder, 'Less', [apply(builder, 'Abs', [value!]), builder.constant('float32', [], [Infinity])], 'bool'),
    ),
  ),
  [tf.IsInf]: kernel<'x'>((builder, { x }) =>
    elementwise(builder, [x], ([value]) =>
      apply(builder, 'Equal', [apply(builder, 'Abs', [value!]), builder.constant('float32', [], [Infinity])], 'bool'),
    ),
  ),
  [tf.Elu]: kernel<'x'>((builder, { x }) => elementwiseNode(builder, 'Elu', [x], 'float32')),
  [tf.LeakyRelu]: kernel<'x', tf.LeakyReluAttrs>((builder, { x }, { alpha }) =>
    elementwise(builder, [x], ([value], shape) =>
      builder.node(
        'LeakyRelu',
        [value],
        { type: 'float32', shape },
        { attributes: { alpha: { kind: 'float', value: alpha } } },
      ),
    ),
  ),
  [tf.Step]: kernel<'x', tf.StepAttrs>((builder, { x }, { alpha }) =>
    elementwise(builder, [x], ([value], shape) => {
      const constant = (number: number) => builder.constant('float32', [], [number]);
      const isPositive = builder.node('Greater', [value, constant(0)], { type: 'bool', shape });
      return builder.node('Where', [isPositive, constant(1), constant(alpha)], { type: 'float32', shape });
    }),
  ),
  [tf.ClipByValue]: kernel<'x', tf.ClipByValueAttrs>((builder, { x }, { clipValueMin, clipValueMax }) =>
    elementwise(builder, [x], ([value], shape) => {
      const spec = { type: x.type, shape };
      const low = builder.node('Max', [value, builder.constant(x.type, [], [clipValueMin])], spec);
      return builder.node('Min', [low, builder.constant(x.type, [], [clipValueMax])], spec);
    }),
  ),
  [tf.Cast]: kernel<'x', tf.CastAttrs>((builder, { x }, { dtype }) => {
    if (dtype !== 'float32' && dtype !== 'int32' && dtype !== 'bool') unsupported(`Cast to ${dtype} is not supported`);
    return castLazy(builder, x, dtype);
  }),
  [tf.ZerosLike]: kernel<'x'>((_, { x }) => splat(x.type, x.shape, 0)),
  [tf.OnesLike]: kernel<'x'>((_, { x }) => splat(x.type, x.shape, 1)),
  [tf.Identity]: reshapeKernel<'x'>((_, { x }) => x),
};
