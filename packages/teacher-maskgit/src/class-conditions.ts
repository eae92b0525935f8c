/** Class labels as conditions. */
import { describeValue, escapeText, int32, OptionError, type ConditionSource, type HostTree } from '@dimo/core';

/** Options of `classConditions`. */
export interface ClassConditionsOptions {
  readonly numClasses: number;
  /** One name per class. */
  readonly classNames?: readonly string[];
  /** Further names by class, which several classes may share. */
  readonly synonyms?: readonly (readonly string[])[];
}

/**
 * Conditions `{ label: int32 [count] }`: drawn uniformly, or parsed from class ids and names. A name as it is written goes
 * before one that differs in capitals, and the name of a class before a synonym; one that means several classes is refused.
 */
export function classConditions({ numClasses, classNames, synonyms = [] }: ClassConditionsOptions): ConditionSource {
  // From the closest match to the furthest.
  const written = idsByName(classNames, (name) => name);
  const writtenSynonyms = idsByNames(synonyms, (name) => name);
  const folded = idsByName(classNames, normalized);
  const foldedSynonyms = idsByNames(synonyms, normalized);

  function parseOne(text: string): number {
    const trimmed = text.trim();
    const key = normalized(trimmed);
    // Names first: a class may be called "7".
    const named = written.get(trimmed) ?? writtenSynonyms.get(trimmed) ?? folded.get(key) ?? foldedSynonyms.get(key);
    if (named && named.length > 1) {
      const meant = named.map((id) => `${id} (${escapeText(classNames?.[id] ?? '', 60)})`);
      throw new OptionError(`class ${describeValue(text)} means several: ${meant.slice(0, 8).join(', ')}`, {
        hint: 'name one of them by its id',
      });
    }
    if (named) return named[0]!;
    const id = /^\d{1,9}$/.test(trimmed) ? Number(trimmed) : numClasses;
    if (id < numClasses) return id;
    const close = key === '' ? [] : (classNames?.filter((name) => normalized(name).includes(key)) ?? []);
    const names = classNames ? ` or one of ${listed(close.length > 0 ? close : classNames)}` : '';
    throw new OptionError(`class must be an id from 0 to ${numClasses - 1}${names}, got ${describeValue(text)}`);
  }

  return {
    sample: (random, count): HostTree => ({ label: int32([count], random.integers(count, numClasses)) }),
    parse: (texts): HostTree => ({ label: int32([texts.length], texts.map(parseOne)) }),
    ...(classNames ? { classNames } : {}),
  };
}

function idsByName(names: readonly string[] | undefined, key: (name: string) => string): Map<string, number[]> {
  return idsByNames(names?.map((name) => [name]) ?? [], key);
}

function idsByNames(names: readonly (readonly string[])[], key: (name: string) => string): Map<string, number[]> {
  const ids = new Map<string, number[]>();
  for (const [id, ofClass] of names.entries())
    for (const name of new Set(ofClass.map(key))) ids.set(name, [...(ids.get(name) ?? []), id]);
  return ids;
}

function normalized(name: string): string {
  return name.trim().toLowerCase();
}

function listed(names: readonly string[]): string {
  return names.length > 20 ? `${names.slice(0, 20).join(', ')}, ...` : names.join(', ');
}
