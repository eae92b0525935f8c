/**
 * Reads and writes safetensors files on byte arrays. Reading is strict (safetensors-header.ts); writing gives the same
 * bytes for the same tensors, in the order of the reference implementation: widest dtype first, then by name.
 */
import { DimoError, NonFiniteError, WeightError } from '../errors.js';
import { sizeOf, type HostTensor, type HostTree } from '../tensors.js';
import { escapeText } from './escape-text.js';
import { decodeBfloat16, float16Table, toBfloat16Bits, toFloat16Bits } from './half-floats.js';
import {
  bytesPerElement,
  parseSafetensorsHeader,
  type SafetensorsDType,
  type SafetensorsEntry,
  type SafetensorsHeaderOptions,
} from './safetensors-header.js';

/** Options of `readSafetensors` and `decodeSafetensorsEntry`. */
export interface SafetensorsReadOptions extends SafetensorsHeaderOptions {
  /** Read F64 as float32, rounding; otherwise F64 is refused. @default false */
  readonly narrowFloat64?: boolean;
  /** Accept NaN and infinity, to inspect a damaged model. @default false */
  readonly allowNonFinite?: boolean;
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
  for (const [name, entry] of header.tensors)
    if (options.only?.(name) ?? true)
      tensors[name] = decodeSafetensorsEntry(name, entry, bytes.subarray(entry.begin, entry.end), options);
  const metadata = Object.create(null) as Record<string, string>;
  for (const [key, value] of header.metadata) metadata[key] = value;
  return { tensors, metadata };
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
    case 'F16': {
      const source = new Uint16Array(copy());
      const data = new Float32Array(source.length);
      const table = float16Table();
      for (let i = 0; i < source.length; i++) data[i] = table[source[i] as number] as number;
      return finite({ dtype: 'float32', shape, data });
    }
    case 'BF16': {
      const source = new Uint16Array(copy());
      const data = new Float32Array(source.length);
      decodeBfloat16(source, data);
      return finite({ dtype: 'float32', shape, data });
    }
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

  function finite(tensor: HostTensor<'float32'>): HostTensor<'float32'> {
    if (options.allowNonFinite === true) return tensor;
    const index = findNonFinite(tensor.data);
    if (index >= 0)
      throw new NonFiniteError(`safetensors: ${label} holds ${tensor.data[index] as number} at element ${index}`, {
        path: options.path,
        hint: 'the weights are damaged; allow non-finite values only to inspect them',
      });
    return tensor;
  }
}

