/** Building blocks of the configuration schema that core does not have: text and paths. */
import { z } from 'zod';

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
