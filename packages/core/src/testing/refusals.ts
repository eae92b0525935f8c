/** Calls with wrong arguments, and what every one of them must end in. For the tests of this package. */
import { expect } from 'vitest';
import { DimoError } from '../errors.js';

/** A named call that must be refused. */
export type Refusal = [name: string, call: () => unknown];

/** Numbers that are no count, seed or size. */
export const noCounts = [NaN, Infinity, -Infinity, -1, 0.5, '3', null, {}, [2]] as const;

/** A value that the types forbid. */
export const any = (value: unknown): never => value as never;

/** One call for each value. */
export function each<T>(name: string, values: readonly T[], call: (value: T) => unknown): Refusal[] {
  return values.map((value) => [
    `${name}: ${typeof value === 'object' ? JSON.stringify(value) : String(value)}`,
    () => call(value),
  ]);
}

/** Requires a `DimoError` that speaks of the input, thrown or rejected; not a result, and not a defect. */
export async function expectRefusal(call: () => unknown): Promise<void> {
  const outcome = await (async () => call())().then(
    (value: unknown) => ({ value }),
    (error: unknown) => ({ error }),
  );
  expect(outcome, 'it must be refused').toHaveProperty('error');
  const { error } = outcome as { error: unknown };
  expect(DimoError.isInstance(error), `must be a DimoError: ${String((error as Error)?.stack)}`).toBe(true);
  expect((error as DimoError).code).not.toBe('internal');
  expect((error as DimoError).message.length).toBeLessThan(1000);
}
