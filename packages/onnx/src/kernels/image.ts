/** Pooling, resizing and batch normalization. */
import * as tf from '@tensorflow/tfjs-core';
import { sizeOf } from '@dimo/core';
import type { GraphBuilder } from '../builder.js';
import { int, ints, text } from '../graph.js';
import { castValue, expandValue, materialize, reshapeValue, splat, type LazyTensor } from '../lazy.js';
import { reshapeLazy } from '../lazy-reshape.js';
import { elementwise } from '../elementwise.js';
import { addLazy, divideLazy, multiplyLazy, subtractLazy } from './binary.js';
import { channelsFirst, channelsLast, windowAttributes, type ConvInfo } from './conv.js';
import { kernel, unsupported, type KernelTable } from './kernel.js';
import { reduceLazy } from './reduce.js';

type PoolAttributes = tf.MaxPoolAttrs;

function poolInfo(x: readonly number[], { filterSize, strides, pad, dimRoundingMode }: PoolAttributes): ConvInfo {
  return tf.backend_util.computePool2DInfo(
    [...x] as [number, number, number, number],
    filterSize,
    strides,
    1,
    pad,
    dimRoundingMode,
  );
}

function pooledShape(info: ConvInfo): number[] {
  return [info.batchSize, info.outChannels, info.outHeight, info.outWidth];
}

/** Maxima and the flat position of each in the channels-first input; the first of equal elements counts, as in tfjs. */
function maxPool(builder: GraphBuilder, x: LazyTensor, info: ConvInfo) {
  const shape = pooledShape(info);
  const [maxima, positions] = builder.nodes(
    'MaxPool',
    [channelsFirst(builder, x)],
    [
      { type: 'float32', shape },
      { type: 'int64', shape },
    ],
    { attributes: windowAttributes(info), numRequiredOutputs: 1 },
  );
  return { maxima: maxima!, positions: positions! };
}

function maxPoolGradient(builder: GraphBuilder, dy: LazyTensor, x: LazyTensor, info: ConvInfo): LazyTensor {
  const { positions } = maxPool(builder, x, info);
  const size = sizeOf(x.shape);
  const numWindows = sizeOf(pooledShape(info));
  const inputs = [
    expandValue(builder, builder.constant('float32', [], [0]), [size]),
    reshapeValue(builder, positions, [numWindows]),
    reshapeValue(builder, channelsFirst(builder, dy), [numWindows]),
  ];
  const attributes = { axis: int(0), reduction: text('add') };
  const flat = builder.node('ScatterElements', inputs, { type: 'float32', shape: [size] }, { attributes });
  const shape = [info.batchSize, info.inChannels, info.inHeight, info.inWidth];
  return channelsLast(builder, reshapeValue(builder, flat, shape));
}

function averagePool(builder: GraphBuilder, x: LazyTensor, info: ConvInfo): LazyTensor {
  const { dilations: _, ...attributes } = windowAttributes(info);
  const spec = { type: 'float32' as const, shape: pooledShape(info) };
  const options = { attributes: { ...attributes, count_include_pad: int(0) } };
  return channelsLast(builder, builder.node('AveragePool', [channelsFirst(builder, x)], spec, options));
}

/** Spreads each value evenly over its window: a transposed convolution per channel. */
function averagePoolGradient(builder: GraphBuilder, dy: LazyTensor, info: ConvInfo): LazyTensor {
  const { top, left, bottom, right } = info.padInfo;
  if (top + left + bottom + right > 0) return unsupported('gradient of avgPool is supported without padding only');
  const window = info.filterHeight * info.filterWidth;
  const filter = materialize(
    builder,
    splat('float32', [info.inChannels, 1, info.filterHeight, info.filterWidth], 1 / window),
  );
  const rest = [
    info.inHeight - ((info.outHeight - 1) * info.strideHeight + info.filterHeight),
    info.inWidth - ((info.outWidth - 1) * info.strideWidth + info.filterWidth),
  ];
  const shape = [info.batchSize, info.inChannels, info.inHeight, info.inWidth];
  const attributes = { ...windowAttributes(info), group: int(info.inChannels), output_padding: ints(rest) };
  const value = builder.node(
    'ConvTranspose',
    [channelsFirst(builder, dy), filter],
    { type: 'float32', shape },
    { attributes },
  );
  return channelsLast(builder, value);
}

interface ResizeOptions {
  readonly size: readonly [number, number];
  readonly mode: 'nearest' | 'linear';
  readonly coordinates: 'asymmetric' | 'half_pixel' | 'align_corners';
  readonly nearest: 'floor' | 'round_prefer_ceil';
}

