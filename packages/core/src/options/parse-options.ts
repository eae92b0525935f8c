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
    return `${path} must be ${expected(issue)}, got ${escapeText(textOf(value))}`;
  });
  throw new OptionError(problems.join('; '));
}

/** JSON has no word for numbers that are none. */
function textOf(value: unknown): string {
  return typeof value === 'number' ? String(value) : (JSON.stringify(value) ?? String(value));
}

/** Those of the given values that are options of a schema; the others are of something else. */
export function pickOptions<Shape extends z.ZodRawShape, Given extends object>(
  shape: Shape,
  given: Given,
): Pick<Given, keyof Shape & keyof Given> {
  const entries = Object.entries(given).filter(([name]) => Object.hasOwn(shape, name));
  return Object.fromEntries(entries) as Pick<Given, keyof Shape & keyof Given>;
}

/** What an option must be, in words. */
function expected(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case 'too_small':
      return `${issue.inclusive === false ? 'above' : 'at least'} ${issue.minimum}`;
    case 'too_big':
      return `${issue.inclusive === false ? 'below' : 'at most'} ${issue.maximum}`;
    case 'invalid_value':
      return oneOf(issue.values.map((value) => JSON.stringify(value)));
    case 'invalid_type':
      // Sections say themselves what may stand in their place.
      if (!issue.message.startsWith('Invalid')) return issue.message;
      return typeNames[issue.expected] ?? `a ${issue.expected}`;
    case 'invalid_union':
      return oneOf(issue.errors.flatMap(([first]) => (first ? [expected(first)] : [])));
    default:
      return issue.message;
  }
}

const typeNames: Readonly<Record<string, string>> = {
  int: 'an integer',
  number: 'a finite number',
  object: 'an object',
  tuple: 'a pair',
};

function oneOf(choices: readonly string[]): string {
  const last = choices.at(-1)!;
  return choices.length < 2 ? last : `${choices.slice(0, -1).join(', ')} or ${last}`;
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
