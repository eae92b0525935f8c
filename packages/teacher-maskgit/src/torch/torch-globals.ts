/** The few names in torch's files that mean something here: storages, tensors, ordered dictionaries. */
import { escapeText, type WeightError } from '@dimo/core';
import {
  PickleDict,
  PickleGlobal,
  PickleList,
  PickleTuple,
  storageTypes,
  StorageReference,
  TensorReference,
  type PickleValue,
} from './pickle-values.js';

/** Makes the error for a message and a hint. */
export type Refuse = (message: string, hint?: string) => WeightError;

const maximumRank = 8;
const hint = 'this file holds more than weights; save its state dict alone';

/**
 * Modules of Python itself. A name from one of them is refused even where nothing calls it: weight files have no use for
 * it. (This is for a clear message; safety does not rest on it, because no name is ever looked up.)
 */
const pythonModules = new Set(
  (
    'os posix nt sys builtins __builtin__ subprocess pkgutil importlib runpy code codeop types operator functools ' +
    'pickle _pickle shutil socket ctypes inspect marshal platform pty commands webbrowser pdb bdb timeit ast ' +
    'tempfile pathlib io _io codecs copyreg copy_reg multiprocessing threading asyncio signal logging gc'
  ).split(' '),
);

/** Refuses names of Python's own modules, but for `collections`. */
export function checkGlobal(global: PickleGlobal, refuse: Refuse): void {
  const root = global.module.split('.')[0]!;
  if (pythonModules.has(root) || global.name.includes('.') || global.name.startsWith('__'))
    throw refuse(`names ${escapeText(String(global), 80)}, which is refused`, hint);
}

/** The result of calling `target`. @throws WeightError unless it is one of the functions that rebuild data. */
export function callGlobal(target: PickleValue, given: PickleValue, refuse: Refuse): PickleValue {
  if (!(target instanceof PickleGlobal)) throw refuse('calls something that is no function', hint);
  if (!(given instanceof PickleTuple)) throw refuse(`calls ${escapeText(String(target), 80)} without a tuple`, hint);
  const { items } = given;
  switch (String(target)) {
    case 'collections.OrderedDict':
      return orderedDict(items, refuse);
    case 'torch._utils._rebuild_tensor_v2':
    case 'torch._utils._rebuild_tensor':
      return rebuildTensor(items, refuse);
    case 'torch._utils._rebuild_parameter': {
      const [tensor] = items;
      if (!(tensor instanceof TensorReference)) throw refuse('has a parameter that is no tensor');
      return tensor;
    }
    case 'torch.Size':
      return items[0] instanceof PickleTuple ? items[0] : given;
    default:
      throw refuse(`calls ${escapeText(String(target), 80)}, which is refused`, hint);
  }
}

function orderedDict(items: readonly PickleValue[], refuse: Refuse): PickleDict {
  const dict = new PickleDict();
  const [pairs] = items;
  if (pairs === undefined) return dict;
  if (!(pairs instanceof PickleList) || items.length > 1) throw refuse('has a malformed ordered dictionary');
  for (const pair of pairs.items) {
    if (!(pair instanceof PickleList || pair instanceof PickleTuple) || pair.items.length !== 2)
      throw refuse('has a malformed ordered dictionary');
    dict.entries.set(pair.items[0]!, pair.items[1]!);
  }
  return dict;
}

/** `_rebuild_tensor_v2(storage, offset, size, stride, ...)`; the view must lie inside its storage. */
function rebuildTensor(items: readonly PickleValue[], refuse: Refuse): TensorReference {
  const [storage, offset, size, stride] = items;
  if (!(storage instanceof StorageReference)) throw refuse('has a tensor without a storage');
  const shape = lengths(size, 'shape', refuse);
  const strides = lengths(stride, 'strides', refuse);
  if (shape.length !== strides.length || shape.length > maximumRank)
    throw refuse(`has a tensor with ${shape.length} axes and ${strides.length} strides; at most ${maximumRank} axes`);
  if (!isLength(offset)) throw refuse('has a tensor whose offset is no length');
  // Safe integers: each product is at most 2^53 before it is compared.
  let last = offset;
  if (!shape.includes(0))
    for (const [axis, length] of shape.entries()) {
      last += (length - 1) * strides[axis]!;
      if (last >= storage.numElements) break;
    }
  const isInside = shape.includes(0) ? offset <= storage.numElements : last < storage.numElements;
  if (!isInside)
    throw refuse(
      `has a tensor [${shape.join(', ')}] that reaches beyond the ${storage.numElements} elements of its storage`,
    );
  return new TensorReference(storage, offset, shape, strides);
}

function lengths(value: PickleValue | undefined, what: string, refuse: Refuse): number[] {
  if (!(value instanceof PickleTuple)) throw refuse(`has a tensor whose ${what} is no tuple`);
  return value.items.map((item) => {
    if (!isLength(item)) throw refuse(`has a tensor whose ${what} holds something other than lengths`);
    return item;
  });
}

/** An integer in [0, 2^48): sums and products of a few of them with counts of elements stay exact. */
function isLength(value: PickleValue | undefined): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < 2 ** 48;
}

/** The storage of a persistent id `('storage', type, key, location, numElements)`. */
export function storageFromId(id: PickleValue, refuse: Refuse): StorageReference {
  const parts = id instanceof PickleTuple ? id.items : [];
  const [kind, type, key, , numElements, view] = parts;
  if (kind !== 'storage' || !(type instanceof PickleGlobal) || typeof key !== 'string' || !isLength(numElements))
    throw refuse('has a persistent id that is no storage', hint);
  const dtype = type.module === 'torch' ? storageTypes.get(type.name) : undefined;
  if (dtype === undefined)
    throw refuse(`has a storage of the type ${escapeText(String(type), 80)}, which is not known`);
  if (view !== undefined && view !== null) throw refuse('has a storage that is a view of another one');
  return new StorageReference(key, dtype, numElements);
}
