/** Checks of tensor trees against specifications, with messages that list every difference. */
import { ShapeError } from '../errors.js';
import type { SpecTree, TensorSpec } from './tensors.js';

/** How many differences a message lists before it says how many more there are. */
const maxListed = 10;

/**
 * Checks that a tree has exactly the tensors of a specification.
 *
 * @param where - what is being checked, the beginning of the message.
 * @throws ShapeError listing missing, unknown and differing tensors.
 */
export function checkTree(where: string, expected: SpecTree, given: Record<string, TensorSpec>): void {
  const problems = [
    ...Object.keys(expected)
      .filter((name) => !Object.hasOwn(given, name))
      .map((name) => `"${name}" is missing`),
    ...differences(expected, given),
  ];
  report(where, problems);
}

/**
 * Checks that every tensor of `given` is specified; `given` may lack some.
 *
 * @throws ShapeError listing unknown and differing tensors.
 */
export function checkSubtree(where: string, expected: SpecTree, given: Record<string, TensorSpec>): void {
  report(where, differences(expected, given));
}

function differences(expected: SpecTree, given: Record<string, TensorSpec>): string[] {
  return Object.entries(given).flatMap(([name, tensor]) => {
    const spec = Object.hasOwn(expected, name) ? expected[name] : undefined;
    if (!spec) return [`"${name}" is not expected`];
    return describe(spec) === describe(tensor) ? [] : [`"${name}" must be ${describe(spec)}, got ${describe(tensor)}`];
  });
}

function report(where: string, problems: readonly string[]): void {
  if (problems.length === 0) return;
  const more = problems.length > maxListed ? `; and ${problems.length - maxListed} more` : '';
  throw new ShapeError(`${where}: ${problems.slice(0, maxListed).join('; ')}${more}`);
}

/** `float32 [2, 3]`. */
function describe(spec: TensorSpec): string {
  return `${spec.dtype} [${spec.shape.join(', ')}]`;
}
