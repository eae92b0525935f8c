/** NumPy's array files: the header of an `.npy`, and numbers of its types as float64. */
import { OptionError, sizeOf } from '@dimo/core';

/** What the header of an `.npy` says. */
export interface NpyHeader {
  /** Kind and bytes of an element: `f8`, `u1`. */
  readonly type: string;
  readonly isBigEndian: boolean;
  /** The first axis changes fastest. */
  readonly isFortran: boolean;
  readonly shape: readonly number[];
  /** Bytes before the elements. */
  readonly length: number;
}

/** Bytes of an element by type; others (objects, text, records) are no numbers. */
const sizes: Readonly<Record<string, number>> = { f4: 4, f8: 8, i1: 1, i2: 2, i4: 4, i8: 8, u1: 1, u2: 2, u4: 4 };
const magic = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];
/** Bytes from which the length of a header is known. */
const prefixLength = 12;
/** A header is a short line of text. */
export const maximumHeader = 2 ** 16;
const maximumRank = 32;

/** Bytes of an element. */
export function elementSize({ type }: Pick<NpyHeader, 'type'>): number {
  return sizes[type]!;
}

/**
 * Reads the header at the beginning of an array file.
 *
 * @param bytes - the beginning of the file: the whole, or at least `maximumHeader` bytes.
 * @param name - of the array, for messages.
 * @throws OptionError if it is no array of numbers.
 */
export function readNpyHeader(bytes: Uint8Array, name: string): NpyHeader {
  const fail = (what: string) => new OptionError(`${name}: ${what}`);
  if (bytes.length < prefixLength || magic.some((byte, i) => bytes[i] !== byte)) throw fail('is no NumPy array');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const version = bytes[6]!;
  if (version < 1 || version > 3) throw fail(`is a NumPy array of version ${version}; 1 to 3 are known`);
  const start = version === 1 ? 10 : 12;
  const length = version === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  if (length > maximumHeader - start || start + length > bytes.length) throw fail('the header of the array is cut off');
  const text = new TextDecoder('latin1').decode(bytes.subarray(start, start + length));
  const field = (pattern: RegExp) => pattern.exec(text)?.[1];
  const type = field(/'descr'\s*:\s*'([^']*)'/);
  const order = field(/'fortran_order'\s*:\s*(True|False)/);
  const axes = field(/'shape'\s*:\s*\(([\d,\sL]*)\)/);
  if (type === undefined || order === undefined || axes === undefined)
    throw fail('the header of the array names no type, order and shape of plain numbers');
  const [byteOrder, kind] = [type[0]!, type.slice(1)];
  if (!'<>|='.includes(byteOrder) || !(kind in sizes))
    throw fail(`has elements of the type ${JSON.stringify(type)}; known are ${Object.keys(sizes).join(', ')}`);
  const shape = axes
    .split(',')
    .map((axis) => axis.trim())
    .filter((axis) => axis !== '')
    .map((axis) => Number.parseInt(axis, 10));
  if (shape.length > maximumRank || !Number.isSafeInteger(sizeOf(shape) * sizes[kind]!))
    throw fail(`has an impossible shape, (${axes.trim()})`);
  return {
    type: kind,
    isBigEndian: byteOrder === '>',
    isFortran: order === 'True' && shape.length > 1,
    shape,
    length: start + length,
  };
}

/** Elements as float64, in the order of the file. @param bytes - of whole elements. */
export function npyNumbers({ type, isBigEndian }: NpyHeader, bytes: Uint8Array): Float64Array {
  const size = sizes[type]!;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const little = !isBigEndian;
  const read: (at: number) => number = {
    f4: (at: number) => view.getFloat32(at, little),
    f8: (at: number) => view.getFloat64(at, little),
    i1: (at: number) => view.getInt8(at),
    i2: (at: number) => view.getInt16(at, little),
    i4: (at: number) => view.getInt32(at, little),
    i8: (at: number) => Number(view.getBigInt64(at, little)),
    u1: (at: number) => view.getUint8(at),
    u2: (at: number) => view.getUint16(at, little),
    u4: (at: number) => view.getUint32(at, little),
  }[type]!;
  return Float64Array.from({ length: bytes.length / size }, (_, i) => read(i * size));
}

/** The header of an array file of version 1, padded as NumPy pads it. @param type - `<f8`, `<f4`, `|u1`. */
export function npyHeader(type: '<f8' | '<f4' | '|u1', shape: readonly number[]): Uint8Array {
  const axes = shape.length === 1 ? `${shape[0]},` : shape.join(', ');
  const text = `{'descr': '${type}', 'fortran_order': False, 'shape': (${axes}), }`;
  // The elements begin at a multiple of 64 bytes; the text ends with a line feed.
  const padding = (64 - ((10 + text.length + 1) % 64)) % 64;
  const line = new TextEncoder().encode(`${text}${' '.repeat(padding)}\n`);
  return Uint8Array.from([...magic, 1, 0, line.length & 255, line.length >> 8, ...line]);
}
