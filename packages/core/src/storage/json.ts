/** Plain JSON values: kept in checkpoints, compared when a run is resumed. */
import { OptionError } from '../errors.js';
import { escapeText } from '../text/escape-text.js';

/** What JSON can hold. */
export type JsonValue =
  null | boolean | number | string | readonly JsonValue[] | { readonly [key: string]: JsonValue | undefined };

/** A place where two JSON values differ; `undefined` stands for an absent key. */
export interface JsonDifference {
  /** `config.optimizer.learningRate`, `config.betas.0`; empty for the root. */
  readonly path: string;
  readonly saved: JsonValue | undefined;
  readonly current: JsonValue | undefined;
}

/**
 * A copy through JSON text, keys sorted at every level, so that equal values give equal text.
 *
 * @throws OptionError naming the path of a number that is not finite or a value that JSON has no form for.
 */
export function canonicalJson(value: unknown, path = ''): JsonValue {
  const fail = (what: string): OptionError =>
    new OptionError(`JSON value "${escapeText(path)}": ${what} cannot be saved`, { hint: 'use null or leave it out' });
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return value;
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw fail(String(value));
    return Object.is(value, -0) ? 0 : value;
  }
  const child = (key: string): string => (path === '' ? key : `${path}.${key}`);
  if (Array.isArray(value)) return value.map((item, index) => canonicalJson(item, child(String(index))));
  if (typeof value !== 'object' || ArrayBuffer.isView(value)) throw fail(`a ${typeof value}`);
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, item]) => item !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, item]) => [key, canonicalJson(item, child(key))]),
  );
}

/** All places where two values differ, in order of the keys. */
export function jsonDifferences(
  saved: JsonValue | undefined,
  current: JsonValue | undefined,
  path = '',
): JsonDifference[] {
  if (Object.is(saved, current)) return [];
  if (isContainer(saved) && isContainer(current) && Array.isArray(saved) === Array.isArray(current)) {
    const keys = [...new Set([...Object.keys(saved), ...Object.keys(current)])];
    return keys.flatMap((key) =>
      jsonDifferences(own(saved, key), own(current, key), path === '' ? key : `${path}.${key}`),
    );
  }
  return [{ path, saved, current }];
}

type Container = readonly JsonValue[] | { readonly [key: string]: JsonValue | undefined };

function isContainer(value: JsonValue | undefined): value is Container {
  return typeof value === 'object' && value !== null;
}

function own(container: Container, key: string): JsonValue | undefined {
  return Object.hasOwn(container, key) ? (container as Record<string, JsonValue>)[key] : undefined;
}
