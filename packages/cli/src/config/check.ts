/** Validation: all problems at once, each with the key, where it was written, what was expected, and the nearest key. */
import { distance } from 'fastest-levenshtein';
import type { z } from 'zod';
import { allKeyPaths, configJsonSchema, expectedText, isFreeForm, schemaAt } from './describe-schema.js';
import { configSchema, type DimoConfig } from './schema.js';
import { pathText, type ConfigProblem, type KeyPath } from './yaml-source.js';

/** Says where a key was written. */
export type Locate = (path: KeyPath) => string;

/** A checked configuration, or the problems. */
export type CheckedConfig =
  | { readonly config: DimoConfig; readonly problems: readonly [] }
  | { readonly config: undefined; readonly problems: readonly ConfigProblem[] };

/** Problems beyond this many are counted, not listed. */
const maximumProblems = 50;

/** Checks plain data against the schema and fills in defaults. */
export function checkConfig(value: unknown, locate: Locate): CheckedConfig {
  const result = configSchema.safeParse(value ?? {});
  if (result.success) return { config: result.data, problems: [] };
  const problems = result.error.issues.flatMap((issue) => problemsOf(issue, value, locate));
  const rest = problems.length - maximumProblems;
  if (rest > 0) problems.splice(maximumProblems, rest, { path: [], where: '', message: `and ${rest} more problems` });
  return { config: undefined, problems };
}

function problemsOf(issue: z.core.$ZodIssue, root: unknown, locate: Locate): ConfigProblem[] {
  const path = issue.path.filter((key) => typeof key !== 'symbol');
  if (issue.code === 'unrecognized_keys')
    return issue.keys.map((key) => {
      const at = [...path, key];
      return { path: at, where: locate(at), message: unknownKeyMessage(at) };
    });
  const got = valueAt(root, path);
  const details = issue.code === 'invalid_format' && issue.message.startsWith('must') ? ` (${issue.message})` : '';
  return [
    { path, where: locate(path), message: `must be ${expectedText(schemaAt(path))}, got ${shown(got)}${details}` },
  ];
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
  if (key.length > 100) return undefined;
  const siblings = Object.keys(schemaAt(path.slice(0, -1))?.properties ?? {});
  const beside = closest(key, siblings, (sibling) => sibling);
  if (beside) return beside;
  const elsewhere = allKeyPaths(configJsonSchema());
  const found = closest(key, elsewhere, (candidate) => candidate.at(-1) ?? '');
  return found && pathText(found);
}

function closest<T>(key: string, candidates: readonly T[], nameOf: (candidate: T) => string): T | undefined {
  const ranked = candidates
    .map((candidate) => ({ candidate, name: nameOf(candidate) }))
    .map(({ candidate, name }) => ({
      candidate,
      edits: distance(key.toLowerCase().replace(/[-_]/g, ''), name.toLowerCase()),
      // Exchanged letters cost two edits but leave the letters the same.
      otherLetters: distance(sortedLetters(key), sortedLetters(name)),
      allowed: Math.max(2, Math.floor(name.length / 3)),
    }))
    .filter(({ edits, allowed }) => edits <= allowed && edits < key.length)
    .sort((a, b) => a.edits - b.edits || a.otherLetters - b.otherLetters);
  return ranked[0]?.candidate;
}

function sortedLetters(text: string): string {
  return [...text.toLowerCase()].sort().join('');
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
