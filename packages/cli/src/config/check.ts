/** Validation: all problems at once, each with the key, where it was written, what was expected, and the nearest key. */
import type { z } from 'zod';
import { allKeyPaths, configJsonSchema, expectedText, isFreeForm, schemaAt } from './describe-schema.js';
import { closest, didYouMean } from './nearest.js';
import { configSchema, type DimoConfig } from './schema.js';
import { pathText, type ConfigProblem, type KeyPath } from './yaml-source.js';

/** Says where a key was written. */
export type Locate = (path: KeyPath) => string;

/** A checked configuration, or the problems. */
export type CheckedConfig =
  | { readonly config: DimoConfig; readonly problems: readonly [] }
  | { readonly config: undefined; readonly problems: readonly ConfigProblem[] };

/** Problems beyond this many are counted, not listed. */
export const maximumProblems = 50;

/** Checks plain data against the schema and fills in defaults. */
export function checkConfig(value: unknown, locate: Locate): CheckedConfig {
  const result = configSchema.safeParse(value ?? {});
  if (result.success) return { config: result.data, problems: [] };
  const problems: ConfigProblem[] = [];
  let rest = 0;
  for (const issue of result.error.issues)
    for (const part of partsOf(issue))
      // The nearest key is looked for where it will be shown.
      if (problems.length < maximumProblems) problems.push(problemOf(part, value, locate));
      else rest++;
  if (rest > 0) problems.push({ path: [], where: '', message: `and ${rest} more problems` });
  return { config: undefined, problems };
}

/** One fault: an issue, and for unknown keys which of them. */
interface IssuePart {
  readonly issue: z.core.$ZodIssue;
  readonly unknownKey?: string;
}

function partsOf(issue: z.core.$ZodIssue): IssuePart[] {
  return issue.code === 'unrecognized_keys' ? issue.keys.map((unknownKey) => ({ issue, unknownKey })) : [{ issue }];
}

function problemOf({ issue, unknownKey }: IssuePart, root: unknown, locate: Locate): ConfigProblem {
  const path: KeyPath = issue.path.filter((key) => typeof key !== 'symbol');
  if (unknownKey !== undefined) {
    const at = [...path, unknownKey];
    return { path: at, where: locate(at), message: unknownKeyMessage(at) };
  }
  const got = valueAt(root, path);
  const { enum: choices } = schemaAt(path) ?? {};
  const nearest = typeof got === 'string' && choices ? didYouMean(got, choices.map(String)) : '';
  const details = issue.code === 'invalid_format' && issue.message.startsWith('must') ? ` (${issue.message})` : '';
  return {
    path,
    where: locate(path),
    message: `must be ${expectedText(schemaAt(path))}, got ${shown(got)}${details}${nearest}`,
  };
}

/** `is not a known key; did you mean "steps"?` */
export function unknownKeyMessage(path: KeyPath): string {
  const nearest = nearestKey(path);
  if (nearest !== undefined) return `is not a known key; did you mean "${nearest}"?`;
  const section = schemaAt(path.slice(0, -1));
  const known = Object.keys(section?.properties ?? {});
  return `is not a known key; known here: ${known.join(', ') || 'none'}`;
}

/**
 * The key that was probably meant: one beside it that differs by a few letters, else a key of that name elsewhere.
 *
 * @returns a key of the same section, or the full path of one elsewhere.
 */
export function nearestKey(path: KeyPath): string | undefined {
  const key = String(path.at(-1));
  const siblings = Object.keys(schemaAt(path.slice(0, -1))?.properties ?? {});
  const beside = closest(key, siblings, (sibling) => sibling);
  if (beside) return beside;
  const elsewhere = allKeyPaths(configJsonSchema());
  const found = closest(key, elsewhere, (candidate) => candidate.at(-1) ?? '');
  return found && pathText(found);
}

function valueAt(root: unknown, path: KeyPath): unknown {
  return path.reduce<unknown>(
    (value, key) =>
      typeof value === 'object' && value !== null && Object.hasOwn(value, key)
        ? (value as Record<string | number, unknown>)[key]
        : undefined,
    root,
  );
}

/** A value for a message: short, and never raw control characters (the terminal escapes those). */
export function shown(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (typeof value === 'number') return String(value);
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'a list' : 'a section';
  if (typeof value === 'function') return 'a function';
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

/** The key exists, or lies below a free-form key. */
export function isKnownKey(path: KeyPath): boolean {
  for (let length = 1; length <= path.length; length++) {
    const node = schemaAt(path.slice(0, length));
    if (!node) return false;
    if (isFreeForm(node)) return true;
  }
  return true;
}
