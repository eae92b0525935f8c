/** Checks of host tensors and specifications that come from outside, before anything native sees them. */
import type { FunctionSignature } from './engine.js';
import { drawRecipeOf } from '../ops/drawn-tensor.js';
import { DimoError, NonFiniteError, OptionError, ShapeError } from '../errors.js';
import { escapeText } from '../text/escape-text.js';
import { halfFloatsOf } from '../storage/half-tensors.js';
import { checkShape, sizeOf, type DType, type HostTensor, type HostTree, type SpecTree } from '../tensors/tensors.js';

const arrayOf: Readonly<Record<DType, string>> = { float32: 'Float32Array', int32: 'Int32Array', bool: 'Uint8Array' };

/**
 * Checks that specifications name known dtypes and shapes that exist: integers >= 0 with a product below 2^31.
 *
 * @param where - what is being checked, the beginning of the message.
 * @throws ShapeError naming the first one that is wrong.
 */
export function checkSpecTree(where: string, specs: unknown): asserts specs is SpecTree {
  for (const [name, spec] of entriesOf(where, specs)) checkSpec(`${where}: "${escapeText(name)}"`, spec);
}

/**
 * Checks that a tree holds host tensors: specifications as `checkSpecTree` demands, and data of the array type and number
 * of elements that they say; bool elements are 0 or 1. Numbers may be NaN or infinite. What is drawn only when it is read
 * is not drawn.
 *
 * @param where - what is being checked, the beginning of the message.
 * @throws ShapeError naming the first tensor that is wrong.
 * @throws OptionError if the memory of a tensor was moved to an engine.
 */
export function checkHostTree(where: string, tree: unknown): asserts tree is HostTree {
  for (const [name, given] of entriesOf(where, tree)) {
    const what = `${where}: "${escapeText(name)}"`;
    checkSpec(what, given);
    const tensor = given as HostTensor;
    if (drawRecipeOf(tensor)) continue;
    const { dtype, shape } = tensor;
    const half = halfFloatsOf(tensor);
    const data: unknown = half ? half.bits : tensor.data;
    const kind = Object.prototype.toString.call(data).slice(8, -1);
    const expected = half ? 'Uint16Array' : arrayOf[dtype];
    if (kind !== expected)
      throw new ShapeError(`${what}: data of a ${dtype} tensor must be a ${expected}, got ${kind}`);
    const array = data as HostTensor['data'] | Uint16Array;
    // `byteLength` of memory that was moved to another thread is 0.
    if (array.buffer.byteLength === 0 && sizeOf(shape) > 0)
      throw new DimoError('option', `${what}: the memory of this tensor was moved to an engine or to another thread`, {
        hint: 'upload it without `move`, or read it again',
      });
    if (array.length !== sizeOf(shape))
      throw new ShapeError(
        `${what}: shape [${shape.join(', ')}] needs ${sizeOf(shape)} elements, the data have ${array.length}`,
      );
    if (dtype !== 'bool') continue;
    const wrong = array.findIndex((value: number) => value > 1);
    if (wrong >= 0) throw new ShapeError(`${what}: elements of a bool tensor are 0 or 1, got ${array[wrong]}`);
  }
}

/**
 * The name in the device tree of each state tensor of a function.
 *
 * @param names - as given to `CompiledFunction.run`.
 * @throws ShapeError if the names are not those of the signature, or two of them stand for one tensor.
 */
export function boundNames(
  signature: FunctionSignature,
  names: Readonly<Record<string, string>> | undefined,
): Readonly<Record<string, string>> {
  const own = Object.keys(signature.state);
  if (!names) return Object.fromEntries(own.map((name) => [name, name]));
  const missing = own.find((name) => !Object.hasOwn(names, name));
  if (missing !== undefined) throw new ShapeError(`run: names: nothing stands for "${escapeText(missing)}"`);
  if (Object.keys(names).length > own.length)
    throw new ShapeError(`run: names: there are more than the ${own.length} tensors of the signature`);
  if (new Set(Object.values(names)).size < own.length)
    throw new ShapeError('run: names: two of them stand for one tensor');
  return names;
}

function entriesOf(where: string, tree: unknown): [string, unknown][] {
  if (typeof tree !== 'object' || tree === null || Array.isArray(tree))
    throw new ShapeError(`${where}: must be an object from names to tensors, got ${kindOf(tree)}`);
  return Object.entries(tree);
}

function checkSpec(what: string, spec: unknown): void {
  if (typeof spec !== 'object' || spec === null)
    throw new ShapeError(`${what}: must have a dtype and a shape, got ${kindOf(spec)}`);
  const { dtype, shape } = spec as { readonly dtype?: unknown; readonly shape?: unknown };
  if (typeof dtype !== 'string' || !Object.hasOwn(arrayOf, dtype))
    throw new ShapeError(
      `${what}: dtype must be ${Object.keys(arrayOf).join(', ')}, got ${escapeText(String(dtype).slice(0, 60))}`,
    );
  checkShape(what, shape);
}

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  return Array.isArray(value) ? 'an array' : typeof value;
}

/** Which numbers a tensor may hold. */
export interface ValueRange {
  /** Smallest number allowed. @default none */
  readonly from?: number;
  /** Numbers must be below this. @default none */
  readonly below?: number;
}

/**
 * Checks that the elements of a tensor are finite and in a range. What is drawn only when it is read is not drawn.
 *
 * @param where - what is being checked, the beginning of the message.
 * @throws NonFiniteError for NaN or infinity; OptionError for a number out of the range.
 */
export function checkValues(
  where: string,
  tensor: HostTensor,
  { from = -Infinity, below = Infinity }: ValueRange = {},
): void {
  if (drawRecipeOf(tensor)) return;
  const { data } = tensor;
  for (let i = 0; i < data.length; i++) {
    const value = data[i]!;
    if (!Number.isFinite(value)) throw new NonFiniteError(`${where}: element ${i} is ${value}`);
    if (value < from || value >= below)
      throw new OptionError(`${where}: element ${i} must be in [${from}, ${below}), got ${value}`);
  }
}
