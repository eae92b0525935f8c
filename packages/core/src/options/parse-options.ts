/** Options checked by their schema, which is also where their defaults, ranges and sentences stand. */
import type { z } from 'zod';
import { OptionError } from '../errors.js';
import { escapeText } from '../text/escape-text.js';

/**
 * Fills in defaults and checks.
 *
 * @param schema - a strict object: unknown keys are errors.
 * @param given - what a person, a file or a caller gave.
 * @param where - path of the options, for messages: `sampler`.
 * @throws OptionError naming every option that is wrong, what was expected and what came.
 */
export function parseOptions<S extends z.ZodObject>(schema: S, given: unknown, where: string): z.output<S> {
  const result = schema.safeParse(given);
  if (result.success) return result.data;
  const problems = result.error.issues.map((issue) => {
    if (issue.code === 'unrecognized_keys')
      return `${where}: unknown ${issue.keys.map((key) => `"${escapeText(key)}"`).join(', ')}; known are ${Object.keys(schema.shape).join(', ')}`;
    const path = [where, ...issue.path.map(String)].join('.');
    const value = issue.path.reduce<unknown>(
      (at, key) => (at as Record<PropertyKey, unknown> | undefined)?.[key],
      given,
    );
    return `${path} must be ${expected(issue)}, got ${escapeText(JSON.stringify(value) ?? String(value))}`;
  });
  throw new OptionError(problems.join('; '));
}

/** What an option must be, in words. */
function expected(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case 'too_small':
      return `${issue.inclusive === false ? 'above' : 'at least'} ${issue.minimum}`;
    case 'too_big':
      return `${issue.inclusive === false ? 'below' : 'at most'} ${issue.maximum}`;
    case 'invalid_value':
      return issue.values.map((value) => JSON.stringify(value)).join(' or ');
    case 'invalid_type':
      return issue.expected === 'int' ? 'an integer' : `a ${issue.expected}`;
    default:
      return issue.message;
  }
}

/** Name, default and sentence of every option of a schema, for help and documents. */
export interface DescribedOption {
  readonly name: string;
  /** Plain JSON; absent if the option has none. */
  readonly default?: unknown;
  readonly description: string;
}

/** Describes the options of a schema. */
export function describeOptions(schema: z.ZodObject): DescribedOption[] {
  return Object.entries(schema.shape as Record<string, z.ZodType>).map(([name, field]) => {
    const parsed = field.safeParse(undefined);
    return {
      name,
      ...(parsed.success && parsed.data !== undefined ? { default: parsed.data } : {}),
      description: field.description ?? '',
    };
  });
}
