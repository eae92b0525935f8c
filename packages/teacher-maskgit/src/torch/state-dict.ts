/** State dicts in torch files: bare, or inside a trainer's checkpoint. */
import { escapeText, WeightError, type HostTree, type SpecTree } from '@dimo/core';
import { PickleDict, TensorReference, type PickleValue } from './pickle-values.js';
import { openTorchFile, type TorchFile } from './torch-file.js';
import { dtypeOf, readTorchTensor, type TorchTensorOptions } from './torch-tensor.js';

/** Options of `readTorchStateDict`. */
export interface TorchStateDictOptions extends TorchTensorOptions {
  /** Which tensors to read; the others are not looked at. @default all */
  readonly only?: (name: string) => boolean;
  /**
   * Called with the shapes and dtypes of the chosen tensors before any of them is read, to refuse weights of another
   * architecture.
   */
  readonly check?: (specs: SpecTree) => void;
}

/** Keys under which trainers keep the weights: MaskGIT-PyTorch and Lightning. */
const containers = ['model_state_dict', 'state_dict'];

/**
 * Weights of a `.pth`, `.bin` or `.ckpt` file: what is under `model_state_dict` or `state_dict`, or the whole file if it
 * is a state dict itself. Everything else in a checkpoint is ignored.
 *
 * @param bytes - the whole file. Borrowed.
 * @throws WeightError if the file is damaged, hostile, or holds no state dict; NonFiniteError for NaN and infinity.
 */
export function readTorchStateDict(bytes: Uint8Array, options: TorchStateDictOptions = {}): HostTree {
  const { check } = options;
  const { file, chosen } = openStateDict(bytes, options);
  check?.(specsOf(chosen));
  const tree = Object.create(null) as HostTree;
  for (const [name, reference] of chosen) tree[name] = readTorchTensor(file, name, reference, options);
  return tree;
}

/**
 * Names, shapes and dtypes of the tensors of a `.pth`, `.bin` or `.ckpt` file, without reading any of them.
 *
 * @param bytes - the whole file. Borrowed.
 * @throws WeightError if the file is damaged, hostile, or holds no state dict.
 */
export function readTorchSpecs(
  bytes: Uint8Array,
  options: Pick<TorchStateDictOptions, 'path' | 'only'> = {},
): SpecTree {
  return specsOf(openStateDict(bytes, options).chosen);
}

function openStateDict(
  bytes: Uint8Array,
  { path, only = () => true }: Pick<TorchStateDictOptions, 'path' | 'only'>,
): { readonly file: TorchFile; readonly chosen: ReadonlyMap<string, TensorReference> } {
  const file = openTorchFile(bytes, path);
  const chosen = new Map<string, TensorReference>();
  for (const [name, value] of stateDictOf(file.root, path)) {
    if (only(name)) chosen.set(name, value);
  }
  return { file, chosen };
}

function specsOf(chosen: ReadonlyMap<string, TensorReference>): SpecTree {
  return Object.fromEntries(
    [...chosen].map(([name, { shape, storage }]) => [name, { shape, dtype: dtypeOf(storage.dtype) }]),
  );
}

function stateDictOf(root: PickleValue, path: string | undefined): Map<string, TensorReference> {
  if (!(root instanceof PickleDict))
    throw new WeightError('torch file: holds something other than a dictionary', {
      path,
      hint: 'save the state dict of the model: torch.save(model.state_dict(), file)',
    });
  const inner = containers.map((key) => root.entries.get(key)).find((value) => value instanceof PickleDict);
  const chosen = inner instanceof PickleDict ? inner : root;
  const named = new Map<string, TensorReference>();
  collectTensors(chosen, '', 0, named);
  if (named.size === 0)
    throw new WeightError(
      `torch file: found no state dict; the keys are ${
        [...chosen.entries.keys()]
          .filter((key) => typeof key === 'string')
          .slice(0, 10)
          .map((key) => escapeText(key, 40))
          .join(', ') || 'none'
      }`,
      { path, hint: `expected named tensors, at the top or under ${containers.join(' or ')}` },
    );
  return named;
}

/** Dictionaries within dictionaries are followed this far. */
const maximumDepth = 4;

/** The tensors of a dictionary, and those of the dictionaries in it under names with dots, as modules are named. */
function collectTensors(
  { entries }: PickleDict,
  prefix: string,
  depth: number,
  found: Map<string, TensorReference>,
): void {
  for (const [key, value] of entries) {
    if (typeof key !== 'string') continue;
    if (value instanceof TensorReference) found.set(prefix + key, value);
    else if (value instanceof PickleDict && depth < maximumDepth)
      collectTensors(value, `${prefix}${key}.`, depth + 1, found);
  }
}
