/** Assertions of the conformance suites; they need no test framework. */
import { DimoError, type DimoErrorCode } from '../errors.js';
import type { HostTensor, HostTree } from '../tensors/tensors.js';

/** Thrown when a check fails. */
export class ConformanceError extends Error {
  override readonly name = 'ConformanceError';
}

/** Throws `ConformanceError` if the condition does not hold. */
export function require(condition: unknown, message: () => string): asserts condition {
  if (!condition) throw new ConformanceError(message());
}

/** The tensor of that name. */
export function tensorOf(tree: HostTree, name: string): HostTensor {
  const tensor = tree[name];
  require(tensor, () => `the result has no tensor "${name}", only ${Object.keys(tree).join(', ') || 'none'}`);
  return tensor;
}

/** Requires equal dtype, shape and elements; NaN equals NaN and -0 differs from 0. */
export function requireEqual(where: string, actual: HostTensor, expected: HostTensor): void {
  requireShape(where, actual, expected);
  for (let i = 0; i < expected.data.length; i++)
    require(Object.is(actual.data[i], expected.data[i]), () =>
      `${where}: element ${i} must be ${expected.data[i]}, got ${actual.data[i]}`);
}

/**
 * Requires |actual - expected| <= tolerance * max(1, |expected|) for every element.
 *
 * @param expected - values and shape; the dtype must be float32.
 */
export function requireClose(
  where: string,
  actual: HostTensor,
  expected: { readonly shape: readonly number[]; readonly data: ArrayLike<number> },
  tolerance: number,
): void {
  requireShape(where, actual, { dtype: 'float32', shape: expected.shape });
  for (let i = 0; i < expected.data.length; i++) {
    const [got, wanted] = [actual.data[i]!, expected.data[i]!];
    require(Math.abs(got - wanted) <= tolerance * Math.max(1, Math.abs(wanted)), () =>
      `${where}: element ${i} must be ${wanted} within ${tolerance}, got ${got}`);
  }
}

function requireShape(where: string, actual: HostTensor, expected: Pick<HostTensor, 'dtype' | 'shape'>): void {
  const text = ({ dtype, shape }: Pick<HostTensor, 'dtype' | 'shape'>) => `${dtype} [${shape.join(', ')}]`;
  require(text(actual) === text(expected), () => `${where}: expected ${text(expected)}, got ${text(actual)}`);
}

/** Requires that the call fails with a `DimoError`, of one of the codes if there are any; returns it. */
export async function requireFailure(
  where: string,
  call: () => Promise<unknown>,
  ...codes: readonly DimoErrorCode[]
): Promise<DimoError> {
  const error = await call().then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  require(error !== undefined, () => `${where}: expected an error, but it succeeded`);
  require(DimoError.isInstance(error), () => `${where}: expected a DimoError, got ${String(error)}`);
  require(codes.length === 0 || codes.includes(error.code), () =>
    `${where}: expected an error with code ${codes.join(' or ')}, got ${(error as DimoError).code}: ${(error as DimoError).message}`);
  return error;
}
