/** Reads safetensors files from byte arrays, strictly (safetensors-header.ts). */
import { compiledNonFinite } from '../compiled/compiled-loops.js';
import { NonFiniteError, WeightError } from '../errors.js';
import type { HostTensor, HostTree } from '../tensors/tensors.js';
import { escapeText } from '../text/escape-text.js';
import { decodeHalfFloats, findNonFiniteHalf, halfTensor, type HalfFloats } from './half-tensors.js';
import { assertLittleEndian, bytesPerElement, type SafetensorsEntry } from './safetensors-format.js';
import { parseSafetensorsHeader, type SafetensorsHeaderOptions } from './safetensors-header.js';

/** Options of `readSafetensors` and `decodeSafetensorsEntry`. */
export interface SafetensorsReadOptions extends SafetensorsHeaderOptions {
  /** Read F64 as float32, rounding; otherwise F64 is refused. @default false */
  readonly narrowFloat64?: boolean;
  /** Accept NaN and infinity, to inspect a damaged model. @default false */
  readonly allowNonFinite?: boolean;
  /** Leave F16 and BF16 in 16 bits (`halfTensor`). @default false */
  readonly keepHalf?: boolean;
  /** Which tensors to decode; the header is checked whole in any case. @default all */
  readonly only?: (name: string) => boolean;
}

/** Content of a safetensors file. Both records have no prototype, so any name is a plain name. */
export interface SafetensorsContent {
  /** F32, F16, BF16 (and F64) become float32, integers int32, BOOL bool. Copies: `bytes` may be released. */
  readonly tensors: HostTree;
  readonly metadata: Readonly<Record<string, string>>;
}

/**
 * Reads a safetensors file.
 *
 * @param bytes - the whole file. Borrowed.
 * @throws WeightError if the file is damaged, beyond the limits, or holds a dtype or an integer that the product's
 *   dtypes cannot represent.
 * @throws NonFiniteError naming the first tensor and element that is NaN or infinite.
 */
export function readSafetensors(bytes: Uint8Array, options: SafetensorsReadOptions = {}): SafetensorsContent {
  const header = parseSafetensorsHeader(bytes, bytes.length, options);
  const tensors = Object.create(null) as HostTree;
  const chosen = [...header.tensors].filter(([name]) => options.only?.(name) ?? true);
  checkWidening(chosen, bytes.length, options);
  for (const [name, entry] of chosen)
    tensors[name] = decodeSafetensorsEntry(name, entry, bytes.subarray(entry.begin, entry.end), options);
  const metadata = Object.create(null) as Record<string, string>;
  for (const [key, value] of header.metadata) metadata[key] = value;
  return { tensors, metadata };
}

/** Decoded tensors may have twice the bytes of the file, and so many more: integers of 8 bits become four times as large. */
const freeBytes = 2 ** 26;

function checkWidening(
  tensors: readonly (readonly [string, SafetensorsEntry])[],
  fileLength: number,
  { keepHalf, path }: SafetensorsReadOptions,
): void {
  const decodedBytes = ([, { dtype, begin, end }]: readonly [string, SafetensorsEntry]): number => {
    const isHalf = dtype === 'F16' || dtype === 'BF16';
    const isKept = dtype === 'BOOL' || (isHalf && keepHalf === true);
    return isKept ? end - begin : (4 * (end - begin)) / bytesPerElement(dtype);
  };
  const total = tensors.reduce((sum, tensor) => sum + decodedBytes(tensor), 0);
  if (total > 2 * fileLength + freeBytes)
    throw new WeightError(`safetensors: the tensors of ${fileLength} bytes become ${total} bytes when they are read`, {
      path,
      hint: 'save integers of 8 bits in several smaller files, or as weights in F16 or F32',
    });
}

/**
 * Decodes one tensor.
 *
 * @param entry - from `parseSafetensorsHeader`.
 * @param bytes - exactly the bytes from `entry.begin` to `entry.end`. Borrowed.
 */
