/**
 * Convolutions. tfjs keeps activations as [batch, rows, columns, channels], ONNX as [batch, channels, rows, columns];
 * the change of layout is a view, so it vanishes between convolutions and elementwise operators.
 */
import * as tf from '@tensorflow/tfjs-core';
import { sizeOf } from '@dimo/core';
import type { GraphBuilder } from '../builder.js';
import { int, ints, type Attributes, type Value } from '../graph.js';
import { lazy, materialize, permuteLazy, transposeValue, type LazyTensor } from '../lazy.js';
import { reshapeLazy } from '../lazy-reshape.js';
import { addLazy, multiplyLazy } from './binary.js';
import { kernel, unsupported, type KernelTable } from './kernel.js';
import { activate, gemm } from './matmul.js';
import { reduceLazy } from './reduce.js';
import { concatLazy, padLazy, reverseValue, sliceLazy } from './shape.js';

/** Sizes of a convolution, as tfjs computes them. */
export type ConvInfo = tf.backend_util.Conv2DInfo;

type Size2D = [number, number] | number;
type Padding = 'valid' | 'same' | number | tf.backend_util.ExplicitPadding;

interface ConvAttributes {
  readonly strides: Size2D;
  readonly pad: Padding;
  readonly dataFormat?: 'NHWC' | 'NCHW';
  readonly dilations?: Size2D;
  readonly dimRoundingMode?: 'floor' | 'round' | 'ceil';
}

type Shape4D = [number, number, number, number];

function convInfo(
  x: readonly number[],
  filter: readonly number[],
  attributes: ConvAttributes,
  depthwise = false,
): ConvInfo {
  const { strides, pad, dataFormat, dilations = 1, dimRoundingMode } = attributes;
  if (dataFormat === 'NCHW') unsupported('convolutions are supported for dataFormat NHWC only');
  return tf.backend_util.computeConv2DInfo(
    [...x] as Shape4D,
    [...filter] as Shape4D,
    strides,
    dilations,
    pad,
    dimRoundingMode,
    depthwise,
  );
}

/** The stored elements in ONNX order: batch, channels, rows, columns. */
export function channelsFirst(builder: GraphBuilder, x: LazyTensor): Value {
  return materialize(builder, permuteLazy(builder, x, [0, 3, 1, 2]));
}

/** A channels-first value as tfjs sees it. */
export function channelsLast(builder: GraphBuilder, value: Value): LazyTensor {
  return permuteLazy(builder, lazy(value), [0, 2, 3, 1]);
}

/** tfjs filter [rows, columns, in, out] as ONNX [out, in, rows, columns]; a model that keeps the latter pays nothing. */
function filterOf(builder: GraphBuilder, filter: LazyTensor): Value {
  return materialize(builder, permuteLazy(builder, filter, [3, 2, 0, 1]));
}

/** Strides, dilations and pads of a window operator. */
export function windowAttributes(info: ConvInfo): Attributes {
  const { top, left, bottom, right } = info.padInfo;
  const rows = Math.floor((info.inHeight + top + bottom - info.effectiveFilterHeight) / info.strideHeight) + 1;
  const columns = Math.floor((info.inWidth + left + right - info.effectiveFilterWidth) / info.strideWidth) + 1;
  // tfjs takes a numeric padding of a window that is not square for a square one, and knows other roundings.
  if (rows !== info.outHeight || columns !== info.outWidth)
    unsupported(
      `a window of [${info.filterHeight}, ${info.filterWidth}] over [${info.inHeight}, ${info.inWidth}] gives [${rows}, ${columns}] ` +
        `positions, tfjs says [${info.outHeight}, ${info.outWidth}]: use explicit padding and no dimRoundingMode`,
    );
  return {
    kernel_shape: ints([info.filterHeight, info.filterWidth]),
    strides: ints([info.strideHeight, info.strideWidth]),
    dilations: ints([info.dilationHeight, info.dilationWidth]),
    pads: ints([top, left, bottom, right]),
  };
}

function convolve(
  builder: GraphBuilder,
  x: LazyTensor,
  filter: Value,
  info: ConvInfo,
  group = 1,
  bias?: Value,
): LazyTensor {
  const shape = [info.batchSize, info.outChannels, info.outHeight, info.outWidth];
  const inputs = [channelsFirst(builder, x), filter, ...(bias ? [bias] : [])];
  const attributes = { ...windowAttributes(info), group: int(group) };
  return channelsLast(builder, builder.node('Conv', inputs, { type: 'float32', shape }, { attributes }));
}

