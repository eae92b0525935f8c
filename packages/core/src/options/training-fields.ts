/** Building blocks of the option schemas of trainings. */
import { z } from 'zod';
import { belowOne, finite, positive, section, whole } from './fields.js';

/** What happens when a loss or gradient is not finite. */
export const onNonFinite = z.enum(['throw', 'skip', 'reference']);

/** Mask ratio schedules. */
export const maskSchedule = z.enum(['linear', 'square', 'cosine', 'arccos', 'mage']);

/** Settings of Adam or AdamW, with defaults of its own. */
export function optimizer(defaults: {
  readonly kind: 'adam' | 'adamw';
  readonly beta1: number;
  readonly beta2: number;
  readonly weightDecay: number;
  readonly clipNorm?: number;
}) {
  return section({
    kind: z
      .enum(['adam', 'adamw'])
      .default(defaults.kind)
      .describe('adam: weight decay is added to the gradient; adamw: it is decoupled from it.'),
    beta1: belowOne().default(defaults.beta1).describe('Decay of the running mean of gradients.'),
    beta2: belowOne().default(defaults.beta2).describe('Decay of the running mean of squared gradients.'),
    epsilon: positive().default(1e-8).describe('Added to the root of the second moment.'),
    weightDecay: finite(0).default(defaults.weightDecay).describe('Weight decay.'),
    clipNorm: (defaults.clipNorm === undefined
      ? positive().optional()
      : positive().optional().default(defaults.clipNorm)
    ).describe('Largest global gradient norm; larger gradients are scaled down to it. Absent: no clipping.'),
  });
}

/** A learning rate schedule, with defaults of its own. */
export function learningRateSchedule(defaults: {
  readonly kind: 'constant' | 'cosine' | 'linear' | 'constant-then-linear';
  readonly warmupSteps: number;
  readonly finalFraction: number;
}) {
  return section({
    kind: z
      .enum(['constant', 'cosine', 'linear', 'constant-then-linear'])
      .default(defaults.kind)
      .describe('Course of the learning rate after the warm-up.'),
    warmupSteps: whole(0).default(defaults.warmupSteps).describe('Steps of linear warm-up from 0.'),
    finalFraction: finite(0, 1).default(defaults.finalFraction).describe('Fraction of the peak at the end.'),
    constantFraction: finite(0, 1).default(0.6).describe('For constant-then-linear: the part of the run at the peak.'),
  });
}

/** Sampling of tokens from logits, with a default temperature. */
export function tokenSampling() {
  return section({
    temperature: positive().default(1).describe('Divides the logits.'),
    topK: whole(0).default(0).describe('Only the k most probable ids; 0: all.'),
    topP: finite(0, 1).default(0).describe('Only the most probable ids up to this probability mass; 0: all.'),
    reference: z
      .boolean()
      .default(false)
      .describe('As the official code: ids that the decoder does not know can be drawn too.'),
  });
}
