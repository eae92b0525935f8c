/**
 * Reference formulas on the host in float64, independent of tfjs and of every engine. Written for clarity, for arrays
 * of a few hundred elements.
 */
import { sizeOf } from '../tensors/tensors.js';
import { standardNormalDistribution } from '../random/truncated-normal.js';

/** A tensor in float64, row-major. */
export interface Reference {
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

/** A tensor whose element at each index is `value(indices)`. */
export function build(shape: readonly number[], value: (...index: number[]) => number): Reference {
  const data = new Float64Array(sizeOf(shape));
  const index = shape.map(() => 0);
  for (let i = 0; i < data.length; i++) {
    data[i] = value(...index);
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      index[axis] = index[axis]! + 1;
      if (index[axis]! < shape[axis]!) break;
      index[axis] = 0;
    }
  }
  return { shape, data };
}

/** Element at an index. */
export function at(tensor: Reference, ...index: number[]): number {
  let offset = 0;
  for (let axis = 0; axis < tensor.shape.length; axis++) offset = offset * tensor.shape[axis]! + index[axis]!;
  return tensor.data[offset]!;
}

/** Sum of `value(i)` for i = 0 .. count - 1. */
export function sum(count: number, value: (i: number) => number): number {
  let total = 0;
  for (let i = 0; i < count; i++) total += value(i);
  return total;
}

/** The function of every element. */
export function map(x: Reference, f: (value: number) => number): Reference {
  return { shape: x.shape, data: x.data.map(f) };
}

/** log softmax of `row`, any length. */
export function logSoftmax(row: readonly number[]): number[] {
  const largest = Math.max(...row);
  const logSum = largest + Math.log(sum(row.length, (i) => Math.exp(row[i]! - largest)));
  return row.map((value) => value - logSum);
}

/** softmax of `row`. */
export function softmax(row: readonly number[]): number[] {
  return logSoftmax(row).map(Math.exp);
}

/** The last axis at an index of the other axes. */
export function rowAt(tensor: Reference, ...index: number[]): number[] {
  const length = tensor.shape[tensor.shape.length - 1]!;
  return Array.from({ length }, (_, i) => at(tensor, ...index, i));
}

/** x times the standard normal distribution function. */
export function gelu(x: number): number {
  return x * standardNormalDistribution(x);
}

/** The tanh form of gelu. */
export function geluTanh(x: number): number {
  return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
}

/** Normalization of each row of [rows, width] with affine parameters. */
export function layerNorm(x: Reference, scale: Reference, offset: Reference, epsilon: number): Reference {
  const width = x.shape[x.shape.length - 1]!;
  const moments = (row: number[]) => {
    const mean = sum(width, (i) => row[i]!) / width;
    return { mean, variance: sum(width, (i) => (row[i]! - mean) ** 2) / width };
  };
  return build(x.shape, (...index) => {
    const column = index[index.length - 1]!;
    const row = rowAt(x, ...index.slice(0, -1));
    const { mean, variance } = moments(row);
    return ((row[column]! - mean) / Math.sqrt(variance + epsilon)) * at(scale, column) + at(offset, column);
  });
}

/** Normalization of each sample of [batch, rows, columns, channels] over groups of channels, with affine parameters. */
export function groupNorm(
  x: Reference,
  scale: Reference,
  offset: Reference,
  { numGroups, epsilon }: { readonly numGroups: number; readonly epsilon: number },
): Reference {
  const [, rows, columns, channels] = x.shape as [number, number, number, number];
  const width = channels / numGroups;
  const count = rows * columns * width;
  const moments = (b: number, group: number) => {
    const value = (i: number) => {
      const position = Math.floor(i / width);
      return at(x, b, Math.floor(position / columns), position % columns, group * width + (i % width));
    };
    const mean = sum(count, value) / count;
    return { mean, variance: sum(count, (i) => (value(i) - mean) ** 2) / count };
  };
  return build(x.shape, (b, r, c, channel) => {
    const { mean, variance } = moments(b, Math.floor(channel / width));
    return (
      ((at(x, b, r, c, channel) - mean) / Math.sqrt(variance + epsilon)) * at(scale, channel) + at(offset, channel)
    );
  });
}

/** Multi-head attention, all tensors [batch, length, width]. */
export function attention(query: Reference, key: Reference, value: Reference, numHeads: number): Reference {
  const [batch, length, width] = query.shape as [number, number, number];
  const keyLength = key.shape[1]!;
  const headWidth = width / numHeads;
  return build([batch, length, width], (b, s, d) => {
    const first = Math.floor(d / headWidth) * headWidth;
    const scores = Array.from(
      { length: keyLength },
      (_, t) => sum(headWidth, (i) => at(query, b, s, first + i) * at(key, b, t, first + i)) / Math.sqrt(headWidth),
    );
    const weights = softmax(scores);
    return sum(keyLength, (t) => weights[t]! * at(value, b, t, d));
  });
}

/** Convolution of [batch, height, width, in] with [kh, kw, in, out], TensorFlow's `same` padding. */
export function convolution(x: Reference, filter: Reference, stride: number): Reference {
  const [batch, height, width, inChannels] = x.shape as [number, number, number, number];
  const [kernelHeight, kernelWidth, , outChannels] = filter.shape as [number, number, number, number];
  const plan = (size: number, kernel: number) => {
    const out = Math.ceil(size / stride);
    return { out, before: Math.floor(Math.max(0, (out - 1) * stride + kernel - size) / 2) };
  };
  const rows = plan(height, kernelHeight);
  const columns = plan(width, kernelWidth);
  return build([batch, rows.out, columns.out, outChannels], (b, r, c, o) =>
    sum(kernelHeight * kernelWidth, (tap) => {
      const row = r * stride - rows.before + Math.floor(tap / kernelWidth);
      const column = c * stride - columns.before + (tap % kernelWidth);
      if (row < 0 || row >= height || column < 0 || column >= width) return 0;
      return sum(
        inChannels,
        (i) => at(x, b, row, column, i) * at(filter, Math.floor(tap / kernelWidth), tap % kernelWidth, i, o),
      );
    }),
  );
}