/**
 * The transposed convolution with strides 1: a convolution with the filter turned by 180 degrees and its channels
 * exchanged, which onnxruntime computes faster.
 */
function convolveTurned(builder: GraphBuilder, dy: LazyTensor, filter: Value, info: ConvInfo): LazyTensor {
  const { top, left, bottom, right } = info.padInfo;
  const turned = transposeValue(builder, reverseValue(builder, filter, [2, 3]), [1, 0, 2, 3]);
  const [rows, columns] = [info.effectiveFilterHeight - 1, info.effectiveFilterWidth - 1];
  const attributes = {
    ...windowAttributes(info),
    pads: ints([rows - top, columns - left, rows - bottom, columns - right]),
  };
  const shape = [info.batchSize, info.inChannels, info.inHeight, info.inWidth];
  const inputs = [channelsFirst(builder, dy), turned];
  return channelsLast(builder, builder.node('Conv', inputs, { type: 'float32', shape }, { attributes }));
}

/** The transposed convolution: gradient with respect to the input. */
function convolveTransposed(
  builder: GraphBuilder,
  dy: LazyTensor,
  filter: Value,
  info: ConvInfo,
  group = 1,
): LazyTensor {
  const longestPad = Math.max(info.padInfo.top, info.padInfo.left, info.padInfo.bottom, info.padInfo.right);
  const shortestReach = Math.min(info.effectiveFilterHeight, info.effectiveFilterWidth) - 1;
  const isTurnable = info.strideHeight === 1 && info.strideWidth === 1 && longestPad <= shortestReach;
  if (group === 1 && isTurnable) return convolveTurned(builder, dy, filter, info);
  const shape = [info.batchSize, info.inChannels, info.inHeight, info.inWidth];
  const { top, left, bottom, right } = info.padInfo;
  // What the strides of the forward pass did not reach.
  const rest = [
    info.inHeight - ((info.outHeight - 1) * info.strideHeight + info.effectiveFilterHeight - top - bottom),
    info.inWidth - ((info.outWidth - 1) * info.strideWidth + info.effectiveFilterWidth - left - right),
  ];
  const attributes = { ...windowAttributes(info), group: int(group), output_padding: ints(rest) };
  const value = builder.node(
    'ConvTranspose',
    [channelsFirst(builder, dy), filter],
    { type: 'float32', shape },
    { attributes },
  );
  return channelsLast(builder, value);
}

/** Input elements under each filter tap, [batch, out rows, out columns, channels], in row-major order of the taps. */
function taps(builder: GraphBuilder, x: LazyTensor, info: ConvInfo): LazyTensor[] {
  const { top, left, bottom, right } = info.padInfo;
  const padded = padLazy(
    builder,
    x,
    [
      [0, 0],
      [top, bottom],
      [left, right],
      [0, 0],
    ],
    0,
  );
  const shape = [info.batchSize, info.outHeight, info.outWidth, info.inChannels];
  const along = (start: number, count: number, step: number) => ({ start, end: start + (count - 1) * step + 1, step });
  return Array.from({ length: info.filterHeight * info.filterWidth }, (_, tap) => {
    const row = Math.floor(tap / info.filterWidth) * info.dilationHeight;
    const column = (tap % info.filterWidth) * info.dilationWidth;
    const ranges = [
      { start: 0, end: info.batchSize, step: 1 },
      along(row, info.outHeight, info.strideHeight),
      along(column, info.outWidth, info.strideWidth),
      { start: 0, end: info.inChannels, step: 1 },
    ];
    return sliceLazy(builder, padded, ranges, shape);
  });
}

