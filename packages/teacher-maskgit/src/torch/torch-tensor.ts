/** Elements of the tensors in a torch file. */
import { escapeText, NonFiniteError, sizeOf, WeightError, type DType, type HostTensor } from '@dimo/core';
import type { TensorReference, TorchDType } from './pickle-values.js';
import type { TorchFile } from './torch-file.js';

/** Options of `readTorchTensor`. */
export interface TorchTensorOptions {
  /** For messages. */
  readonly path?: string | undefined;
  /** Accept NaN and infinity, to inspect a damaged model. @default false */
  readonly allowNonFinite?: boolean;
}

/** A repeated view (stride 0) may have this many elements more than its storage. */
const maximumRepetition = 2 ** 20;

/** Type of a torch tensor here: floating-point numbers become float32 (rounding float64), integers int32. */
export function dtypeOf(dtype: TorchDType): DType {
  if (dtype === 'bool') return 'bool';
  return dtype.includes('float') ? 'float32' : 'int32';
}

/**
 * Reads one tensor, contiguous and row-major.
 *
 * @param name - for messages.
 * @throws WeightError if its storage is damaged or an integer does not fit into 32 bits; NonFiniteError for NaN.
 */
export function readTorchTensor(
  file: TorchFile,
  name: string,
  reference: TensorReference,
  options: TorchTensorOptions = {},
): HostTensor {
  const { storage, shape, strides, offset } = reference;
  const { path } = options;
  const label = `torch file: tensor "${escapeText(name)}"`;
  const size = sizeOf(shape);
  if (size > storage.numElements + maximumRepetition)
    throw new WeightError(`${label} repeats ${storage.numElements} stored elements to ${size}`, { path });
  const bytes = size === 0 ? new Uint8Array() : file.storage(storage);
  const element = elementReader(storage.dtype, bytes);
  const dtype = dtypeOf(storage.dtype);
  const data =
    dtype === 'float32' ? new Float32Array(size) : dtype === 'int32' ? new Int32Array(size) : new Uint8Array(size);
  const at = new Array<number>(shape.length).fill(0);
  let position = offset;
  for (let i = 0; i < size; i++) {
    const value = element(position);
    if (dtype === 'float32' && value - value !== 0 && options.allowNonFinite !== true)
      throw new NonFiniteError(`${label} holds ${value} at element ${i}`, {
        path,
        hint: 'the weights are damaged; allow non-finite values only to inspect them',
      });
    if (dtype === 'int32' && value !== (value | 0))
      throw new WeightError(`${label} holds ${value} at element ${i}, which does not fit into 32 bits`, { path });
    if (dtype === 'bool' && value > 1)
      throw new WeightError(`${label} holds ${value} at element ${i}, expected 0 or 1`, { path });
    data[i] = value;
    // The next index, last axis first.
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      position += strides[axis]!;
      if (++at[axis]! < shape[axis]!) break;
      position -= strides[axis]! * shape[axis]!;
      at[axis] = 0;
    }
  }
  return { dtype, shape: [...shape], data } as HostTensor;
}

/** Reads the element at an index of a storage. */
function elementReader(dtype: TorchDType, bytes: Uint8Array): (index: number) => number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  switch (dtype) {
    case 'float64':
      return (i) => view.getFloat64(8 * i, true);
    case 'float32':
      return (i) => view.getFloat32(4 * i, true);
    case 'float16':
      return (i) => fromFloat16(view.getUint16(2 * i, true));
    case 'bfloat16': {
      const word = new DataView(new ArrayBuffer(4));
      return (i) => {
        word.setUint32(0, view.getUint16(2 * i, true) << 16, true);
        return word.getFloat32(0, true);
      };
    }
    case 'int64':
      return (i) => Number(view.getBigInt64(8 * i, true));
    case 'int32':
      return (i) => view.getInt32(4 * i, true);
    case 'int16':
      return (i) => view.getInt16(2 * i, true);
    case 'int8':
      return (i) => view.getInt8(i);
    case 'uint8':
    case 'bool':
      return (i) => view.getUint8(i);
    default:
      return dtype satisfies never;
  }
}

/** IEEE 754 half precision: sign, 5 bits of exponent, 10 of fraction. */
function fromFloat16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : NaN;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
