/** The fusable ops of core, as the fused operators of ONNX and onnxruntime. */
import { sizeOf, type FusableAttributes, type FusableKernelName } from '@dimo/core';
import type { GraphBuilder } from '../builder.js';
import { elementwiseNode } from '../elementwise.js';
import { float, int, ints, text } from '../graph.js';
import { lazy, materialize, permuteLazy, reshapeValue, splat, type LazyTensor, type TracedTensor } from '../lazy.js';
import { reshapeLazy, reshapeTraced, settle } from '../lazy-reshape.js';
import { addLazy, multiplyLazy } from './binary.js';
import { groupNorm } from './group-norm.js';
import { settled, type FusableLowering, type KernelTable, type TraceKernel } from './kernel.js';
import { linearLazy, matmulLazy } from './matmul.js';
import { reduceLazy, softmaxLazy } from './reduce.js';
import { concatLazy, sliceFrom } from './shape.js';

/** Added to the scores of later positions in causal attention, as in core's composition. */
const maskedScore = -1e9;

/** softmax(scale * q k^T) v per head, from single operators. */
function composedAttention(
  builder: GraphBuilder,
  query: LazyTensor,
  key: LazyTensor,
  value: LazyTensor,
  { numHeads, scale, causal }: FusableAttributes<'DimoAttention'>,
): LazyTensor {
  const heads = (x: LazyTensor) => {
    const [batch, length, width] = x.shape as [number, number, number];
    return permuteLazy(builder, reshapeLazy(builder, x, [batch, length, numHeads, width / numHeads]), [0, 2, 1, 3]);
  };
  const scaled = multiplyLazy(builder, heads(query), splat('float32', [], scale));
  const scores = matmulLazy(builder, scaled, heads(key), false, true);
  const masked = causal ? addLazy(builder, scores, causalMask(builder, query.shape[1]!)) : scores;
  const probabilities = softmaxLazy(builder, 'Softmax', masked);
  const result = matmulLazy(builder, probabilities, heads(value), false, false);
  return reshapeLazy(builder, permuteLazy(builder, result, [0, 2, 1, 3]), query.shape);
}

function causalMask(builder: GraphBuilder, length: number): LazyTensor {
  const data = new Float32Array(length * length);
  for (let row = 0; row < length; row++) data.fill(maskedScore, row * length + row + 1, (row + 1) * length);
  return lazy(builder.constant('float32', [length, length], data));
}

/** [x / sqrt(mean(x^2) + epsilon) * scale, 1 / sqrt(...)], from single operators. */
function composedRmsNorm(
  builder: GraphBuilder,
  x: LazyTensor,
  scale: LazyTensor,
  epsilon: number,
): [y: LazyTensor, inverseRms: LazyTensor] {
  const last = x.shape.length - 1;
  const meanSquare = reduceLazy(builder, 'ReduceMean', multiplyLazy(builder, x, x), [last], true);
  const shifted = elementwiseNode(builder, 'Add', [meanSquare, splat('float32', [], epsilon)], 'float32');
  const root = elementwiseNode(builder, 'Sqrt', [shifted], 'float32');
  const inverse = elementwiseNode(builder, 'Reciprocal', [root], 'float32');
  return [multiplyLazy(builder, multiplyLazy(builder, x, inverse), scale), inverse];
}

/** Rotation of neighbouring channels, from single operators. */
function composedRotation(
  builder: GraphBuilder,
  x: LazyTensor,
  tables: readonly LazyTensor[],
  numHeads: number,
): LazyTensor {
  const [batch, length, width] = x.shape as [number, number, number];
  const numPairs = width / numHeads / 2;
  const [c, s] = tables.map((table) => reshapeLazy(builder, table, [length, 1, numPairs])) as [LazyTensor, LazyTensor];
  const pairs = reshapeLazy(builder, x, [sizeOf(x.shape) / 2, 2]);
  const [x0, x1] = [0, 1].map((begin) =>
    reshapeLazy(builder, sliceFrom(builder, pairs, [0, begin], [-1, 1]), [batch, length, numHeads, numPairs]),
  ) as [LazyTensor, LazyTensor];
  const product = (a: LazyTensor, b: LazyTensor) => multiplyLazy(builder, a, b);
  const rotated = [
    elementwiseNode(builder, 'Sub', [product(x0, c), product(x1, s)], 'float32'),
    elementwiseNode(builder, 'Add', [product(x1, c), product(x0, s)], 'float32'),
  ].map((part) => reshapeLazy(builder, part, [sizeOf(x.shape) / 2, 1]));
  return reshapeLazy(builder, concatLazy(builder, rotated, 1), x.shape);
}