/** Gradient with respect to the filter: one matrix product per tap, over all positions of the batch. */
function filterGradient(builder: GraphBuilder, x: LazyTensor, dy: LazyTensor, info: ConvInfo): LazyTensor {
  const plain = lazy(materialize(builder, x));
  const positions = info.batchSize * info.outHeight * info.outWidth;
  const upstream = materialize(builder, reshapeLazy(builder, dy, [positions, info.outChannels]));
  const products = taps(builder, plain, info).map((tap) => {
    const rows = materialize(builder, reshapeLazy(builder, tap, [positions, info.inChannels]));
    return lazy(gemm(builder, { value: rows, transposed: true }, { value: upstream, transposed: false }));
  });
  const shape = [info.filterHeight, info.filterWidth, info.inChannels, info.outChannels];
  return reshapeLazy(builder, concatLazy(builder, products, 0), shape);
}

/** Filter [rows, columns, channels, multiplier] as one group per channel. */
function depthwiseFilter(builder: GraphBuilder, filter: LazyTensor): Value {
  const [rows, columns, channels, multiplier] = filter.shape as Shape4D;
  const grouped = permuteLazy(builder, filter, [2, 3, 0, 1]);
  return materialize(builder, reshapeLazy(builder, grouped, [channels * multiplier, 1, rows, columns]));
}

interface FusedConvAttributes extends ConvAttributes {
  readonly activation?: string;
  readonly leakyreluAlpha?: number;
}

export const convKernels: KernelTable = {
  [tf.Conv2D]: kernel<'x' | 'filter', ConvAttributes>((builder, { x, filter }, attributes) =>
    convolve(builder, x, filterOf(builder, filter), convInfo(x.shape, filter.shape, attributes)),
  ),
  [tf.FusedConv2D]: kernel<'x' | 'filter' | 'bias', FusedConvAttributes>((builder, { x, filter, bias }, attributes) => {
    const info = convInfo(x.shape, filter.shape, attributes);
    const offset = bias as LazyTensor | undefined;
    const isVector = offset !== undefined && sizeOf(offset.shape) === info.outChannels;
    const vector = isVector ? materialize(builder, reshapeLazy(builder, offset, [info.outChannels])) : undefined;
    const convolved = convolve(builder, x, filterOf(builder, filter), info, 1, vector);
    const sum = offset && !vector ? addLazy(builder, convolved, offset) : convolved;
    return activate(builder, sum, attributes.activation, { alpha: attributes.leakyreluAlpha ?? 0.2 });
  }),
  [tf.Conv2DBackpropInput]: kernel<'dy' | 'filter', ConvAttributes & { inputShape: Shape4D }>(
    (builder, { dy, filter }, attributes) =>
      convolveTransposed(
        builder,
        dy,
        filterOf(builder, filter),
        convInfo(attributes.inputShape, filter.shape, attributes),
      ),
  ),
  [tf.Conv2DBackpropFilter]: kernel<'x' | 'dy', ConvAttributes & { filterShape: Shape4D }>(
    (builder, { x, dy }, attributes) =>
      filterGradient(builder, x, dy, convInfo(x.shape, attributes.filterShape, attributes)),
  ),
  [tf.DepthwiseConv2dNative]: kernel<'x' | 'filter', ConvAttributes>((builder, { x, filter }, attributes) => {
    const info = convInfo(x.shape, filter.shape, attributes, true);
    return convolve(builder, x, depthwiseFilter(builder, filter), info, info.inChannels);
  }),
  [tf.DepthwiseConv2dNativeBackpropInput]: kernel<'dy' | 'filter', ConvAttributes & { inputShape: Shape4D }>(
    (builder, { dy, filter }, attributes) => {
      const info = convInfo(attributes.inputShape, filter.shape, attributes, true);
      return convolveTransposed(builder, dy, depthwiseFilter(builder, filter), info, info.inChannels);
    },
  ),
  [tf.DepthwiseConv2dNativeBackpropFilter]: kernel<'x' | 'dy', ConvAttributes & { filterShape: Shape4D }>(
    (builder, { x, dy }, attributes) => {
      const info = convInfo(x.shape, attributes.filterShape, attributes, true);
      if (info.outChannels !== info.inChannels)
        return unsupported('gradient of a depthwise convolution is supported for channel multiplier 1 only');
      const products = taps(builder, x, info).map((tap) =>
        reshapeLazy(builder, reduceLazy(builder, 'ReduceSum', multiplyLazy(builder, tap, dy), [0, 1, 2], false), [
          1,
          info.inChannels,
        ]),
      );
      return reshapeLazy(builder, concatLazy(builder, products, 0), attributes.filterShape);
    },
  ),
};
