/** The few names in torch's files that mean something here: storages, tensors, dictionaries. All others make opaque values. */
import { escapeText } from '../../text/escape-text.js';
import type { Refuse } from './pickle-input.js';
import {
  elementSizeOf,
  PickleDict,
  PickleGlobal,
  PickleList,
  PickleOpaque,
  PickleTuple,
  storageTypes,
  StorageReference,
  TensorReference,
  type PickleValue,
} from './pickle-values.js';
import { hostileHint, isRefusedGlobal } from './refused-globals.js';

/** What a call needs of the reader. */
export interface CallContext {
  readonly refuse: Refuse;
  /** Counts the items that a call makes against the reader's budget. */
  readonly countItems: (count: number) => void;
}

const maximumRank = 8;
/** Of what is kept of a name that is part of a longer one. */
const maximumNameLength = 80;
/** Calls that rebuild one another are followed this far. */
const maximumNesting = 4;

/** The result of calling `target`: data where that is a function for tensors or dictionaries, else an opaque value. */
export function callGlobal(
  target: PickleValue,
  items: readonly PickleValue[],
  context: CallContext,
  nesting = 0,
): PickleValue {
  const { refuse } = context;
  // An attribute of something opaque, a method: as opaque.
  if (target instanceof PickleOpaque) return new PickleOpaque(target.what);
  if (!(target instanceof PickleGlobal)) throw refuse('calls something that is no function', hostileHint);
  const name = String(target);
  const [first] = items;
  switch (name) {
    case 'collections.OrderedDict':
    case 'collections.Counter':
    case 'builtins.dict':
    case '__builtin__.dict':
      return dictionary(first, context);
    case 'collections.defaultdict':
      return dictionary(items[1], context);
    case 'torch._utils._rebuild_tensor_v3': {
      const dtype = items[6];
      return rebuildTensor(items, refuse, dtype instanceof PickleGlobal ? dtype.name : undefined);
    }
    case 'torch._utils._rebuild_tensor_v2':
    case 'torch._utils._rebuild_tensor':
      return rebuildTensor(items, refuse);
    case 'torch._tensor._rebuild_from_type_v2':
    case 'torch._tensor._rebuild_from_type': {
      const given = items[2];
      if (!(given instanceof PickleTuple) || nesting >= maximumNesting) throw refuse('has a malformed tensor');
      return callGlobal(first ?? null, given.items, context, nesting + 1);
    }
    case 'torch._utils._rebuild_parameter':
    case 'torch._utils._rebuild_parameter_with_state':
    case 'torch.nn.parameter.Parameter':
    case 'torch.nn.parameter.Buffer':
      return first instanceof TensorReference ? first : new PickleOpaque(name);
    case 'builtins.getattr':
    case '__builtin__.getattr':
      return attribute(first, items[1], refuse);
    case 'torch.Size':
      return first instanceof PickleTuple ? first : new PickleOpaque(name);
    default:
      return new PickleOpaque(name);
  }
}

/** The name of a class within a class; what belongs to something opaque is as opaque. */
function attribute(owner: PickleValue | undefined, name: PickleValue | undefined, refuse: Refuse): PickleValue {
  const of = owner instanceof PickleGlobal || owner instanceof PickleOpaque ? owner : undefined;
  if (!of || typeof name !== 'string') throw refuse('calls builtins.getattr, which is refused', hostileHint);
  const named =
    of instanceof PickleGlobal
      ? new PickleGlobal(of.module, `${of.name}.${name}`)
      : new PickleGlobal(of.what.slice(0, maximumNameLength), name);
  if (isRefusedGlobal(named)) throw refuse(`names ${escapeText(String(named), 80)}, which is refused`, hostileHint);
  return of instanceof PickleGlobal ? named : new PickleOpaque(String(named));
}