export function decodeSafetensorsEntry(
  name: string,
  entry: SafetensorsEntry,
  bytes: Uint8Array,
  options: SafetensorsReadOptions = {},
): HostTensor {
  const label = `tensor "${escapeText(name)}" (${entry.dtype} [${entry.shape.join(', ')}])`;
  const fail = (message: string, hint?: string): WeightError =>
    new WeightError(`safetensors: ${label} ${message}`, { path: options.path, hint });
  if (bytes.length !== entry.end - entry.begin)
    throw fail(`needs ${entry.end - entry.begin} bytes, got ${bytes.length}`);
  assertLittleEndian();
  const shape = [...entry.shape];
  // A copy: aligned for every element type, and independent of the caller's buffer.
  const copy = (): ArrayBuffer => {
    const own = new Uint8Array(bytes.length);
    own.set(bytes);
    return own.buffer;
  };
  switch (entry.dtype) {
    case 'F32':
      return finite({ dtype: 'float32', shape, data: new Float32Array(copy()) });
    case 'F64':
      if (options.narrowFloat64 !== true)
        throw fail('has 64-bit floating-point numbers', 'convert the file to F32, or allow rounding (narrowFloat64)');
      return finite({ dtype: 'float32', shape, data: Float32Array.from(new Float64Array(copy())) });
    case 'F16':
    case 'BF16':
      return half({ format: entry.dtype, bits: new Uint16Array(copy()) });
    case 'BOOL': {
      const data = new Uint8Array(copy());
      const wrong = data.findIndex((value) => value > 1);
      if (wrong >= 0) throw fail(`holds ${data[wrong] as number} at element ${wrong}, expected 0 or 1`);
      return { dtype: 'bool', shape, data };
    }
    case 'I32':
      return { dtype: 'int32', shape, data: new Int32Array(copy()) };
    case 'U8':
      return { dtype: 'int32', shape, data: Int32Array.from(bytes) };
    case 'I8':
      return { dtype: 'int32', shape, data: Int32Array.from(new Int8Array(copy())) };
    case 'I16':
      return { dtype: 'int32', shape, data: Int32Array.from(new Int16Array(copy())) };
    case 'U16':
      return { dtype: 'int32', shape, data: Int32Array.from(new Uint16Array(copy())) };
    case 'U32':
    case 'I64':
    case 'U64':
      return { dtype: 'int32', shape, data: narrowIntegers(entry.dtype, copy(), fail) };
    case 'F4':
    case 'F6_E2M3':
    case 'F6_E3M2':
    case 'F8_E5M2':
    case 'F8_E4M3':
    case 'F8_E8M0':
    case 'F8_E4M3FNUZ':
    case 'F8_E5M2FNUZ':
    case 'C64':
      throw fail('has an element type that is not supported', 'convert the file to F32, F16 or BF16');
  }
  entry.dtype satisfies never;

  function half(elements: HalfFloats): HostTensor<'float32'> {
    if (options.allowNonFinite !== true) {
      const index = findNonFiniteHalf(elements);
      if (index >= 0) throw nonFinite(decodeHalfFloats(elements)[index] as number, index);
    }
    return options.keepHalf === true
      ? halfTensor(shape, elements)
      : { dtype: 'float32', shape, data: decodeHalfFloats(elements) };
  }

  function finite(tensor: HostTensor<'float32'>): HostTensor<'float32'> {
    if (options.allowNonFinite === true) return tensor;
    const index = findNonFinite(tensor.data);
    if (index >= 0) throw nonFinite(tensor.data[index] as number, index);
    return tensor;
  }

  function nonFinite(value: number, index: number): NonFiniteError {
    return new NonFiniteError(`safetensors: ${label} holds ${value} at element ${index}`, {
      path: options.path,
      hint: 'the weights are damaged; allow non-finite values only to inspect them',
    });
  }
}

/** Of a float32 number: all set in infinities and NaN alone. */
const exponentBits = 0x7f800000;

/** Index of the first NaN or infinity, or -1. */
export function findNonFinite(data: Float32Array): number {
  const index = compiledNonFinite(data);
  if (index !== undefined) return index;
  const bits = new Int32Array(data.buffer, data.byteOffset, data.length);
  for (let i = 0; i < bits.length; i++) if ((bits[i]! & exponentBits) === exponentBits) return i;
  return -1;
}

function narrowIntegers(
  dtype: 'U32' | 'I64' | 'U64',
  buffer: ArrayBuffer,
  fail: (message: string, hint?: string) => WeightError,
): Int32Array {
  const words = new Int32Array(buffer);
  const stride = dtype === 'U32' ? 1 : 2;
  const data = new Int32Array(words.length / stride);
  for (let i = 0; i < data.length; i++) {
    const low = words[i * stride] as number;
    const high = stride === 1 ? 0 : (words[i * stride + 1] as number);
    if (dtype === 'I64' ? high !== low >> 31 : high !== 0 || low < 0)
      throw fail(`holds an integer at element ${i} that does not fit into 32 bits with sign`);
    data[i] = low;
  }
  return data;
}
