/** State dicts in torch files: bare, or inside a trainer's checkpoint. */
import { WeightError } from '../../errors.js';
import { bytesAsWeightFile, openWeightFile, type WeightFile, type WeightSource } from '../../storage/weight-source.js';
import { type HostTree, type SpecTree } from '../../tensors/tensors.js';
import { escapeText } from '../../text/escape-text.js';
import {
  isReadable,
  PickleDict,
  PickleGlobal,
  PickleList,
  PickleOpaque,
  PickleTuple,
  TensorReference,
  type PickleValue,
  type TorchDType,
} from './pickle-values.js';
import { openTorchFile } from './torch-file.js';
import { readTensors, type NamedReference } from './read-tensors.js';
import { dtypeOf, type TorchTensorOptions } from './torch-tensor.js';

/** Options of `openTorchWeights`. */
export interface TorchWeightsOptions extends Pick<TorchTensorOptions, 'allowNonFinite'> {
  /** Which tensors there are for the caller; the others are not looked at. @default all */
  readonly only?: (name: string) => boolean;
}

/** Options of `readTorchStateDict`. */
export interface TorchStateDictOptions extends TorchWeightsOptions, TorchTensorOptions {
  /**
   * Called with the shapes and dtypes of the chosen tensors before any of them is read, to refuse weights of another
   * architecture.
   */
  readonly check?: (specs: SpecTree) => void;
}

/** The tensors of a torch file, each read when it is asked for; the rest of the file never is. */
export interface TorchWeights {
  /** What each tensor becomes: floating-point numbers float32, integers int32. */
  readonly specs: SpecTree;
  /** Key of a trainer's checkpoint under which they are, such as `model_state_dict`; absent for a bare state dict. */
  readonly container?: string;
  /** What stands under the names that have no tensor that can be read, in words. */
  readonly others: ReadonlyMap<string, string>;
  /**
   * Reads tensors. In memory at one time are the tensors that were read and the parts of one storage.
   *
   * @throws WeightError for a name without a tensor, and for damage; NonFiniteError for NaN, infinity and numbers that are
   *   too large for float32.
   */
  read(names: readonly string[]): Promise<HostTree>;
}

/** A torch file of a source. */
export interface OpenTorchWeights extends TorchWeights {
  /** Name in the source. */
  readonly file: string;
  readonly path: string;
  /** Bytes of the file. */
  readonly bytes: number;
  close(): Promise<void>;
}

/** Keys under which trainers keep the weights: MaskGIT-PyTorch and Lightning. */
export const containers = ['model_state_dict', 'state_dict'];

/**
 * Opens a `.pth`, `.pt`, `.bin` or `.ckpt` file: the weights are what is under `model_state_dict` or `state_dict`, or the whole file if it is a state dict itself; tensors of dictionaries within it have names with dots. Everything
 * else in a checkpoint is ignored, unread.
 *
 * @throws WeightError if the file is damaged, hostile, of another kind, or holds no state dict.
 */
