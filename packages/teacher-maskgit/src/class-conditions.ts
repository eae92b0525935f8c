/** Class labels as conditions. */
import { describeValue, int32, OptionError, type ConditionSource, type HostTree } from '@dimo/core';

/** Options of `classConditions`. */
export interface ClassConditionsOptions {
  readonly numClasses: number;
  /** One name per class. */
  readonly classNames?: readonly string[];
}

/** Conditions `{ label: int32 [count] }`: drawn uniformly, or parsed from class ids and names. */
export function classConditions({ numClasses, classNames }: ClassConditionsOptions): ConditionSource {
  const ids = new Map(classNames?.map((name, id) => [normalized(name), id]));

  function parseOne(text: string): number {
    const trimmed = text.trim();
    // Names first: a class may be called "7".
    const named = ids.get(normalized(trimmed));
    if (named !== undefined) return named;
    const id = /^\d{1,9}$/.test(trimmed) ? Number(trimmed) : numClasses;
    if (id < numClasses) return id;
    const names = classNames ? ` or one of ${listed(classNames)}` : '';
    throw new OptionError(`class must be an id from 0 to ${numClasses - 1}${names}, got ${describeValue(text)}`);
  }

  return {
    sample: (random, count): HostTree => ({ label: int32([count], random.integers(count, numClasses)) }),
    parse: (texts): HostTree => ({ label: int32([texts.length], texts.map(parseOne)) }),
    ...(classNames ? { classNames } : {}),
  };
}

function normalized(name: string): string {
  return name.trim().toLowerCase();
}

function listed(names: readonly string[]): string {
  return names.length > 20 ? `${names.slice(0, 20).join(', ')}, ...` : names.join(', ');
}
