/** Trees of weights: strict checking against a model's parameters, copying, comparing. */
import { WeightError } from '../errors.js';
import type { HostTensor, HostTree, SpecTree, TensorSpec } from '../tensors/tensors.js';
import { escapeText } from '../text/escape-text.js';

/** One difference between the weights that a model needs and those that were found. */
export interface WeightDifference {
  readonly kind: 'missing' | 'extra' | 'shape' | 'dtype';
  readonly name: string;
  readonly expected: TensorSpec | undefined;
  readonly found: TensorSpec | undefined;
}

/** What `checkWeights` says in its message. */
export interface WeightCheckContext {
  /** What the weights are for: `maskgit-h128-d4`. */
  readonly model: string;
  /** The file or folder that they came from. */
  readonly path?: string | undefined;
  /** Other models, to say which of them the weights fit. */
  readonly candidates?: readonly { readonly name: string; readonly parameters: SpecTree }[];
}

/** Differences in the order missing, shape, dtype, extra, by name within each. */
export function weightDifferences(
  tree: Readonly<Record<string, TensorSpec>>,
  parameters: SpecTree,
): WeightDifference[] {
  const order = ['missing', 'shape', 'dtype', 'extra'];
  const differences: WeightDifference[] = [];
  for (const [name, expected] of Object.entries(parameters)) {
    const found = Object.hasOwn(tree, name) ? tree[name] : undefined;
    if (found === undefined) differences.push({ kind: 'missing', name, expected, found });
    else if (!sameShape(expected.shape, found.shape)) differences.push({ kind: 'shape', name, expected, found });
    else if (expected.dtype !== found.dtype) differences.push({ kind: 'dtype', name, expected, found });
  }
  for (const [name, found] of Object.entries(tree))
    if (!Object.hasOwn(parameters, name)) differences.push({ kind: 'extra', name, expected: undefined, found });
  return differences.sort(
    (a, b) => order.indexOf(a.kind) - order.indexOf(b.kind) || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0),
  );
}

/**
 * Checks that a tree holds exactly the parameters of a model.
 *
 * @param tree - weights as found.
 * @param parameters - every expected name with shape and dtype.
 * @throws WeightError with up to 10 differences and, where that can be told, the model that the weights belong to.
 */
export function checkWeights(
  tree: Readonly<Record<string, TensorSpec>>,
  parameters: SpecTree,
  context: WeightCheckContext,
): void {
  const differences = weightDifferences(tree, parameters);
  if (differences.length === 0) return;
  const shown = differences.slice(0, 10).map((difference) => `\n  ${describe(difference)}`);
  const rest = differences.length > 10 ? `\n  and ${differences.length - 10} more` : '';
  throw new WeightError(
    `weights of ${escapeText(context.model)}: expected ${count(Object.keys(parameters).length, 'tensor')}, ` +
      `got ${count(Object.keys(tree).length, 'tensor')} with ${count(differences.length, 'difference')}:` +
      shown.join('') +
      rest,
    { path: context.path, hint: likelyCause(tree, parameters, context) },
  );
}

function describe({ kind, name, expected, found }: WeightDifference): string {
  const label = `"${escapeText(name, 120)}"`;
  if (kind === 'missing') return `missing: ${label} ${expected?.dtype} ${shapeText(expected)}`;
  if (kind === 'extra') return `extra: ${label} ${found?.dtype} ${shapeText(found)}`;
  if (kind === 'shape') return `shape: ${label} expected ${shapeText(expected)}, got ${shapeText(found)}`;
  if (kind === 'dtype') return `dtype: ${label} expected ${expected?.dtype}, got ${found?.dtype}`;
  return kind satisfies never;
}

