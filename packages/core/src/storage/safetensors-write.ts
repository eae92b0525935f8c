/**
 * Writes safetensors files: the same bytes for the same tensors, in the order of the reference implementation (widest
 * dtype first, then by name).
 */
import { NonFiniteError, WeightError } from '../errors.js';
import { sizeOf, type HostTensor, type HostTree } from '../tensors/tensors.js';
import { escapeText } from '../text/escape-text.js';
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
