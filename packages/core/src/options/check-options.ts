/** Checks of plain JSON configurations, with messages that name the key. */
import { OptionError } from '../errors.js';

/** A plain JSON object. */
export type PlainObject = Readonly<Record<string, unknown>>;

/** True for objects that are no lists: those of JSON. */
export function isRecord(value: unknown): value is PlainObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The value, if it is a plain object. @throws OptionError */
export function requireObject(value: unknown, where: string): PlainObject {
  if (!isRecord(value)) throw new OptionError(`${where} must be an object, got ${describeValue(value)}`);
  return value;
}

/** Refuses keys that nothing reads. @throws OptionError naming the first one and what is known. */
export function refuseUnknownKeys(config: PlainObject, known: readonly string[], where: string): void {
  const unknown = Object.keys(config).find((key) => !known.includes(key));
  if (unknown !== undefined)
    throw new OptionError(`${where} has no option ${describeValue(unknown)}; known are ${known.join(', ')}`);
}

/**
 * The largest sizes that a configuration may name. Something loops over these numbers, or makes a table of their size,
 * before weights that are beside the configuration can contradict it.
 */
export const sizeLimits = {
  /** Blocks or layers of a network, of one kind. */
  blocks: 1024,
  /** Tokens of an image or a text, and positions in general. */
  tokens: 2 ** 16,
  /** Numbers of a condition: text tokens times their width. */
  conditionNumbers: 2 ** 24,
  /** Channels of embeddings and activations. */
  width: 2 ** 16,
  /** Channels of one attention head. */
  headWidth: 4096,
  /** Steps of the multi-step sampler. */
  samplerSteps: 10_000,
} as const;

/** The value, or the default if it is undefined, if it is an integer in [minimum, maximum]. @throws OptionError */
export function requireInteger(
  value: unknown,
  where: string,
  minimum = 1,
  fallback?: number,
  maximum: number = 2 ** 31 - 1,
): number {
  const given = value === undefined ? fallback : value;
  if (typeof given !== 'number' || !Number.isInteger(given) || given < minimum || given > maximum)
    throw new OptionError(
      maximum === 2 ** 31 - 1
        ? `${where} must be an integer >= ${minimum}, got ${describeValue(given)}`
        : `${where} must be an integer from ${minimum} to ${maximum}, got ${describeValue(given)}`,
    );
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

/** Rows and columns of a grid of at most `sizeLimits.tokens` tokens. @throws OptionError */
export function requireGrid(value: unknown, where: string): readonly [number, number] {
  const [rows, columns] = requirePair(value, where);
  if (rows * columns > sizeLimits.tokens)
    throw new OptionError(`${where} may have ${sizeLimits.tokens} tokens, got ${describeValue(value)}`);
  return [rows, columns];
}

/** Longest list of numbers in a configuration. */
const maximumListLength = 64;

/** A short list of positive integers. @throws OptionError */
export function requireIntegers(value: unknown, where: string, fallback: readonly number[]): readonly number[] {
  const given = value === undefined ? fallback : value;
  if (!Array.isArray(given) || given.length > maximumListLength)
    throw new OptionError(
      `${where} must be a list of at most ${maximumListLength} positive integers, got ${describeValue(given)}`,
    );
  return given.map((item, i) => requireInteger(item, `${where}[${i}]`));
}

/** A value in an error message, at most 60 characters of it. */
export function describeValue(value: unknown): string {
  if (Array.isArray(value) && value.length > 64) return `a list of ${value.length}`;
  const text =
    typeof value === 'string' ? JSON.stringify(value.slice(0, 100)) : (JSON.stringify(value) ?? String(value));
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

/** The first object with the values of the second over it, objects within them likewise. */
export function mergeObjects(base: PlainObject, over: PlainObject): PlainObject {
  const isPlain = (value: unknown): value is PlainObject =>
    typeof value === 'object' && value !== null && !Array.isArray(value);
  return Object.fromEntries(
    [...new Set([...Object.keys(base), ...Object.keys(over)])].map((key) => {
      const [below, above] = [base, over].map((object) => (Object.hasOwn(object, key) ? object[key] : undefined));
      return [key, above === undefined ? below : isPlain(below) && isPlain(above) ? mergeObjects(below, above) : above];
    }),
  );
}
