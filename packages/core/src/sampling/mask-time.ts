/** Continuous time of absorbing diffusion: t falls from 1, everything masked, to 0, nothing masked. */
import { z } from 'zod';
import { finite } from '../options/fields.js';

/** Fraction of masked tokens as a function of t, as published: MDLM and others, MaskGIT, Halton-MaskGIT. */
export const maskTimes = ['linear', 'cosine', 'arccos'] as const;

/** Name of a fraction of masked tokens as a function of t. */
export type MaskTime = (typeof maskTimes)[number];

/** Options of samplers on continuous time. */
export const timeOptions = {
  time: z
    .enum(maskTimes)
    .default('linear')
    .describe('Masked fraction at time t: linear t, cosine cos(pi (1 - t) / 2), arccos acos(1 - t) / (pi / 2).'),
};

/** Where a leap's last step ends: at 0 its rates are infinite, so what is left there is drawn in a pass of its own. */
export const finalTimeOption = finite(1e-6, 0.5)
  .default(0.01)
  .describe('Time of the last step; what is still masked there is drawn in one more pass.');

/** 1 - alpha: fraction of masked tokens at t in [0, 1]. */
export function maskedFraction(time: MaskTime, t: number): number {
  switch (time) {
    case 'linear':
      return t;
    case 'cosine':
      // cos(pi / 2) is not exactly 0.
      return t === 0 ? 0 : Math.cos((Math.PI / 2) * (1 - t));
    case 'arccos':
      return Math.acos(1 - t) / (Math.PI / 2);
    default:
      return time satisfies never;
  }
}

/** Rate at which a masked token is decided as t falls: the derivative of the logarithm of the masked fraction. t > 0. */
export function unmaskingRate(time: MaskTime, t: number): number {
  switch (time) {
    case 'linear':
      return 1 / t;
    case 'cosine':
      return (Math.PI / 2) * Math.tan((Math.PI / 2) * (1 - t));
    case 'arccos':
      return 1 / (Math.sqrt(t * (2 - t)) * Math.acos(1 - t));
    default:
      return time satisfies never;
  }
}

/** Equal steps of time from 1 to `end`: [t, s] of each, s < t. */
export function timeSteps(numSteps: number, end: number): [t: number, s: number][] {
  const at = (i: number) => 1 - (1 - end) * (i / numSteps);
  return Array.from({ length: numSteps }, (_, i) => [at(i), i === numSteps - 1 ? end : at(i + 1)]);
}