/** Index of the first NaN or infinity, or -1. */
export function findNonFinite(data: Float32Array): number {
  // x - x is 0 for every finite number and NaN for all others.
  for (let i = 0; i < data.length; i++) if ((data[i] as number) - (data[i] as number) !== 0) return i;
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

/** Options of `writeSafetensors`. */
export interface SafetensorsWriteOptions {
  readonly metadata?: Readonly<Record<string, string>>;
  /** Type for float32 tensors. @default 'F32' */
  readonly float?: 'F32' | 'F16' | 'BF16';
  /** Type for int32 tensors; U8 needs values from 0 to 255. @default 'I32' */
  readonly integer?: 'I32' | 'U8';
  /** Type for bool tensors. @default 'BOOL' */
  readonly boolean?: 'BOOL' | 'U8';
  /** Overrides the three above for single tensors; undefined keeps them. */
  readonly dtypeOf?: (name: string, tensor: HostTensor) => SafetensorsDType | undefined;
  /** Write NaN and infinity, also those that rounding to 16 bits makes. @default false */
  readonly allowNonFinite?: boolean;
}

/**
 * Writes a safetensors file: header sorted and padded to 8 bytes, data contiguous. Same tensors, same bytes.
 *
 * @throws WeightError for a name or value that the format or the chosen dtype cannot hold.
 * @throws NonFiniteError naming the tensor and element that is NaN or infinite, or becomes so in 16 bits.
 */
export function writeSafetensors(tree: HostTree, options: SafetensorsWriteOptions = {}): Uint8Array<ArrayBuffer> {
  assertLittleEndian();
  const entries = Object.entries(tree).map(([name, tensor]) => {
    const dtype = options.dtypeOf?.(name, tensor) ?? defaultType(tensor, options);
    const length = sizeOf(tensor.shape);
    if (name === '__metadata__' || hasLoneSurrogate(name))
      throw new WeightError(`safetensors: "${escapeText(name)}" cannot be the name of a tensor`);
    if (!tensor.shape.every((axis) => Number.isSafeInteger(axis) && axis >= 0) || tensor.data.length !== length)
      throw new WeightError(
        `safetensors: tensor "${escapeText(name)}" has shape [${tensor.shape.join(', ')}] but ${tensor.data.length} elements`,
      );
    return { name, tensor, dtype, bytes: length * bytesPerElement(dtype) };
  });
  entries.sort(
    (a, b) =>
      bytesPerElement(b.dtype) - bytesPerElement(a.dtype) || compare(a.dtype, b.dtype) || compare(a.name, b.name),
  );
  const parts: string[] = [];
  const metadata = Object.entries(options.metadata ?? {}).sort(([a], [b]) => compare(a, b));
  for (const [key, value] of metadata)
    if (typeof value !== 'string' || hasLoneSurrogate(key + value))
      throw new WeightError(`safetensors: metadata "${escapeText(key)}" must be well-formed text`);
  if (metadata.length > 0)
    parts.push(`"__metadata__":{${metadata.map(([k, v]) => `${JSON.stringify(k)}:${JSON.stringify(v)}`).join(',')}}`);
  let offset = 0;
  for (const { name, tensor, dtype, bytes } of entries) {
    parts.push(
      `${JSON.stringify(name)}:{"dtype":"${dtype}","shape":[${tensor.shape.join(',')}],"data_offsets":[${offset},${offset + bytes}]}`,
    );
    offset += bytes;
  }
  const json = new TextEncoder().encode(`{${parts.join(',')}}`);
  const headerLength = Math.ceil(json.length / 8) * 8;
  const file = new Uint8Array(8 + headerLength + offset);
  new DataView(file.buffer).setBigUint64(0, BigInt(headerLength), true);
  file.fill(0x20, 8, 8 + headerLength);
  file.set(json, 8);
  let position = 8 + headerLength;
  for (const { name, tensor, dtype, bytes } of entries) {
    encode(name, tensor, dtype, file.subarray(position, position + bytes), options.allowNonFinite === true);
    position += bytes;
  }
  return file;
}

function defaultType(tensor: HostTensor, options: SafetensorsWriteOptions): SafetensorsDType {
  if (tensor.dtype === 'float32') return options.float ?? 'F32';
  return tensor.dtype === 'int32' ? (options.integer ?? 'I32') : (options.boolean ?? 'BOOL');
}

/** Writes the elements of one tensor into `out`, little-endian. */
function encode(
  name: string,
  tensor: HostTensor,
  dtype: SafetensorsDType,
  out: Uint8Array,
  allowNonFinite: boolean,
): void {
  const data = tensor.data;
  const label = `safetensors: tensor "${escapeText(name)}"`;
  if (tensor.dtype === 'float32' && !allowNonFinite) {
    const index = findNonFinite(data as Float32Array);
    if (index >= 0) throw new NonFiniteError(`${label} holds ${data[index] as number} at element ${index}`);
  }
  const pair = `${tensor.dtype} ${dtype}`;
  switch (pair) {
    case 'float32 F32':
    case 'int32 I32':
    case 'bool BOOL':
    case 'bool U8':
      out.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
      return;
    case 'float32 F16':
    case 'float32 BF16': {
      const toBits = dtype === 'F16' ? toFloat16Bits : toBfloat16Bits;
      const infinity = dtype === 'F16' ? 0x7c00 : 0x7f80;
      for (let i = 0; i < data.length; i++) {
        const bits = toBits(data[i] as number);
        if ((bits & infinity) === infinity && !allowNonFinite)
          throw new NonFiniteError(`${label}: ${data[i] as number} at element ${i} is too large for ${dtype}`, {
            hint: 'write this tensor as F32 or BF16',
          });
        out[2 * i] = bits & 0xff;
        out[2 * i + 1] = bits >>> 8;
      }
      return;
    }
    case 'int32 U8':
      for (let i = 0; i < data.length; i++) {
        const value = data[i] as number;
        if (value < 0 || value > 255) throw new WeightError(`${label}: ${value} at element ${i} does not fit into U8`);
        out[i] = value;
      }
      return;
    default:
      throw new WeightError(`${label}: ${tensor.dtype} cannot be written as ${dtype}`);
  }
}

function hasLoneSurrogate(text: string): boolean {
  return /[\ud800-\udfff]/u.test(text);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** The format is little-endian and typed arrays have the machine's byte order; no supported machine differs. */
function assertLittleEndian(): void {
  if (new Uint8Array(new Uint16Array([1]).buffer)[0] !== 1)
    throw new DimoError('internal', 'safetensors: this machine stores numbers big-endian, which is not supported');
}
