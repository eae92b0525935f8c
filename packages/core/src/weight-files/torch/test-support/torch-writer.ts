/** Writes pickles and zip archives byte by byte, well-made and hostile ones. */
import { crc32 } from '../crc32.js';

const latin = (text: string) => Uint8Array.from(text, (char) => char.charCodeAt(0));

/** Joins bytes and text (one byte per character). */
export function bytesOf(...parts: (string | number | Uint8Array)[]): Uint8Array<ArrayBuffer> {
  const arrays = parts.map((part) =>
    typeof part === 'number' ? Uint8Array.of(part) : typeof part === 'string' ? latin(part) : part,
  );
  const result = new Uint8Array(arrays.reduce((sum, { length }) => sum + length, 0));
  let offset = 0;
  for (const array of arrays) {
    result.set(array, offset);
    offset += array.length;
  }
  return result;
}

/** Two bytes, little-endian. */
export function uint16(value: number): Uint8Array {
  return Uint8Array.of(value & 255, (value >>> 8) & 255);
}

/** Four bytes, little-endian. */
export function uint32(value: number): Uint8Array {
  return bytesOf(uint16(value & 0xffff), uint16(value >>> 16));
}

/** Eight bytes, little-endian. */
export function uint64(value: bigint | number): Uint8Array {
  const data = new DataView(new ArrayBuffer(8));
  data.setBigUint64(0, BigInt.asUintN(64, BigInt(value)), true);
  return new Uint8Array(data.buffer);
}

/** A string, BINUNICODE. */
export function text(value: string): Uint8Array {
  const encoded = new TextEncoder().encode(value);
  return bytesOf('X', uint32(encoded.length), encoded);
}

/** An integer, LONG1 with 8 bytes. */
export function integer(value: bigint | number): Uint8Array {
  return bytesOf('\x8a\x08', uint64(value));
}

/** A tensor of a state dict. */
export interface WrittenTensor {
  readonly key: string;
  readonly numElements: bigint | number;
  readonly offset: bigint | number;
  readonly shape: readonly (bigint | number)[];
  readonly strides: readonly (bigint | number)[];
  readonly type?: string;
}

/** `_rebuild_tensor_v2(...)`. */
export function tensor({ key, numElements, offset, shape, strides, type = 'FloatStorage' }: WrittenTensor): Uint8Array {
  const storage = bytesOf(
    '(',
    text('storage'),
    `ctorch\n${type}\n`,
    text(key),
    text('cpu'),
    integer(numElements),
    'tQ',
  );
  const tuple = (items: readonly (bigint | number)[]) => bytesOf('(', ...items.map(integer), 't');
  return bytesOf(
    'ctorch._utils\n_rebuild_tensor_v2\n((',
    storage.subarray(1),
    integer(offset),
    tuple(shape),
    tuple(strides),
    '\x89ccollections\nOrderedDict\n)RtR',
  );
}

/** A dictionary of named pickled values, as protocol 2. */
export function stateDict(values: Readonly<Record<string, Uint8Array>>): Uint8Array {
  return bytesOf('\x80\x02}(', ...Object.entries(values).flatMap(([name, value]) => [text(name), value]), 'u.');
}

/** How an entry differs from a well-made one. */
export interface WrittenEntry {
  readonly name: string | Uint8Array;
  readonly content: Uint8Array;
  readonly method?: number;
  readonly flags?: number;
  readonly checksum?: number;
  readonly length?: number;
  readonly stored?: number;
  readonly attributes?: number;
  readonly localName?: string;
  readonly localLength?: number;
  readonly localMethod?: number;
  readonly header?: number;
}

/** How the end of an archive differs from a well-made one. */
export interface WrittenEnd {
  readonly count?: number;
  readonly size?: number;
  readonly start?: number;
  readonly comment?: string;
  /** Also the 64-bit record, as torch writes it, with these values. */
  readonly wide?: { readonly count?: number; readonly size?: number; readonly start?: number; readonly at?: number };
}

/** A zip archive of stored entries. */
export function zip(entries: readonly WrittenEntry[], end: WrittenEnd = {}): Uint8Array {
  let body = new Uint8Array();
  const records: Uint8Array[] = [];
  for (const entry of entries) {
    const name = typeof entry.name === 'string' ? new TextEncoder().encode(entry.name) : entry.name;
    const local = entry.localName === undefined ? name : latin(entry.localName);
    const { content, method = 0, flags = 0x800, attributes = 0 } = entry;
    const checksum = entry.checksum ?? crc32(content);
    const length = entry.length ?? content.length;
    const header = entry.header ?? body.length;
    const localLength = entry.localLength ?? length;
    const sizes = bytesOf(uint32(checksum), uint32(localLength), uint32(localLength));
    body = bytesOf(
      body,
      bytesOf('PK\x03\x04', uint16(20), uint16(flags), uint16(entry.localMethod ?? method), uint32(0), sizes),
      bytesOf(uint16(local.length), uint16(0), local, content),
    );
    records.push(
      bytesOf('PK\x01\x02', uint16(20), uint16(20), uint16(flags), uint16(method), uint32(0)),
      bytesOf(uint32(checksum), uint32(entry.stored ?? length), uint32(length), uint16(name.length), uint16(0)),
      bytesOf(uint16(0), uint16(0), uint16(0), uint32(attributes), uint32(header), name),
    );
  }
  const directory = bytesOf(...records);
  const start = end.start ?? body.length;
  const count = end.count ?? entries.length;
  const size = end.size ?? directory.length;
  const { comment = '', wide } = end;
  const at = body.length + directory.length;
  const wideEnd = wide
    ? bytesOf(
        bytesOf('PK\x06\x06', uint64(44), uint16(45), uint16(45), uint64(0), uint64(wide.count ?? count)),
        bytesOf(uint64(wide.count ?? count), uint64(wide.size ?? size), uint64(wide.start ?? start)),
        bytesOf('PK\x06\x07', uint32(0), uint64(wide.at ?? at), uint32(1)),
      )
    : new Uint8Array();
  return bytesOf(
    body,
    directory,
    wideEnd,
    bytesOf('PK\x05\x06', uint32(0), uint16(count), uint16(count), uint32(size), uint32(start)),
    bytesOf(uint16(comment.length), comment),
  );
}

/** A torch file with this pickle and float32 storages. */
export function torchZip(pickle: Uint8Array, storages: Readonly<Record<string, Float32Array>> = {}): Uint8Array {
  return zip(
    [
      { name: 'model/data.pkl', content: pickle },
      { name: 'model/byteorder', content: latin('little') },
      ...Object.entries(storages).map(([key, data]) => ({
        name: `model/data/${key}`,
        content: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
      })),
    ],
    { wide: {} },
  );
}
