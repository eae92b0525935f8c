/** The fusable ops of core, as the fused operators of ONNX and onnxruntime. */
import { sizeOf } from '@dimo/core';
import type { GraphBuilder } from '../builder.js';
import { float, int, text } from '../graph.js';
import { lazy, materialize, permuteLazy, splat, type LazyTensor } from '../lazy.js';
import { reshapeLazy } from '../lazy-reshape.js';
import { multiplyLazy } from './binary.js';
import { kernel, type KernelTable } from './kernel.js';
import { linearLazy, matmulLazy } from './matmul.js';
import { softmaxLazy } from './reduce.js';

/** softmax(scale * q k^T) v per head, from single operators. */
function composedAttention(
  builder: GraphBuilder,
  query: LazyTensor,
  key: LazyTensor,
  value: LazyTensor,
  numHeads: number,
  scale: number,
): LazyTensor {
  const heads = (x: LazyTensor) => {
    const [batch, length, width] = x.shape as [number, number, number];
    return permuteLazy(builder, reshapeLazy(builder, x, [batch, length, numHeads, width / numHeads]), [0, 2, 1, 3]);
  };
  const scaled = multiplyLazy(builder, heads(query), splat('float32', [], scale));
  const probabilities = softmaxLazy(builder, 'Softmax', matmulLazy(builder, scaled, heads(key), false, true));
  const result = matmulLazy(builder, probabilities, heads(value), false, false);
  return reshapeLazy(builder, permuteLazy(builder, result, [0, 2, 1, 3]), query.shape);
}

export const fusedKernels: KernelTable = {
  DimoLinear: kernel<'x' | 'weight' | 'bias'>((builder, { x, weight, bias }) =>
    linearLazy(builder, x, weight, bias as LazyTensor | undefined),
  ),
  DimoLayerNorm: kernel<'x' | 'scale' | 'offset', { epsilon: number }>((builder, { x, scale, offset }, { epsilon }) => {
    const type = 'float32' as const;
    const statistics = { type, shape: [...x.shape.slice(0, -1), 1] };
    const inputs = [x, scale, offset].map((tensor) => materialize(builder, tensor));
    return builder
      .nodes('LayerNormalization', inputs, [{ type, shape: x.shape }, statistics, statistics], {
        attributes: { axis: int(-1), epsilon: float(epsilon) },
        numRequiredOutputs: 1,
      })
      .map(lazy);
  }),
  DimoGelu: kernel<'x', { approximate: 'none' | 'tanh' }>((builder, { x }, { approximate }) => {
    const value = materialize(builder, x);
    const spec = { type: 'float32' as const, shape: x.shape };
    if (builder.lowering.operators === 'microsoft' && approximate === 'none')
      return lazy(builder.node('Gelu', [value], spec, { domain: 'com.microsoft' }));
    return lazy(builder.node('Gelu', [value], spec, { attributes: { approximate: text(approximate) } }));
  }),
  DimoAttention: kernel<'query' | 'key' | 'value', { numHeads: number; scale: number }>(
    (builder, { query, key, value }, { numHeads, scale }) => {
      if (builder.lowering.operators === 'standard' || sizeOf(query.shape) === 0)
        return composedAttention(builder, query, key, value, numHeads, scale);
      const inputs = [query, key, value].map((tensor) => materialize(builder, tensor));
      return lazy(
        builder.node(
          'MultiHeadAttention',
          inputs,
          { type: 'float32', shape: query.shape },
          {
            domain: 'com.microsoft',
            attributes: { num_heads: int(numHeads), scale: float(scale) },
          },
        ),
      );
    },
  ),
};