/** A dictionary of the pairs in a list, or a copy of another one. */
function dictionary(from: PickleValue | undefined, { refuse, countItems }: CallContext): PickleDict {
  const dict = new PickleDict();
  if (from === undefined) return dict;
  if (from instanceof PickleDict) {
    countItems(2 * from.entries.size);
    for (const [key, value] of from.entries) dict.set(key, value);
    return dict;
  }
  if (!(from instanceof PickleList || from instanceof PickleTuple)) throw refuse('has a malformed dictionary');
  countItems(2 * from.items.length);
  for (const pair of from.items) {
    if (!(pair instanceof PickleList || pair instanceof PickleTuple) || pair.items.length !== 2)
      throw refuse('has a malformed dictionary');
    dict.set(pair.items[0]!, pair.items[1]!);
  }
  return dict;
}

/** `_rebuild_tensor_v2(storage, offset, size, stride, ...)`; the view must lie inside its storage. */
function rebuildTensor(items: readonly PickleValue[], refuse: Refuse, type?: string): PickleValue {
  const [storage, offset, size, stride] = items;
  if (!(storage instanceof StorageReference)) throw refuse('has a tensor without a storage');
  const dtype = type ?? storage.dtype;
  const elementSize = elementSizeOf(dtype);
  const storedSize = elementSizeOf(storage.dtype);
  // Of a type that is not known even its length cannot be checked.
  if (elementSize === undefined || storedSize === undefined) return new PickleOpaque(`a tensor of type ${dtype}`);
  const rank = size instanceof PickleTuple ? size.items.length : 0;
  if (rank > maximumRank) return new PickleOpaque(`a tensor with ${rank} axes, more than ${maximumRank}`);
  const shape = lengths(size, 'shape', refuse);
  const strides = lengths(stride, 'strides', refuse);
  if (shape.length !== strides.length)
    throw refuse(`has a tensor with ${shape.length} axes and ${strides.length} strides`);
  if (!isLength(offset)) throw refuse('has a tensor whose offset is no length');
  const scale = storedSize / elementSize;
  const numElements = Math.floor(storage.view.length * scale);
  // Safe integers: each product is at most 2^53 before it is compared.
  let last = offset;
  if (!shape.includes(0))
    for (const [axis, length] of shape.entries()) {
      last += (length - 1) * strides[axis]!;
      if (last >= numElements) break;
    }
  const isInside = shape.includes(0) ? offset <= numElements : last < numElements;
  if (!isInside)
    throw refuse(`has a tensor [${shape.join(', ')}] that reaches beyond the ${numElements} elements of its storage`);
  return new TensorReference(storage, dtype, offset + Math.floor(storage.view.begin * scale), shape, strides);
}

function lengths(value: PickleValue | undefined, what: string, refuse: Refuse): number[] {
  if (!(value instanceof PickleTuple)) throw refuse(`has a tensor whose ${what} is no tuple`);
  if (value.items.length > maximumRank) throw refuse(`has a tensor whose ${what} has ${value.items.length} numbers`);
  return value.items.map((item) => {
    if (!isLength(item)) throw refuse(`has a tensor whose ${what} holds something other than lengths`);
    return item;
  });
}

/** An integer in [0, 2^48): sums and products of a few of them with counts of elements stay exact. */
function isLength(value: PickleValue | undefined): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < 2 ** 48;
}

/** The storage of a persistent id `('storage', type, key, location, numElements, view)`; the view is of old versions. */
export function storageFromId(id: PickleValue, refuse: Refuse): StorageReference {
  const parts = id instanceof PickleTuple ? id.items : [];
  const [kind, type, key, , numElements, view] = parts;
  if (kind !== 'storage' || !(type instanceof PickleGlobal) || typeof key !== 'string' || !isLength(numElements))
    throw refuse('has a persistent id that is no storage', hostileHint);
  const isStorage = /^torch(\.storage|\.cuda)?$/.test(type.module) && type.name.endsWith('Storage');
  if (!isStorage) throw refuse(`has a storage of the type ${escapeText(String(type), 80)}, which is not known`);
  const dtype = storageTypes.get(type.name) ?? type.name;
  if (view === undefined || view === null) return new StorageReference(key, dtype, numElements);
  const [, begin, length] = view instanceof PickleTuple ? view.items : [];
  if (!isLength(begin) || !isLength(length) || begin + length > numElements)
    throw refuse('has a storage that is a view beyond another one');
  return new StorageReference(key, dtype, numElements, { begin, length });
}
