/** Which timestep the model is told in a pass. */
import { float32, type HostTensor, type PassProgress, type TimeConditioning } from '@dimo/core';
import { sinusoids, sinusoidWidth } from './sinusoids.js';

/**
 * What the model is told about the part of the tokens that is masked, as a "timestep" that it multiplies by 1000.
 *
 * - `official`: what the released weights were distilled with and are sampled with. The official distillation rounds the
 *   mask ratio down to an integer before it multiplies by 1000, so the timestep is 0, and 1000 only where everything is
 *   masked; the official multi-step sampler passes the number of steps that are left.
 * - `paper`: 1000 times the mask ratio in every pass, what the distillation meant and Meissonic's own training does.
 * - `ratio`: the mask ratio itself, whose sinusoids change slowly with it; for teachers trained with dimo.
 */
export type TimestepMode = 'official' | 'paper' | 'ratio';

/** Names of the modes. */
export const timestepModes: readonly TimestepMode[] = ['official', 'paper', 'ratio'];

/** Timestep of each sample of a pass. */
export function timestepsOf(mode: TimestepMode, { maskRatio, stepsLeft }: PassProgress): number[] {
  return Array.from(maskRatio.data, (ratio) => {
    switch (mode) {
      case 'official':
        return stepsLeft ?? 1000 * Math.trunc(ratio);
      case 'paper':
        return 1000 * ratio;
      case 'ratio':
        return ratio;
      default:
        return mode satisfies never;
    }
  });
}

/**
 * Timesteps as the model takes them: sinusoids of 1000 times each.
 *
 * @returns float32 [batch, 256].
 */
export function embedTimesteps(timesteps: readonly number[]): HostTensor<'float32'> {
  const scaled = timesteps.map((timestep) => Math.fround(1000 * Math.fround(timestep)));
  return float32([timesteps.length, sinusoidWidth], sinusoids(scaled));
}

/** Time input of the model: `timestep`, float32 [batch, 256]. */
export function timestepConditioning(mode: TimestepMode): TimeConditioning {
  return {
    specs: { timestep: { dtype: 'float32', shape: [sinusoidWidth] } },
    compute: (progress) => ({ timestep: embedTimesteps(timestepsOf(mode, progress)) }),
  };
}
