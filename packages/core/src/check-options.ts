/** Checks of plain JSON configurations, with messages that name the key. */
import { OptionError } from './errors.js';

/** A plain JSON object. */
export type PlainObject = Readonly<Record<string, unknown>>;

/** The value, if it is a plain object. @throws OptionError */
export function requireObject(value: unknown, where: string): PlainObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new OptionError(`${where} must be an object, got ${describeValue(value)}`);
  return value as PlainObject;
}

/** Refuses keys that nothing reads. @throws OptionError naming the first one and what is known. */
export function refuseUnknownKeys(config: PlainObject, known: readonly string[], where: string): void {
  const unknown = Object.keys(config).find((key) => !known.includes(key));
  if (unknown !== undefined)
    throw new OptionError(`${where} has no option ${describeValue(unknown)}; known are ${known.join(', ')}`);
}

/** The value, or the default if it is undefined, if it is an integer in [minimum, 2^31). @throws OptionError */
export function requireInteger(value: unknown, where: string, minimum = 1, fallback?: number): number {
  const given = value === undefined ? fallback : value;
  if (typeof given !== 'number' || !Number.isInteger(given) || given < minimum || given >= 2 ** 31)
    throw new OptionError(`${where} must be an integer >= ${minimum}, got ${describeValue(given)}`);
  return given;
}

/** The value, or the default if it is undefined, if it is a number in [0, maximum). @throws OptionError */
export function requireNumber(value: unknown, where: string, fallback: number, maximum = Infinity): number {
  const given = value === undefined ? fallback : value;
  if (typeof given !== 'number' || !(given >= 0 && given < maximum))
    throw new OptionError(`${where} must be a number in [0, ${maximum}), got ${describeValue(given)}`);
  return given;
}

/** `[n, n]` of a number, or a pair of positive integers. @throws OptionError */
export function requirePair(value: unknown, where: string): readonly [number, number] {
  if (!Array.isArray(value)) return [requireInteger(value, where), requireInteger(value, where)];
  if (value.length !== 2)
    throw new OptionError(`${where} must be an integer or a pair of integers, got ${describeValue(value)}`);
  return [requireInteger(value[0], `${where}[0]`), requireInteger(value[1], `${where}[1]`)];
}

/** A list of positive integers. @throws OptionError */
export function requireIntegers(value: unknown, where: string, fallback: readonly number[]): readonly number[] {
  const given = value === undefined ? fallback : value;
  if (!Array.isArray(given))
    throw new OptionError(`${where} must be a list of positive integers, got ${describeValue(given)}`);
  return given.map((item, i) => requireInteger(item, `${where}[${i}]`));
}

/** A value in an error message, at most 60 characters of it. */
export function describeValue(value: unknown): string {
  const text = typeof value === 'string' ? JSON.stringify(value) : (JSON.stringify(value) ?? String(value));
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
