/** Building blocks of the configuration schema: numbers in ranges, choices, text, each with a default and a sentence. */
import { z } from 'zod';

/** A whole number in [minimum, maximum]. */
export function whole(minimum: number, maximum = Number.MAX_SAFE_INTEGER): z.ZodNumber {
  return z.number().int().min(minimum).max(maximum);
}

/** A finite number in [minimum, maximum]. */
export function number(minimum = -Number.MAX_VALUE, maximum = Number.MAX_VALUE): z.ZodNumber {
  return z.number().min(minimum).max(maximum);
}

/** A finite number above 0. */
export function positive(): z.ZodNumber {
  return z.number().gt(0).max(Number.MAX_VALUE);
}

/** A number in [0, 1). */
export function belowOne(): z.ZodNumber {
  return z.number().min(0).lt(1);
}

/** Text without control characters and halves of surrogate pairs, of bounded length. */
export function text(): z.ZodString {
  return z
    .string()
    .min(1)
    .max(4096)

    .regex(/^[^\u0000-\u001f\u007f-\u009f]*$/, 'must not hold control characters')
    .regex(/^\P{Surrogate}*$/u, 'must not hold half of a surrogate pair');
}

/** The path of a folder: names may hold any character but NUL, and so do those of some people's folders. */
export function folderPath(): z.ZodString {
  return z
    .string()
    .min(1)
    .max(4096)

    .regex(/^[^\u0000]*$/, 'must not hold a NUL character');
}

/** An object whose keys all have defaults, so that it can be left out. */
export function section<S extends z.ZodRawShape>(shape: S): z.ZodPrefault<z.ZodObject<S, z.core.$strict>> {
  return z.strictObject(shape).prefault({} as never);
}

/**
 * A section that may be written as a plain number where most people need one of its keys alone.
 *
 * @param key - what the number is; the other keys then have their defaults.
 */
export function sectionOrNumber<S extends z.ZodRawShape>(shape: S, key: keyof S & string) {
  const schema = z
    .preprocess(
      (value) => (typeof value === 'number' && Number.isFinite(value) ? { [key]: value } : value),
      z.strictObject(shape),
    )
    .prefault({} as never)
    // Read by `expectedText` and `--set`: JSON Schema shows what comes out of the preprocessing only.
    .meta({ shorthand: 'a finite number', shorthandKey: key });
  // What may be written, in types: preprocessing takes anything.
  return schema as typeof schema & { _zod: { input: number | z.input<z.ZodObject<S>> | undefined } };
}

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
    weightDecay: number(0).default(defaults.weightDecay).describe('Weight decay.'),
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
    finalFraction: number(0, 1).default(defaults.finalFraction).describe('Fraction of the peak at the end.'),
    constantFraction: number(0, 1).default(0.6).describe('For constant-then-linear: the part of the run at the peak.'),
  });
}

/** Sampling of tokens from logits, with a default temperature. */
export function sampling() {
  return section({
    temperature: positive().default(1).describe('Divides the logits.'),
    topK: whole(0).default(0).describe('Only the k most probable ids; 0: all.'),
    topP: number(0, 1).default(0).describe('Only the most probable ids up to this probability mass; 0: all.'),
    reference: z
      .boolean()
      .default(false)
      .describe('As the official code: ids that the decoder does not know can be drawn too.'),
  });
}