export async function openTorchWeights(
  source: WeightSource,
  name: string,
  options: TorchWeightsOptions = {},
): Promise<OpenTorchWeights> {
  const path = `${source.location}/${name}`;
  const file = await openWeightFile(source, name);
  try {
    const weights = await openWeights(file, { ...options, path });
    return { ...weights, file: name, path, bytes: file.length, close: () => file.close() };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/**
 * Weights of a `.pth`, `.bin` or `.ckpt` file that is in memory.
 *
 * @param bytes - the whole file. Borrowed.
 * @throws WeightError, NonFiniteError as `openTorchWeights` and its `read`.
 */
export async function readTorchStateDict(bytes: Uint8Array, options: TorchStateDictOptions = {}): Promise<HostTree> {
  const { specs, read } = await openWeights(bytesAsWeightFile(bytes), options);
  options.check?.(specs);
  return read(Object.keys(specs));
}

async function openWeights(
  file: WeightFile,
  { only = () => true, ...options }: TorchWeightsOptions & TorchTensorOptions,
): Promise<TorchWeights> {
  const { path } = options;
  const torch = await openTorchFile(file, path);
  const chosen = new Map<string, TensorReference>();
  const others = new Map<string, string>();
  const { named, container } = stateDictOf(torch.root, path);
  for (const [key, value] of named) {
    if (!only(key)) continue;
    if (value instanceof TensorReference && isReadable(value.dtype)) chosen.set(key, value);
    else others.set(key, describeValue(value));
  }
  return {
    specs: Object.fromEntries(
      [...chosen].map(([key, { shape, dtype }]) => [key, { shape, dtype: dtypeOf(dtype as TorchDType) }]),
    ),
    ...(container === undefined ? {} : { container }),
    others,
    async read(names) {
      const wanted = names.map((key): NamedReference => {
        const reference = chosen.get(key);
        if (!reference) throw noTensor(key, others.get(key), path);
        return [key, reference];
      });
      return readTensors(torch, wanted, options);
    },
  };
}

/**
 * Refuses a file that has something else where a tensor is needed.
 *
 * @throws WeightError naming the tensor and what is there.
 */
export function requireTensors({ others, path }: OpenTorchWeights, names: Iterable<string>): void {
  for (const name of names) if (others.has(name)) throw noTensor(name, others.get(name), path);
}

function noTensor(name: string, what: string | undefined, path: string | undefined): WeightError {
  return new WeightError(
    `torch file: "${escapeText(name, 120)}" must be a tensor, ${what === undefined ? 'but is not there' : `it is ${what}`}`,
    { path, ...(what === undefined ? {} : { hint: 'save the tensors of the state dict as tensors of torch' }) },
  );
}

/** A value in words. */
export function describeValue(value: PickleValue): string {
  if (value instanceof TensorReference) return `a tensor of type ${value.dtype}, which is not supported`;
  if (value instanceof PickleOpaque)
    return value.what.startsWith('a tensor ') ? escapeText(value.what, 80) : `what ${escapeText(value.what, 80)} makes`;
  if (value instanceof PickleGlobal) return `the name ${escapeText(String(value), 80)}`;
  if (value instanceof PickleDict) return 'a dictionary';
  if (value instanceof PickleList || value instanceof PickleTuple) return 'a list';
  if (value === null) return 'None';
  return typeof value === 'string' ? 'a text' : typeof value === 'object' ? 'bytes' : `the value ${String(value)}`;
}

/** The entries of a dictionary, or of an object that is a kind of dictionary. */
export function entriesOf(value: PickleValue | undefined): ReadonlyMap<PickleValue, PickleValue> | undefined {
  if (value instanceof PickleDict) return value.entries;
  return value instanceof PickleOpaque ? value.items?.entries : undefined;
}

/** Dictionaries within dictionaries are followed this far. */
const maximumDepth = 4;
/** A dictionary may be in several others, and they again: no more entries than this are looked at. */
const maximumVisits = 1_000_000;

interface StateDict {
  readonly named: Map<string, PickleValue>;
  readonly container: string | undefined;
}

function stateDictOf(root: PickleValue, path: string | undefined): StateDict {
  const whole = entriesOf(root);
  if (!whole)
    throw new WeightError(`torch file: holds something other than a dictionary: ${describeValue(root)}`, {
      path,
      hint: 'save the state dict of the model: torch.save(model.state_dict(), file)',
    });
  const container = containers.find((key) => entriesOf(whole.get(key)) !== undefined);
  const entries = container === undefined ? whole : entriesOf(whole.get(container))!;
  const named = namedValues(entries, path);
  if (![...named.values()].some((value) => value instanceof TensorReference))
    throw new WeightError(
      `torch file: found no state dict; the keys are ${
        [...entries.keys()]
          .filter((key) => typeof key === 'string')
          .slice(0, 10)
          .map((key) => escapeText(key, 40))
          .join(', ') || 'none'
      }`,
      { path, hint: `expected named tensors, at the top or under ${containers.join(' or ')}` },
    );
  return { named, container };
}

/** What is in a dictionary, and in the dictionaries in it under names with dots, as modules are named. */
function namedValues(root: ReadonlyMap<PickleValue, PickleValue>, path: string | undefined): Map<string, PickleValue> {
  const found = new Map<string, PickleValue>();
  let numVisits = 0;
  const visit = (entries: ReadonlyMap<PickleValue, PickleValue>, prefix: string, depth: number): void => {
    for (const [key, value] of entries) {
      if (++numVisits > maximumVisits)
        throw new WeightError(`torch file: has more than ${maximumVisits} entries in its dictionaries`, { path });
      if (typeof key !== 'string') continue;
      const inner = depth < maximumDepth ? entriesOf(value) : undefined;
      if (inner) visit(inner, `${prefix}${key}.`, depth + 1);
      else found.set(prefix + key, value);
    }
  };
  visit(root, '', 0);
  return found;
}
