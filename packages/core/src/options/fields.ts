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
