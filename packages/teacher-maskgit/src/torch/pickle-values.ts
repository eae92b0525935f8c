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
  | StorageReference
  | TensorReference;

/** A list, or a set. */
export class PickleList {
  readonly items: PickleValue[] = [];
}

/** A tuple. */
export class PickleTuple {
  constructor(readonly items: readonly PickleValue[]) {}
}

/** A dictionary, in the order of insertion. */
export class PickleDict {
  readonly entries = new Map<PickleValue, PickleValue>();
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

/** Element types of torch storages. */
export type TorchDType =
  'float64' | 'float32' | 'float16' | 'bfloat16' | 'int64' | 'int32' | 'int16' | 'int8' | 'uint8' | 'bool';

/** Storage classes by name in the module `torch`. */
export const storageTypes: ReadonlyMap<string, TorchDType> = new Map([
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
]);

/** Bytes per element. */
export const elementSizes: Readonly<Record<TorchDType, number>> = {
  float64: 8,
  float32: 4,
  float16: 2,
  bfloat16: 2,
  int64: 8,
  int32: 4,
  int16: 2,
  int8: 1,
  uint8: 1,
  bool: 1,
};

/** A block of elements that tensors are views of, by its key in the file. */
export class StorageReference {
  constructor(
    readonly key: string,
    readonly dtype: TorchDType,
    readonly numElements: number,
  ) {}
}

/** A tensor as a checked view of a storage. */
export class TensorReference {
  constructor(
    readonly storage: StorageReference,
    readonly offset: number,
    readonly shape: readonly number[],
    readonly strides: readonly number[],
  ) {}
}