function resize(builder: GraphBuilder, images: LazyTensor, options: ResizeOptions): LazyTensor {
  const [batch, , , channels] = images.shape as [number, number, number, number];
  const shape = [batch, channels, ...options.size];
  const floats = elementwise(builder, [images], ([value]) => castValue(builder, value!, 'float32'));
  const inputs = [channelsFirst(builder, floats), undefined, undefined, builder.constant('int64', [4], shape)];
  const attributes = {
    mode: text(options.mode),
    coordinate_transformation_mode: text(options.coordinates),
    nearest_mode: text(options.nearest),
  };
  return channelsLast(builder, builder.node('Resize', inputs, { type: 'float32', shape }, { attributes }));
}

/** Sum over each block that one source pixel was copied to. */
function resizeNearestGradient(builder: GraphBuilder, images: LazyTensor, dy: LazyTensor): LazyTensor {
  const [batch, rows, columns, channels] = images.shape as [number, number, number, number];
  const vertical = dy.shape[1]! / rows;
  const horizontal = dy.shape[2]! / columns;
  if (vertical % 1 !== 0 || horizontal % 1 !== 0)
    return unsupported('gradient of resizeNearestNeighbor is supported for whole factors only');
  const blocks = reshapeLazy(builder, dy, [batch, rows, vertical, columns, horizontal, channels]);
  return reduceLazy(builder, 'ReduceSum', blocks, [2, 4], false);
}

export const imageKernels: KernelTable = {
  [tf.MaxPool]: kernel<'x', PoolAttributes>((builder, { x }, attributes) =>
    channelsLast(builder, maxPool(builder, x, poolInfo(x.shape, attributes)).maxima),
  ),
  [tf.MaxPoolGrad]: kernel<'dy' | 'input' | 'output', PoolAttributes>((builder, { dy, input }, attributes) =>
    maxPoolGradient(builder, dy, input, poolInfo(input.shape, attributes)),
  ),
  [tf.AvgPool]: kernel<'x', PoolAttributes>((builder, { x }, attributes) =>
    averagePool(builder, x, poolInfo(x.shape, attributes)),
  ),
  [tf.AvgPoolGrad]: kernel<'dy' | 'input', PoolAttributes>((builder, { dy, input }, attributes) =>
    averagePoolGradient(builder, dy, poolInfo(input.shape, attributes)),
  ),
  [tf.ResizeNearestNeighbor]: kernel<'images', tf.ResizeNearestNeighborAttrs>((builder, { images }, attributes) => {
    const { alignCorners, halfPixelCenters, size } = attributes;
    if (halfPixelCenters) return unsupported('resizeNearestNeighbor with halfPixelCenters is not supported');
    return resize(builder, images, {
      size,
      mode: 'nearest',
      coordinates: alignCorners ? 'align_corners' : 'asymmetric',
      nearest: alignCorners ? 'round_prefer_ceil' : 'floor',
    });
  }),
  [tf.ResizeNearestNeighborGrad]: kernel<'images' | 'dy', { alignCorners: boolean }>(
    (builder, { images, dy }, { alignCorners }) =>
      alignCorners
        ? unsupported('gradient of resizeNearestNeighbor with alignCorners is not supported')
        : resizeNearestGradient(builder, images, dy),
  ),
  [tf.ResizeBilinear]: kernel<'images', tf.ResizeBilinearAttrs>((builder, { images }, attributes) =>
    resize(builder, images, {
      size: attributes.size,
      mode: 'linear',
      coordinates: attributes.alignCorners
        ? 'align_corners'
        : attributes.halfPixelCenters
          ? 'half_pixel'
          : 'asymmetric',
      nearest: 'floor',
    }),
  ),
  [tf.FusedBatchNorm]: kernel<'x' | 'mean' | 'variance' | 'offset' | 'scale', tf.FusedBatchNormAttrs>(
    (builder, { x, mean, variance, offset, scale }, { varianceEpsilon }) => {
      const shifted = addLazy(builder, variance, splat('float32', [], varianceEpsilon));
      const deviation = elementwise(builder, [shifted], ([value], shape) =>
        builder.node('Sqrt', [value], { type: 'float32', shape }),
      );
      const factor = divideLazy(builder, (scale as LazyTensor | undefined) ?? splat('float32', [], 1), deviation);
      const scaled = multiplyLazy(builder, subtractLazy(builder, x, mean), factor);
      return (offset as LazyTensor | undefined) ? addLazy(builder, scaled, offset) : scaled;
    },
  ),
};
