/** The checksum of zip archives. */

let table: Uint32Array | undefined;

function crcTable(): Uint32Array {
  if (table) return table;
  // Four tables, so that four bytes are taken at a time.
  table = new Uint32Array(1024);
  for (let i = 0; i < 256; i++) {
    let value = i;
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
    table[i] = value;
  }
  for (let i = 256; i < 1024; i++) table[i] = (table[i - 256]! >>> 8) ^ table[table[i - 256]! & 0xff]!;
  return table;
}

type Checksum = (bytes: Uint8Array, before?: number) => number;

/** Node's own, ten times as fast. */
const native = (
  globalThis as { process?: { getBuiltinModule?: (name: string) => { readonly crc32?: Checksum } | undefined } }
).process?.getBuiltinModule?.('zlib')?.crc32;

/** CRC-32 (IEEE 802.3), uint32. @param before - that of the bytes before these, where they come in pieces. */
export const crc32: Checksum = native ?? portableCrc32;

/** The same where there is no Node. */
export function portableCrc32(bytes: Uint8Array, before = 0): number {
  const t = crcTable();
  let crc = ~before;
  let i = 0;
  for (; i + 4 <= bytes.length; i += 4) {
    crc ^= bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24);
    crc = t[768 + (crc & 0xff)]! ^ t[512 + ((crc >>> 8) & 0xff)]! ^ t[256 + ((crc >>> 16) & 0xff)]! ^ t[crc >>> 24]!;
  }
  for (; i < bytes.length; i++) crc = (crc >>> 8) ^ t[(crc ^ bytes[i]!) & 0xff]!;
  return ~crc >>> 0;
}
