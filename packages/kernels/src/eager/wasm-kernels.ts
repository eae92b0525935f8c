/**
 * Kernels that tfjs' wasm backend lacks or does slowly, composed of those it has. Transposed operands fall off its fast
 * matrix product, so they are transposed in memory first; segment sums become products with one-hot matrices.
 */
import type { FusableAttributes, FusableInputs, FusableKernelName, FusableOutputs } from '@dimo/core';
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor, Tensor2D, Tensor4D } from '@tensorflow/tfjs-core';

/** A kernel of core's table that the wasm backend is slow at, or lacks. */
type Fusable<Name extends FusableKernelName> = (
  inputs: FusableInputs<Name, Tensor>,
  attributes: FusableAttributes<Name>,
) => FusableOutputs<Name, Tensor>[0];
/** One of tfjs' own. */
type Stock = (inputs: Record<string, Tensor>, attributes: Record<string, unknown>) => Tensor;

/** Registers the kernels, once. */
export function registerWasmKernels(): void {
  for (const [kernelName, compute] of Object.entries({ ...fusableKernels, ...stockKernels })) {
    if (tf.getKernel(kernelName, 'wasm')) continue;
    tf.registerKernel({
      kernelName,
      backendName: 'wasm',
      kernelFunc: ({ inputs, attrs }) => tf.tidy(() => compute(inputs as never, (attrs ?? {}) as never)),
    });
  }
}

const fusableKernels: {
  readonly [Name in 'DimoMatMul' | 'DimoEmbeddingGrad']: Fusable<Name>;
} = {
  DimoMatMul: ({ a, b }, { transposeA, transposeB }) =>
    tf.matMul(transposeA ? transposeLast(a) : a, transposeB ? transposeLast(b) : b),

  DimoEmbeddingGrad: ({ ids, dy }, { numRows }) => sumByRow(dy, ids, numRows),
};

const stockKernels: Readonly<Record<string, Stock>> = {
  UnsortedSegmentSum: ({ x, segmentIds }, { numSegments }) => {
    const rows = sumByRow(tf.reshape(x!, [segmentIds!.size, -1]), segmentIds!, numSegments as number);
    return tf.reshape(rows, [numSegments as number, ...x!.shape.slice(segmentIds!.rank)]);
  },

  Conv2DBackpropFilter: ({ x, dy }, { strides, pad, dimRoundingMode, filterShape }) =>
    convolutionFilterGradient(
      x as Tensor4D,
      dy as Tensor4D,
      tf.backend_util.computeConv2DInfo(
        x!.shape as [number, number, number, number],
        filterShape as [number, number, number, number],
        strides as number | [number, number],
        1,
        pad as 'same' | 'valid' | number,
        dimRoundingMode as 'floor' | 'round' | 'ceil' | undefined,
      ),
    ),
};

function transposeLast(x: Tensor): Tensor {
  const axes = x.shape.map((_, axis) => axis);
  [axes[x.rank - 2], axes[x.rank - 1]] = [x.rank - 1, x.rank - 2];
  return tf.transpose(x, axes);
}

/** result[r] = sum of the rows of `values` whose id is r. */
function sumByRow(values: Tensor, ids: Tensor, numRows: number): Tensor {
  const oneHot = tf.cast(tf.oneHot(tf.cast(tf.reshape(ids, [-1]), 'int32'), numRows), 'float32') as Tensor2D;
  return tf.matMul(tf.transpose(oneHot), values as Tensor2D);
}

/** For each tap of the filter: the input positions it saw, [positions, in], times the upstream gradient. */
function convolutionFilterGradient(x: Tensor4D, dy: Tensor4D, info: tf.backend_util.Conv2DInfo): Tensor {
  const { filterHeight, filterWidth, outHeight, outWidth, strideHeight, strideWidth, inChannels, outChannels } = info;
  const { top, left } = info.padInfo;
  const paddedHeight = (outHeight - 1) * strideHeight + filterHeight;
  const paddedWidth = (outWidth - 1) * strideWidth + filterWidth;
  const padded = tf.pad(x, [
    [0, 0],
    [top, Math.max(0, paddedHeight - info.inHeight - top)],
    [left, Math.max(0, paddedWidth - info.inWidth - left)],
    [0, 0],
  ]);
  const upstream = tf.reshape(dy, [-1, outChannels]);
  const taps: Tensor[] = [];
  for (let row = 0; row < filterHeight; row++)
    for (let column = 0; column < filterWidth; column++) {
      const seen = tf.stridedSlice(
        padded,
        [0, row, column, 0],
        [x.shape[0], row + (outHeight - 1) * strideHeight + 1, column + (outWidth - 1) * strideWidth + 1, inChannels],
        [1, strideHeight, strideWidth, 1],
      );
      taps.push(tf.matMul(tf.transpose(tf.reshape(seen, [-1, inChannels])), upstream));
    }
  return tf.reshape(tf.stack(taps), [filterHeight, filterWidth, inChannels, outChannels]);
}
