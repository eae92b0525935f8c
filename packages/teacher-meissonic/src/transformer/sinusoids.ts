/**
 * Sinusoids of timesteps and micro-conditions, on the host in float32 as PyTorch computes them: at arguments like 63,000
 * the rounding of the frequencies alone moves a cosine by 3e-3, and the cosine of a GPU is worse.
 */
import { float32, ShapeError, type HostTensor } from '@dimo/core';

/** Cosines and sines of one number, together. */
export const sinusoidWidth = 256;

const numFrequencies = sinusoidWidth / 2;

/** f_k = exp(-ln(10000) k / 128), k = 0 .. 127. */
const frequencies = Float32Array.from({ length: numFrequencies }, (_, k) =>
  Math.exp(Math.fround((Math.fround(-Math.log(10000)) * k) / numFrequencies)),
);

/**
 * [cos(t f_0), ..., cos(t f_127), sin(t f_0), ..., sin(t f_127)] of each number.
 *
 * @returns float32 [numbers, 256].
 */
export function sinusoids(numbers: ArrayLike<number>): Float32Array {
  const values = new Float32Array(numbers.length * sinusoidWidth);
  for (let i = 0; i < numbers.length; i++) {
    const t = Math.fround(numbers[i]!);
    for (let k = 0; k < numFrequencies; k++) {
      const angle = Math.fround(t * frequencies[k]!);
      values[i * sinusoidWidth + k] = Math.cos(angle);
      values[i * sinusoidWidth + numFrequencies + k] = Math.sin(angle);
    }
  }
  return values;
}

/** Facts about a training picture that the model is told; when sampling, what the picture shall look like. */
export interface MicroConditions {
  /** Pixels. @default 1024 */
  readonly originalWidth?: number;
  /** Pixels. @default 1024 */
  readonly originalHeight?: number;
  /** Pixels. @default 0 */
  readonly cropTop?: number;
  /** Pixels. @default 0 */
  readonly cropLeft?: number;
  /** About 4 to 7 for the released weights. @default 6 */
  readonly aestheticScore?: number;
}

/** Number of micro-conditions. */
export const numMicroConditions = 5;

/** The five numbers in the model's order: width, height, crop top, crop left, aesthetic score. */
export function microConditionNumbers(conditions: MicroConditions = {}): number[] {
  const { originalWidth = 1024, originalHeight = 1024, cropTop = 0, cropLeft = 0, aestheticScore = 6 } = conditions;
  return [originalWidth, originalHeight, cropTop, cropLeft, aestheticScore];
}

/**
 * Micro-conditions as the model's condition tensor.
 *
 * @param numbers - `[count * 5]`, one sample after the other.
 * @returns float32 [count, 5, 256].
 * @throws ShapeError if they are not fives.
 */
export function embedMicroConditions(numbers: ArrayLike<number>): HostTensor<'float32'> {
  const count = numbers.length / numMicroConditions;
  if (!Number.isInteger(count))
    throw new ShapeError(`embedMicroConditions: needs five numbers per sample, got ${numbers.length}`);
  return float32([count, numMicroConditions, sinusoidWidth], sinusoids(numbers));
}