/** Rows of channels, [positions, channels], as the view [batch, rows, columns, channels] of a channels-first image. */
function channelsFirstImage(builder: GraphBuilder, x: TracedTensor): LazyTensor | undefined {
  const [positions, channels] = x.shape as [number, number];
  // A single image's rows and columns are one axis already.
  if (x.kind === 'view' && x.permutation.join() === '1,0' && sizeOf(x.base.shape) === positions * channels)
    return permuteLazy(builder, lazy(reshapeValue(builder, x.base, [1, channels, positions, 1])), [0, 2, 3, 1]);
  if (x.kind !== 'reshaped') return undefined;
  const batch = x.view.shape[0] ?? 0;
  if (batch === 0 || positions % batch !== 0) return undefined;
  const isPlainImage = x.view.permutation.join() === '0,2,3,1' && sizeOf(x.view.base.shape) === positions * channels;
  return isPlainImage ? x.view : reshapeLazy(builder, x.view, [batch, positions / batch, 1, channels]);
}

/** A linear map over the channels of a channels-first image, as a convolution with a 1 by 1 filter. */
function pointwiseConvolution(
  builder: GraphBuilder,
  x: TracedTensor,
  weight: LazyTensor,
  bias: LazyTensor | undefined,
): TracedTensor | undefined {
  const [rows, inputs] = x.shape as [number, number];
  const image = channelsFirstImage(builder, x);
  const isChannelsFirst =
    image?.kind === 'view' && image.base.shape[1] === inputs && sizeOf(image.base.shape) === rows * inputs;
  if (!isChannelsFirst || image.shape[3] !== inputs || image.permutation[3] !== 1) return undefined;
  const { base, permutation } = image;
  const outputs = weight.shape[0]!;
  const filter = materialize(builder, reshapeLazy(builder, weight, [outputs, inputs, 1, 1]));
  const operands = [base, filter, ...(bias ? [materialize(builder, bias)] : [])];
  const spec = { type: 'float32' as const, shape: [base.shape[0]!, outputs, base.shape[2]!, base.shape[3]!] };
  const value = builder.node('Conv', operands, spec, { attributes: { kernel_shape: ints([1, 1]) } });
  return reshapeTraced(builder, permuteLazy(builder, lazy(value), permutation), [rows, outputs]);
}

/**
 * Every kernel of core's table, or that core's composition is traced in its place: gradients and losses, whose parts the
 * passes fuse with what stands around them, and what onnxruntime has no operator for.
 */
