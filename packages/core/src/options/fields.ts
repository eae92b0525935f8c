/** Building blocks of option schemas: numbers in ranges, each to be given a default and a sentence where it is used. */
import { z } from 'zod';

/** A whole number in [minimum, maximum]. */
export function whole(minimum: number, maximum = Number.MAX_SAFE_INTEGER): z.ZodNumber {
  return z.number().int().min(minimum).max(maximum);
}

/** A finite number in [minimum, maximum]. */
export function finite(minimum = -Number.MAX_VALUE, maximum = Number.MAX_VALUE): z.ZodNumber {
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
      z.strictObject(shape, {
        error: ({ code }) => (code === 'invalid_type' ? 'a finite number or an object' : undefined),
      }),
    )
    .prefault({} as never)
    // Read by `expectedText` and `--set`: JSON Schema shows what comes out of the preprocessing only.
    .meta({ shorthand: 'a finite number', shorthandKey: key });
  // What may be written, in types: preprocessing takes anything.
  return schema as typeof schema & { _zod: { input: number | z.input<z.ZodObject<S>> | undefined } };
}
