/** Elements of the tensors in a torch file. */
import { NonFiniteError, WeightError } from '../../errors.js';
import { sizeOf, type DType, type HostTensor } from '../../tensors/tensors.js';
import { escapeText } from '../../text/escape-text.js';
import { findNonFinite } from '../../storage/safetensors.js';
import { elementSizes, isReadable, type TensorReference, type TorchDType } from './pickle-values.js';
import type { ByteRange } from './zip.js';

/** Options of `decodeTorchTensor`. */
export interface TorchTensorOptions {
  /** For messages. */
  readonly path?: string | undefined;
  /** Accept NaN and infinity, to inspect a damaged model. @default false */
  readonly allowNonFinite?: boolean;
  /** The tensor may keep the memory of the bytes. @default it gets its own */
  readonly takesBytes?: boolean;
}

/** Type of a torch tensor here: floating-point numbers become float32 (rounding float64), integers int32. */
export function dtypeOf(dtype: TorchDType): DType {
  if (dtype === 'bool') return 'bool';
  return dtype.includes('float') ? 'float32' : 'int32';
}

/** The bytes of a storage that a tensor needs, from its first to its last element. */
export function bytesOfView({ dtype, offset, shape, strides }: TensorReference): ByteRange {
  const size = isReadable(dtype) ? elementSizes[dtype] : 0;
  if (shape.includes(0)) return { begin: 0, end: 0 };
  const last = shape.reduce((sum, length, axis) => sum + (length - 1) * strides[axis]!, offset);
  return { begin: offset * size, end: (last + 1) * size };
}

/**
 * Decodes one tensor, contiguous and row-major.
 *
 * @param name - for messages.
 * @param bytes - a part of its storage; borrowed, see `takesBytes`.
 * @param begin - where that part begins in the storage.
 * @throws WeightError if an element does not fit into the type here; NonFiniteError for NaN, infinity and numbers that
 *   are too large for float32.
 */
export function decodeTorchTensor(
  name: string,
  reference: TensorReference,
  bytes: Uint8Array,
  begin: number,
  options: TorchTensorOptions = {},
): HostTensor {
  const { shape, strides } = reference;
  const stored = reference.dtype as TorchDType;
  const { path } = options;
  const label = `torch file: tensor "${escapeText(name)}"`;
  const size = sizeOf(shape);
  const notFinite = (value: number, i: number): NonFiniteError =>
    new NonFiniteError(
      Number.isFinite(value)
        ? `${label} holds ${value} at element ${i}, which is too large for float32`
        : `${label} holds ${value} at element ${i}`,
      { path, hint: 'the weights are damaged; allow non-finite values only to inspect them' },
    );
  if (stored === 'float32' && isContiguous(reference)) {
    // Most weights are so, and copying their bytes takes a third of the time.
    const from = 4 * reference.offset - begin;
    const own = bytes.subarray(from, from + 4 * size);
    const isAll = own.byteLength === own.buffer.byteLength;
    const data = new Float32Array(
      isAll && options.takesBytes === true ? (own.buffer as ArrayBuffer) : new Uint8Array(own).buffer,
    );
    const wrong = options.allowNonFinite === true ? -1 : findNonFinite(data);
    if (wrong >= 0) throw notFinite(data[wrong]!, wrong);
    return { dtype: 'float32', shape: [...shape], data };
  }
  const element = elementReader(stored, bytes);
  const dtype = dtypeOf(stored);
  const data =
    dtype === 'float32' ? new Float32Array(size) : dtype === 'int32' ? new Int32Array(size) : new Uint8Array(size);
  const at = new Array<number>(shape.length).fill(0);
  let position = reference.offset - begin / elementSizes[stored];
  for (let i = 0; i < size; i++) {
    const value = element(position);
    data[i] = value;
    const kept = data[i]!;
    if (dtype === 'float32' && kept - kept !== 0 && options.allowNonFinite !== true) throw notFinite(value, i);
    if (dtype === 'int32' && value !== kept)
      throw new WeightError(`${label} holds ${value} at element ${i}, which does not fit into 32 bits`, { path });
    if (dtype === 'bool' && value > 1)
      throw new WeightError(`${label} holds ${value} at element ${i}, expected 0 or 1`, { path });
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

/** True if the elements follow each other in row-major order. */
function isContiguous({ shape, strides }: TensorReference): boolean {
  let expected = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis] !== 1 && strides[axis] !== expected) return false;
    expected *= shape[axis]!;
  }
  return true;
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
    case 'uint64':
      return (i) => Number(view.getBigUint64(8 * i, true));
    case 'int32':
      return (i) => view.getInt32(4 * i, true);
    case 'uint32':
      return (i) => view.getUint32(4 * i, true);
    case 'int16':
      return (i) => view.getInt16(2 * i, true);
    case 'uint16':
      return (i) => view.getUint16(2 * i, true);
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