const lowerings: { readonly [Name in FusableKernelName]: FusableLowering<Name, TracedTensor> | 'composition' } = {
  DimoAdamUpdate: 'composition',
  DimoAttentionForward: 'composition',
  DimoAttentionGrad: 'composition',
  DimoEmbeddingGrad: 'composition',
  DimoGeluGrad: 'composition',
  DimoGlobalNorm: 'composition',
  DimoLayerNormGrad: 'composition',
  DimoLinearGrad: 'composition',
  DimoMaskedCrossEntropy: 'composition',
  DimoMatMul: 'composition',
  DimoRandomNumbers: 'composition',
  DimoRmsNormGrad: 'composition',
  DimoSampleCategorical: 'composition',
  DimoSoftCrossEntropy: 'composition',
  DimoTokenDivergence: 'composition',
  // A choice that is always the first: onnxruntime, which orders the nodes of a graph, has both inputs computed before.
  DimoAfter: settled((builder, { x, ...earlier }) => {
    const value = materialize(builder, x);
    const first = (tensor: LazyTensor) =>
      sliceFrom(builder, reshapeLazy(builder, tensor, [sizeOf(tensor.shape)]), [0], [1]);
    const firsts = Object.values<LazyTensor>(earlier).map(first);
    const one =
      firsts.length === 1 ? firsts[0]! : reduceLazy(builder, 'ReduceMax', concatLazy(builder, firsts, 0), [0], true);
    const isFirst = builder.constant('bool', [1], [1]);
    const inputs = [isFirst, value, materialize(builder, one)];
    return [lazy(builder.node('Where', inputs, { type: x.type, shape: x.shape }))];
  }),
  DimoGroupNorm: settled(groupNorm),
  DimoLinear: (builder, { x, weight, bias }) => {
    const offset = bias && settle(builder, bias);
    const matrix = settle(builder, weight);
    return [
      pointwiseConvolution(builder, x, matrix, offset) ?? linearLazy(builder, settle(builder, x), matrix, offset),
    ];
  },
  DimoLayerNorm: settled((builder, { x, scale, offset }, { epsilon }) => {
    const type = 'float32' as const;
    const statistics = { type, shape: [...x.shape.slice(0, -1), 1] };
    const inputs = [x, scale, offset].map((tensor) => materialize(builder, tensor));
    const [y, mean, inverseDeviation] = builder
      .nodes('LayerNormalization', inputs, [{ type, shape: x.shape }, statistics, statistics], {
        attributes: { axis: int(-1), epsilon: float(epsilon) },
        numRequiredOutputs: 1,
      })
      .map(lazy);
    return [y!, mean!, inverseDeviation!];
  }),
  DimoRmsNorm: settled((builder, { x, scale }, { epsilon }) => {
    const type = 'float32' as const;
    const statistics = { type, shape: [...x.shape.slice(0, -1), 1] };
    if (builder.lowering.operators === 'standard') return composedRmsNorm(builder, x, scale, epsilon);
    // onnxruntime's own operator, although it is in the standard's domain.
    const [y, inverse] = builder
      .nodes(
        'SimplifiedLayerNormalization',
        [materialize(builder, x), materialize(builder, scale)],
        [{ type, shape: x.shape }, statistics],
        { attributes: { axis: int(-1), epsilon: float(epsilon) }, numRequiredOutputs: 1 },
      )
      .map(lazy);
    if (builder.lowering.returnsInverseRms) return [y!, inverse!];
    // What is not used of it, in most networks all, is removed again as dead.
    return [y!, composedRmsNorm(builder, x, scale, epsilon)[1]];
  }),
  DimoRotaryEmbedding: settled((builder, { x, cosines, sines }, { numHeads }) => {
    if (builder.lowering.operators === 'standard' || sizeOf(x.shape) === 0)
      return [composedRotation(builder, x, [cosines, sines], numHeads)];
    // Positions count from 0: row i of the tables is for position i of the sequence.
    const first = builder.constant('int64', [1], [0]);
    const inputs = [materialize(builder, x), first, materialize(builder, cosines), materialize(builder, sines)];
    const y = builder.node(
      'RotaryEmbedding',
      inputs,
      { type: 'float32', shape: x.shape },
      { domain: 'com.microsoft', attributes: { interleaved: int(1) } },
    );
    return [lazy(y)];
  }),
  DimoGelu: settled((builder, { x }, { approximate }) => {
    const value = materialize(builder, x);
    const spec = { type: 'float32' as const, shape: x.shape };
    if (builder.lowering.operators === 'microsoft' && approximate === 'none')
      return [lazy(builder.node('Gelu', [value], spec, { domain: 'com.microsoft' }))];
    return [lazy(builder.node('Gelu', [value], spec, { attributes: { approximate: text(approximate) } }))];
  }),
  DimoAttention: settled((builder, { query, key, value }, given) => {
    const { numHeads, scale, causal } = given;
    const { operators, fusesAttention } = builder.lowering;
    if (operators === 'standard' || !fusesAttention || sizeOf(query.shape) === 0)
      return [composedAttention(builder, query, key, value, given)];
    const inputs = [query, key, value].map((tensor) => materialize(builder, tensor));
    const y = builder.node(
      'MultiHeadAttention',
      inputs,
      { type: 'float32', shape: query.shape },
      {
        domain: 'com.microsoft',
        attributes: { num_heads: int(numHeads), scale: float(scale), ...(causal ? { unidirectional: int(1) } : {}) },
      },
    );
    return [lazy(y)];
  }),
};

/** The lowerings among them. */
export const fusedKernels: KernelTable = Object.fromEntries(
  Object.entries(lowerings).flatMap(([name, lower]) =>
    lower === 'composition' ? [] : [[name, lower as unknown as TraceKernel]],
  ),
);