/** Names a candidate that fits, a prefix that all names carry, or the nearest candidate. */
function likelyCause(
  tree: Readonly<Record<string, TensorSpec>>,
  parameters: SpecTree,
  context: WeightCheckContext,
): string {
  const names = Object.keys(tree);
  if (names.length === 0) return 'the file holds no tensors; name another file';
  const prefix = commonPrefix(names);
  if (prefix !== '' && !Object.keys(parameters).some((name) => name.startsWith(prefix))) {
    const stripped = Object.fromEntries(Object.entries(tree).map(([name, spec]) => [name.slice(prefix.length), spec]));
    if (weightDifferences(stripped, parameters).length === 0)
      return `every name begins with "${escapeText(prefix, 60)}"; remove this prefix and the weights fit`;
  }
  const ranked = (context.candidates ?? [])
    .filter(({ name }) => name !== context.model)
    .map(({ name, parameters: specs }) => ({ name, fit: fitOf(tree, specs) }))
    .sort((a, b) => b.fit - a.fit);
  const best = ranked[0];
  const own = fitOf(tree, parameters);
  if (best !== undefined && best.fit > own) {
    const label = escapeText(best.name);
    return best.fit === 1
      ? `the weights are those of ${label}; use that model or other weights`
      : `the weights look like ${label} (${percent(best.fit)} of the tensors fit, ${percent(own)} here)`;
  }
  return own === 0
    ? 'no tensor fits: the weights are of another kind of model'
    : 'the weights are of another size or version of this model, or the file is incomplete';
}

/** Fraction of all names of either side that agree in name, shape and dtype. */
function fitOf(tree: Readonly<Record<string, TensorSpec>>, parameters: SpecTree): number {
  const all = new Set([...Object.keys(tree), ...Object.keys(parameters)]).size;
  return all === 0 ? 1 : 1 - weightDifferences(tree, parameters).length / all;
}

/** Longest common prefix of all names that ends with a separator. */
function commonPrefix(names: readonly string[]): string {
  let prefix = names[0] ?? '';
  for (const name of names) while (!name.startsWith(prefix)) prefix = prefix.slice(0, -1);
  return prefix.slice(0, Math.max(prefix.lastIndexOf('.'), prefix.lastIndexOf('/')) + 1);
}

/** A copy that shares no memory with `tree`. */
export function copyTree(tree: HostTree): HostTree {
  return Object.fromEntries(
    Object.entries(tree).map(([name, tensor]): [string, HostTensor] => [
      name,
      { ...tensor, shape: [...tensor.shape], data: tensor.data.slice() },
    ]),
  );
}

/**
 * The first way in which two trees differ, in words, or undefined if they hold the same names, shapes, dtypes and bits
 * (-0 and 0 differ, NaN of the same bits do not).
 */
export function treeDifference(a: HostTree, b: HostTree): string | undefined {
  const first = weightDifferences(b, a)[0];
  if (first !== undefined) return describe(first);
  for (const [name, tensor] of Object.entries(a)) {
    const left = bytesOf(tensor);
    const right = bytesOf(b[name] as HostTensor);
    const at = left.findIndex((byte, index) => byte !== right[index]);
    if (at < 0) continue;
    const index = Math.floor(at / tensor.data.BYTES_PER_ELEMENT);
    return `"${escapeText(name)}" at element ${index}: ${tensor.data[index]} and ${(b[name] as HostTensor).data[index]}`;
  }
  return undefined;
}

/** Where two trees of the same names and shapes differ most. */
export interface LargestDifference {
  readonly name: string;
  readonly index: number;
  /** |a - b|; NaN if exactly one of the two is NaN. */
  readonly value: number;
}

/**
 * The largest absolute difference between two trees, for tolerances in tests and reports.
 *
 * @throws WeightError if names, shapes or dtypes differ.
 */
export function largestDifference(a: HostTree, b: HostTree): LargestDifference {
  checkWeights(b, a, { model: 'the other tree' });
  let largest: LargestDifference = { name: '', index: -1, value: 0 };
  for (const [name, { data }] of Object.entries(a)) {
    const other = (b[name] as HostTensor).data;
    for (let index = 0; index < data.length; index++) {
      const value = Math.abs((data[index] as number) - (other[index] as number));
      if (value > largest.value) largest = { name, index, value };
      else if (Number.isNaN(value) && !Object.is(data[index], other[index])) return { name, index, value };
    }
  }
  return largest;
}

function bytesOf({ data }: HostTensor): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((length, axis) => length === b[axis]);
}

function shapeText(spec: TensorSpec | undefined): string {
  return `[${spec?.shape.join(', ') ?? ''}]`;
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}

function percent(fraction: number): string {
  return `${Math.floor(100 * fraction)} %`;
}
