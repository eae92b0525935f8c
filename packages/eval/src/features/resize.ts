/**
 * Images in the size of a feature network, by the methods whose numbers papers print. They are linear and act on each axis
 * alone, so a method is a row of weights per new pixel.
 *
 *   bicubic, bilinear, lanczos: as Pillow resizes, with a filter as wide as a new pixel where the image shrinks
 *                               ("clean" resizing, Parmar et al. 2022, arXiv 2104.11222)
 *   bilinear-torch:             two neighbours, pixel centres (interpolate with align_corners=False), no filter
 *   bilinear-tensorflow:        two neighbours, pixel corners (TensorFlow 1), no filter: Inception of the first FIDs
 */
import { OptionError } from '@dimo/core';

/** Methods by name. */
export const resizeMethods = ['bicubic', 'bilinear', 'lanczos', 'bilinear-torch', 'bilinear-tensorflow'] as const;

/** How an image is brought to another size. */
export type ResizeMethod = (typeof resizeMethods)[number];

/** Images of bytes, all of one size. */
export interface PixelBatch {
  readonly count: number;
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  /** [count, height, width, channels], 0 to 255. */
  readonly data: Uint8Array | Float32Array;
}

/** What a new pixel is made of: old ones from `first` on, by weights that sum to 1. */
interface Taps {
  readonly first: number;
  readonly weights: Float64Array;
}

const sinc = (x: number): number => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));

/** Filters with half of their widths; the cubic has the parameter -1/2. */
const filters: Readonly<Record<string, { readonly support: number; readonly at: (x: number) => number }>> = {
  bilinear: { support: 1, at: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: {
    support: 2,
    at(value) {
      const x = Math.abs(value);
      if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
      return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
    },
  },
  lanczos: { support: 3, at: (x) => (Math.abs(x) < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

/** Weights of every new pixel along one axis. */
function tapsOf(from: number, to: number, method: ResizeMethod): Taps[] {
  const scale = from / to;
  const filter = filters[method];
  if (!filter) {
    const isCentred = method === 'bilinear-torch';
    return Array.from({ length: to }, (_, i) => {
      const at = Math.max(0, isCentred ? (i + 0.5) * scale - 0.5 : i * scale);
      const first = Math.min(from - 1, Math.floor(at));
      const share = first + 1 < from ? at - first : 0;
      return { first, weights: share === 0 ? Float64Array.of(1) : Float64Array.of(1 - share, share) };
    });
  }
  const stretch = Math.max(1, scale);
  return Array.from({ length: to }, (_, i) => {
    const centre = (i + 0.5) * scale;
    const reach = filter.support * stretch;
    const first = Math.max(0, Math.trunc(centre - reach + 0.5));
    const end = Math.min(from, Math.trunc(centre + reach + 0.5));
    const weights = Float64Array.from({ length: end - first }, (_, k) =>
      filter.at((first + k - centre + 0.5) / stretch),
    );
    const sum = weights.reduce((total, weight) => total + weight, 0);
    return { first, weights: weights.map((weight) => weight / sum) };
  });
}

/** Fraction bits of Pillow's weights for images of bytes. */
const fixedPoint = 2 ** 22;

/** The weights as Pillow rounds them for images of bytes. */
function fixedTaps(taps: readonly Taps[]): Taps[] {
  const rounded = (weight: number) => Math.sign(weight) * Math.floor(Math.abs(weight) * fixedPoint + 0.5);
  return taps.map(({ first, weights }) => ({ first, weights: weights.map(rounded) }));
}

const limited = (value: number): number => Math.min(255, Math.max(0, value));
const toByte = (sum: number): number => limited(Math.floor((sum + fixedPoint / 2) / fixedPoint));

/** Options of `resizeImages`. */
export interface ResizeOptions {
  /** To bytes after each axis, as Pillow resizes images of bytes; else it is what Pillow makes of floating point. @default false */
  readonly rounds?: boolean;
}

/**
 * Images in another size, within [0, 255]; those that have the size are given back as they are.
 *
 * @param images - at least one pixel high and wide.
 * @throws OptionError for a size that is none.
 */
export function resizeImages(
  images: PixelBatch,
  size: readonly [height: number, width: number],
  method: ResizeMethod,
  { rounds = false }: ResizeOptions = {},
): PixelBatch {
  const { count, height, width, channels, data } = images;
  for (const side of [height, width, ...size])
    if (!Number.isInteger(side) || side < 1)
      throw new OptionError(`resize: sides must be integers from 1 on, got ${side}`);
  const [newHeight, newWidth] = size;
  if (height === newHeight && width === newWidth) return images;
  const taps = (from: number, to: number) => (rounds ? fixedTaps(tapsOf(from, to, method)) : tapsOf(from, to, method));
  const columns = taps(width, newWidth);
  const rows = taps(height, newHeight);
  const between = rounds ? toByte : (sum: number) => sum;
  const after = rounds ? toByte : limited;
  // Between the axes there is float32, as in Pillow.
  const across = new Float32Array(height * newWidth * channels);
  const rowLength = newWidth * channels;
  const result = new Float32Array(count * newHeight * rowLength);
  const sums = new Float64Array(rowLength);
  for (let image = 0; image < count; image++) {
    const start = image * height * width * channels;
    for (let y = 0; y < height; y++)
      for (let x = 0; x < newWidth; x++) {
        const { first, weights } = columns[x]!;
        const source = start + (y * width + first) * channels;
        for (let c = 0; c < channels; c++) {
          let sum = 0;
          for (let k = 0; k < weights.length; k++) sum += weights[k]! * data[source + k * channels + c]!;
          across[(y * newWidth + x) * channels + c] = between(sum);
        }
      }
    for (let y = 0; y < newHeight; y++) {
      const { first, weights } = rows[y]!;
      sums.fill(0);
      for (let k = 0; k < weights.length; k++) {
        const source = (first + k) * rowLength;
        for (let i = 0; i < rowLength; i++) sums[i]! += weights[k]! * across[source + i]!;
      }
      const target = (image * newHeight + y) * rowLength;
      for (let i = 0; i < rowLength; i++) result[target + i] = after(sums[i]!);
    }
  }
  return { count, height: newHeight, width: newWidth, channels, data: result };
}
