/**
 * Writes safetensors files: the same bytes for the same tensors, in the order of the reference implementation (widest
 * dtype first, then by name).
 */
import { NonFiniteError, WeightError } from '../errors.js';
import { tensorSource, type TensorSource } from '../tensors/tensor-source.js';
import { sizeOf, type HostTensor, type HostTree, type TensorSpec } from '../tensors/tensors.js';
import { escapeText } from '../text/escape-text.js';
import type { ByteStream } from './byte-stream.js';
import { toBfloat16Bits, toFloat16Bits } from './half-floats.js';
import { assertLittleEndian, bytesPerElement, type SafetensorsDType } from './safetensors-format.js';
import { findNonFinite } from './safetensors.js';

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

/** Options of `streamSafetensors`: values are not known when the types are chosen. */
export interface SafetensorsStreamOptions extends Omit<SafetensorsWriteOptions, 'dtypeOf'> {
  readonly dtypeOf?: (name: string, spec: TensorSpec) => SafetensorsDType | undefined;
}

/**
 * Writes a safetensors file: header sorted and padded to 8 bytes, data contiguous. Same tensors, same bytes.
 *
 * @throws WeightError for a name or value that the format or the chosen dtype cannot hold.
 * @throws NonFiniteError naming the tensor and element that is NaN or infinite, or becomes so in 16 bits.
 */
export function writeSafetensors(tree: HostTree, options: SafetensorsWriteOptions = {}): Uint8Array<ArrayBuffer> {
  const { head, entries, length } = layOut(tree, options);
  const file = new Uint8Array(length);
  file.set(head);
  let position = head.length;
  for (const { name, dtype, bytes } of entries) {
    file.set(encode(name, tree[name]!, dtype, options.allowNonFinite === true), position);
    position += bytes;
  }
  return file;
}

/**
 * The bytes of `writeSafetensors`, tensor by tensor: of a source, one tensor is in memory at a time.
 *
 * @throws WeightError, NonFiniteError as `writeSafetensors`; those of values come with the part that holds them.
 */
export function streamSafetensors(
  tensors: HostTree | TensorSource,
  options: SafetensorsStreamOptions = {},
): ByteStream {
  const source = tensorSource(tensors);
  const { head, entries, length } = layOut(source.specs, options);
  return {
    length,
    async *parts() {
      yield head;
      for (const { name, dtype } of entries) {
        const tensor = (await source.read([name]))[name]!;
        yield encode(name, tensor, dtype, options.allowNonFinite === true);
      }
    },
  };
}

interface Entry {
  readonly name: string;
  readonly dtype: SafetensorsDType;
  readonly bytes: number;
}

/** Length and header of the file, and its tensors in their order. */
function layOut<T extends TensorSpec>(
  tensors: Readonly<Record<string, T>>,
  options: Omit<SafetensorsWriteOptions, 'dtypeOf'> & {
    readonly dtypeOf?: (name: string, tensor: T) => SafetensorsDType | undefined;
  },
): { readonly head: Uint8Array; readonly entries: readonly Entry[]; readonly length: number } {
  assertLittleEndian();
  const entries = Object.entries(tensors).map(([name, tensor]) => {
    const dtype = options.dtypeOf?.(name, tensor) ?? defaultType(tensor, options);
    if (name === '__metadata__' || hasLoneSurrogate(name))
      throw new WeightError(`safetensors: "${escapeText(name)}" cannot be the name of a tensor`);
    if (!tensor.shape.every((axis) => Number.isSafeInteger(axis) && axis >= 0)) throw shapeError(name, tensor);
    return { name, shape: tensor.shape, dtype, bytes: sizeOf(tensor.shape) * bytesPerElement(dtype) };
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
  for (const { name, shape, dtype, bytes } of entries) {
    parts.push(
      `${JSON.stringify(name)}:{"dtype":"${dtype}","shape":[${shape.join(',')}],"data_offsets":[${offset},${offset + bytes}]}`,
    );
    offset += bytes;
  }
  const json = new TextEncoder().encode(`{${parts.join(',')}}`);
  const headerLength = Math.ceil(json.length / 8) * 8;
  const head = new Uint8Array(8 + headerLength).fill(0x20);
  new DataView(head.buffer).setBigUint64(0, BigInt(headerLength), true);
  head.set(json, 8);
  return { head, entries, length: head.length + offset };
}

function shapeError(
  name: string,
  { shape, ...tensor }: TensorSpec & { readonly data?: HostTensor['data'] },
): WeightError {
  return new WeightError(
    `safetensors: tensor "${escapeText(name)}" has shape [${shape.join(', ')}]${tensor.data ? ` but ${tensor.data.length} elements` : ''}`,
  );
}

function defaultType(tensor: TensorSpec, options: Omit<SafetensorsWriteOptions, 'dtypeOf'>): SafetensorsDType {
  if (tensor.dtype === 'float32') return options.float ?? 'F32';
  return tensor.dtype === 'int32' ? (options.integer ?? 'I32') : (options.boolean ?? 'BOOL');
}

/** The elements of one tensor, little-endian: its own memory where that holds them so, and must not be written then. */
function encode(name: string, tensor: HostTensor, dtype: SafetensorsDType, allowNonFinite: boolean): Uint8Array {
  const { data } = tensor;
  const label = `safetensors: tensor "${escapeText(name)}"`;
  if (data.length !== sizeOf(tensor.shape)) throw shapeError(name, { ...tensor, data });
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
      return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    case 'float32 F16':
    case 'float32 BF16': {
      const toBits = dtype === 'F16' ? toFloat16Bits : toBfloat16Bits;
      const infinity = dtype === 'F16' ? 0x7c00 : 0x7f80;
      const out = new Uint16Array(data.length);
      for (let i = 0; i < data.length; i++) {
        const bits = toBits(data[i] as number);
        if ((bits & infinity) === infinity && !allowNonFinite)
          throw new NonFiniteError(`${label}: ${data[i] as number} at element ${i} is too large for ${dtype}`, {
            hint: 'write this tensor as F32 or BF16',
          });
        out[i] = bits;
      }
      return new Uint8Array(out.buffer);
    }
    case 'int32 U8': {
      const out = new Uint8Array(data.length);
      for (let i = 0; i < data.length; i++) {
        const value = data[i] as number;
        if (value < 0 || value > 255) throw new WeightError(`${label}: ${value} at element ${i} does not fit into U8`);
        out[i] = value;
      }
      return out;
    }
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
