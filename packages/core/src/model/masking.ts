/**
 * The forward process of masked diffusion: which positions are masked. Decided on the host, with exact counts, from
 * uniform numbers, so that any engine masks the same positions.
 */
import { checkValues } from '../engine/check-tensors.js';
import { OptionError, ShapeError } from '../errors.js';
import { maskRatioAt, roundHalfEven, type MaskRatioSchedule } from './schedule.js';
import { float32, int32, sizeOf, type HostTensor } from '../tensors/tensors.js';

/**
 * Number of masked positions of a sequence: max(1, round(length * maskRatio)), halves to even.
 *
 * @param maskRatio - in [0, 1].
 */
export function numMasked(length: number, maskRatio: number): number {
  return Math.max(1, roundHalfEven(Math.fround(length * maskRatio)));
}

/**
 * Exactly `counts[b]` masked positions per row, uniformly distributed: isMasked[b, i] = argsort(uniforms[b])[i] <
 * counts[b] (a random permutation, thresholded; equal numbers keep their order).
 *
 * @param uniforms - float32 [batch, L].
 * @param counts - per row, in [0, L].
 * @returns int32 [batch, L], 1 where masked.
 * @throws ShapeError if the number of counts is not the number of rows; OptionError for a count that is none.
 * @throws NonFiniteError for a uniform that is no number.
 */
export function chooseMasked(uniforms: HostTensor<'float32'>, counts: readonly number[]): HostTensor<'int32'> {
  const [batch, length] = uniforms.shape as readonly [number, number];
  if (uniforms.shape.length !== 2 || counts.length !== batch)
    throw new ShapeError(
      `chooseMasked: uniforms must be [${counts.length}, L] for ${counts.length} counts, got [${uniforms.shape.join(', ')}]`,
    );
  counts.forEach((count, b) => {
    if (!Number.isInteger(count) || count < 0 || count > length)
      throw new OptionError(`chooseMasked: count ${b} must be an integer in [0, ${length}], got ${count}`);
  });
  checkValues('chooseMasked: uniforms', uniforms);
  const isMasked = new Int32Array(batch * length);
  for (let b = 0; b < batch; b++) {
    const row = uniforms.data.subarray(b * length, (b + 1) * length);
    const order = Array.from(row.keys()).sort((i, j) => row[i]! - row[j]! || i - j);
    for (let i = 0; i < length; i++) isMasked[b * length + i] = order[i]! < counts[b]! ? 1 : 0;
  }
  return int32([batch, length], isMasked);
}

/** Bounds of a mask ratio, 0 <= lowest <= highest <= 1. */
export type MaskRatioRange = readonly [lowest: number, highest: number];

/** A mask with the ratio that each row was given. */
export interface ChosenMask {
  /** int32 [batch, L], 1 where masked. */
  readonly isMasked: HostTensor<'int32'>;
  /** float32 [batch]: the schedule's ratio within its range, before rounding to a count. */
  readonly maskRatio: HostTensor<'float32'>;
}

/**
 * A mask whose ratio is drawn per sample from a schedule.
 *
 * @param schedule - uniform number -> mask ratio.
 * @param ratioUniforms - float32 [batch].
 * @param uniforms - float32 [batch, L].
 * @param range - ratios outside of it are moved to its ends.
 */
export function scheduledMask(
  schedule: MaskRatioSchedule,
  ratioUniforms: HostTensor<'float32'>,
  uniforms: HostTensor<'float32'>,
  range?: MaskRatioRange,
): ChosenMask {
  const ratios = maskRatios(schedule, ratioUniforms.data, range);
  const counts = ratios.map((ratio) => numMasked(uniforms.shape[1]!, ratio));
  return { isMasked: chooseMasked(uniforms, counts), maskRatio: float32([ratios.length], ratios) };
}

/**
 * Masked positions of all samples together, which the ratios alone decide: a part of a batch knows that of the whole.
 *
 * @param ratioUniforms - one number per sample of the whole batch.
 * @param length - L, positions of a sample.
 */
export function countMasked(
  schedule: MaskRatioSchedule,
  ratioUniforms: Float32Array,
  length: number,
  range?: MaskRatioRange,
): number {
  return maskRatios(schedule, ratioUniforms, range).reduce((sum, ratio) => sum + numMasked(length, ratio), 0);
}

function maskRatios(
  schedule: MaskRatioSchedule,
  uniforms: Float32Array,
  [lowest, highest]: MaskRatioRange = [0, 1],
): number[] {
  return Array.from(uniforms, (uniform) => Math.min(highest, Math.max(lowest, maskRatioAt(schedule, uniform))));
}

/**
 * Tokens with the mask id at masked positions.
 *
 * @param tokens - int32, any shape.
 * @param isMasked - int32 of the same shape, 1 where masked.
 * @throws ShapeError if the shapes differ.
 */
export function maskTokens(
  tokens: HostTensor<'int32'>,
  isMasked: HostTensor<'int32'>,
  maskTokenId: number,
): HostTensor<'int32'> {
  if (sizeOf(tokens.shape) !== sizeOf(isMasked.shape))
    throw new ShapeError(
      `maskTokens: tokens [${tokens.shape.join(', ')}] and isMasked [${isMasked.shape.join(', ')}] must have one shape`,
    );
  return int32(
    tokens.shape,
    tokens.data.map((token, i) => (isMasked.data[i] ? maskTokenId : token)),
  );
}
