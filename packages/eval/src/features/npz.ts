/** NumPy's archives of arrays, read part by part: statistics whole, images row by row. */
import { OptionError, sizeOf, WeightError, type WeightFile } from '@dimo/core';
import { readZip, type ZipEntry } from '@dimo/core/weight-files';
import { elementSize, maximumHeader, npyNumbers, readNpyHeader, type NpyHeader } from './npy.js';

/** An array of an archive. */
export interface NpzArray {
  readonly shape: readonly number[];
  /** Kind and bytes of an element as NumPy writes them, without the byte order: `f8`, `u1`. */
  readonly type: string;
  /** All numbers, row by row. @throws OptionError for more than 2^28 of them */
  numbers(): Promise<Float64Array>;
  /**
   * The bytes of some rows (items along the first axis) at a time.
   *
   * @param count - rows at a time; the last time may give fewer.
   */
  rows(count: number): AsyncGenerator<Uint8Array, void>;
}

/** Numbers that an array which is read whole may have: 16,384 x 16,384. */
const maximumNumbers = 2 ** 28;

/**
 * Arrays of an `.npz` archive by name, stored or compressed, of any length. Only headers are read until numbers are asked for.
 *
 * @param file - used as long as arrays are read.
 * @param path - for messages.
 * @throws WeightError if it is no such archive or damaged; OptionError if an array holds something else than numbers.
 */
export async function readNpz(file: WeightFile, path: string): Promise<Map<string, NpzArray>> {
  const entries = await readZip(file, path, { compressed: true });
  const arrays = new Map<string, NpzArray>();
  for (const entry of entries.values())
    if (entry.name.endsWith('.npy')) {
      const name = entry.name.slice(0, -'.npy'.length);
      arrays.set(name, await openArray(entry, `${path}: the array "${name}"`));
    }
  if (arrays.size === 0) throw new WeightError('the archive holds no NumPy arrays', { path });
  return arrays;
}

async function openArray(entry: ZipEntry, name: string): Promise<NpzArray> {
  const header = readNpyHeader(await beginning(entry), name);
  const { shape, type, isFortran } = header;
  const expected = sizeOf(shape) * elementSize(header);
  if (entry.length - header.length !== expected)
    throw new OptionError(
      `${name}: (${shape.join(', ')}) of ${type} needs ${expected} bytes, got ${entry.length - header.length}`,
    );
  return {
    shape,
    type,
    async numbers() {
      if (sizeOf(shape) > maximumNumbers)
        throw new OptionError(`${name}: has ${sizeOf(shape)} numbers, at most ${maximumNumbers} are read at once`);
      const [bytes] = await entry.read([{ begin: header.length, end: entry.length }]);
      const numbers = npyNumbers(header, bytes!);
      return isFortran ? rowMajor(numbers, shape) : numbers;
    },
    async *rows(count) {
      if (isFortran) throw new OptionError(`${name}: is stored column by column; save it row by row`);
      const length = count * sizeOf(shape.slice(1)) * elementSize(header);
      yield* regrouped(entry, header, length);
    },
  };
}

/** The first bytes of an entry, at least those of any header where it has them. */
async function beginning(entry: ZipEntry): Promise<Uint8Array> {
  const wanted = Math.min(entry.length, maximumHeader);
  const bytes = new Uint8Array(wanted);
  let length = 0;
  for await (const piece of entry.pieces()) {
    bytes.set(piece.subarray(0, wanted - length), length);
    length = Math.min(wanted, length + piece.length);
    if (length === wanted) break;
  }
  return bytes;
}

/** The elements of an entry in groups of `length` bytes; the last one may be shorter. */
async function* regrouped(entry: ZipEntry, header: NpyHeader, length: number): AsyncGenerator<Uint8Array, void> {
  let skip = header.length;
  let group = new Uint8Array(length);
  let filled = 0;
  for await (const piece of entry.pieces()) {
    let at = Math.min(skip, piece.length);
    skip -= at;
    while (at < piece.length) {
      const taken = Math.min(length - filled, piece.length - at);
      group.set(piece.subarray(at, at + taken), filled);
      filled += taken;
      at += taken;
      if (filled < length) continue;
      yield group;
      group = new Uint8Array(length);
      filled = 0;
    }
  }
  if (filled > 0) yield group.subarray(0, filled);
}

/** Numbers that are stored with the first axis fastest, with the last axis fastest. */
function rowMajor(numbers: Float64Array, shape: readonly number[]): Float64Array {
  const result = new Float64Array(numbers.length);
  const index = shape.map(() => 0);
  const strides = shape.map((_, axis) => sizeOf(shape.slice(0, axis)));
  for (let i = 0; i < numbers.length; i++) {
    let from = 0;
    for (let axis = 0; axis < shape.length; axis++) from += index[axis]! * strides[axis]!;
    result[i] = numbers[from]!;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      index[axis]!++;
      if (index[axis]! < shape[axis]!) break;
      index[axis] = 0;
    }
  }
  return result;
}
