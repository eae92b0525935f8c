/** What the pickles of weight files are read into: plain data, and names of things that are never looked up. */

/** A value read from a pickle. */
export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | PickleList
  | PickleTuple
  | PickleDict
  | PickleGlobal
  | PickleOpaque
  | StorageReference
  | TensorReference;

/** Never written to. */
const none: PickleValue[] = [];

/** A list, or a set. */
export class PickleList {
  private written: PickleValue[] = none;

  get items(): readonly PickleValue[] {
    return this.written;
  }
  append(items: readonly PickleValue[]): void {
    // The first items as they come: an array that grows takes room for many more.
    if (this.written.length === 0) this.written = [...items];
    else for (const item of items) this.written.push(item);
  }
}

/** A tuple. */
export class PickleTuple {
  constructor(readonly items: readonly PickleValue[]) {}
}

const noEntries: ReadonlyMap<PickleValue, PickleValue> = new Map();

/** A dictionary, in the order of insertion. */
export class PickleDict {
  // Keys and values in turn: most dictionaries of a checkpoint are empty or never looked at, and a `Map` costs ten times as much.
  private written: PickleValue[] | undefined;
  private map: ReadonlyMap<PickleValue, PickleValue> | undefined = noEntries;

  set(key: PickleValue, value: PickleValue): void {
    if (this.written) this.written.push(key, value);
    else this.written = [key, value];
    this.map = undefined;
  }

  /** The entries; of a key that was written twice the last. */
  get entries(): ReadonlyMap<PickleValue, PickleValue> {
    if (this.map) return this.map;
    const map = new Map<PickleValue, PickleValue>();
    const written = this.written ?? [];
    for (let i = 0; i < written.length; i += 2) map.set(written[i]!, written[i + 1]!);
    return (this.map = map);
  }
}

/** The name of a Python object. It stands for itself: nothing is imported, looked up or called. */
export class PickleGlobal {
  constructor(
    readonly module: string,
    readonly name: string,
  ) {}
  /** `module.name`. */
  toString(): string {
    return `${this.module}.${this.name}`;
  }
}

/** What a class or function of Python would have made. It was not made, and nothing reads it. */
export class PickleOpaque {
  private dict: PickleDict | undefined;

  /** @param what - the class or function, `module.name`, or what else it is, in words. */
  constructor(readonly what: string) {}

  /** Items that were set on it, where it is a kind of dictionary. */
  get items(): PickleDict | undefined {
    return this.dict;
  }
  setItem(key: PickleValue, value: PickleValue): void {
    (this.dict ??= new PickleDict()).set(key, value);
  }
}

/** Element types of torch that are read. */
export type TorchDType =
  | 'float64'
  | 'float32'
  | 'float16'
  | 'bfloat16'
  | 'int64'
  | 'int32'
  | 'int16'
  | 'int8'
  | 'uint64'
  | 'uint32'
  | 'uint16'
  | 'uint8'
  | 'bool';

/** Bytes per element of those. */
export const elementSizes: Readonly<Record<TorchDType, number>> = {
  float64: 8,
  float32: 4,
  float16: 2,
  bfloat16: 2,
  int64: 8,
  int32: 4,
  int16: 2,
  int8: 1,
  uint64: 8,
  uint32: 4,
  uint16: 2,
  uint8: 1,
  bool: 1,
};

/** Bytes per element of the types that are only passed over. */
const otherElementSizes: Readonly<Record<string, number>> = {
  complex32: 4,
  complex64: 8,
  complex128: 16,
  float8_e4m3fn: 1,
  float8_e4m3fnuz: 1,
  float8_e5m2: 1,
  float8_e5m2fnuz: 1,
  float8_e8m0fnu: 1,
  float4_e2m1fn_x2: 1,
  quint8: 1,
  qint8: 1,
  qint32: 4,
  quint4x2: 1,
  quint2x4: 1,
  untyped: 1,
};

/** Names of storage classes and their element types. */
export const storageTypes: ReadonlyMap<string, string> = new Map([
  ['DoubleStorage', 'float64'],
  ['FloatStorage', 'float32'],
  ['HalfStorage', 'float16'],
  ['BFloat16Storage', 'bfloat16'],
  ['LongStorage', 'int64'],
  ['IntStorage', 'int32'],
  ['ShortStorage', 'int16'],
  ['CharStorage', 'int8'],
  ['ByteStorage', 'uint8'],
  ['BoolStorage', 'bool'],
  ['ComplexFloatStorage', 'complex64'],
  ['ComplexDoubleStorage', 'complex128'],
  ['QUInt8Storage', 'quint8'],
  ['QInt8Storage', 'qint8'],
  ['QInt32Storage', 'qint32'],
  ['QUInt4x2Storage', 'quint4x2'],
  ['QUInt2x4Storage', 'quint2x4'],
  ['UntypedStorage', 'untyped'],
  ['_UntypedStorage', 'untyped'],
]);

/** Bytes per element of any type of torch; undefined for one that is not known. */
export function elementSizeOf(dtype: string): number | undefined {
  if (isReadable(dtype)) return elementSizes[dtype];
  return Object.hasOwn(otherElementSizes, dtype) ? otherElementSizes[dtype] : undefined;
}

/** True for the element types that are read. */
export function isReadable(dtype: string): dtype is TorchDType {
  return Object.hasOwn(elementSizes, dtype);
}

/** A block of elements that tensors are views of, by its key in the file. */
export class StorageReference {
  /**
   * @param dtype - one of `TorchDType`, or a type that is not read.
   * @param numElements - of the whole block.
   * @param view - part of the block, in elements: files of old versions say so.
   */
  constructor(
    readonly key: string,
    readonly dtype: string,
    readonly numElements: number,
    readonly view: { readonly begin: number; readonly length: number } = { begin: 0, length: numElements },
  ) {}
}

/** A tensor as a checked view of a storage. */
export class TensorReference {
  constructor(
    readonly storage: StorageReference,
    /** That of the storage, but for storages without a type. */
    readonly dtype: string,
    /** In elements from the beginning of the whole block. */
    readonly offset: number,
    readonly shape: readonly number[],
    readonly strides: readonly number[],
  ) {}
}
