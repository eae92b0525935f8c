/**
 * Reads the zip archives that `torch.save` and NumPy write, part by part: the directory first, then each entry that is
 * wanted. Stored entries only, so that nothing can expand, unless the caller can take what is expanded in pieces.
 * Everything that a well-made archive of this kind never has (other compression, encryption, overlaps, links, doubled or
 * climbing names, headers that disagree) is refused: what the directory shows before any entry is read, what an entry's
 * own header shows before its content is used.
 */
import { WeightError } from '../../errors.js';
import type { WeightFile } from '../../storage/weight-source.js';
import { escapeText } from '../../text/escape-text.js';
import { crc32 } from './crc32.js';

/** Bytes from `begin` to before `end`. */
export interface ByteRange {
  readonly begin: number;
  readonly end: number;
}

/** One file in the archive. */
export interface ZipEntry {
  readonly name: string;
  /** Length of the content in bytes. */
  readonly length: number;
  /**
   * Parts of the content. The checksum is that of the whole, which is read in pieces: memory is needed for the parts only.
   *
   * @param ranges - from which to before which byte. @default the whole
   * @throws WeightError if its header contradicts the directory or its checksum is wrong.
   */
  read(ranges?: readonly ByteRange[]): Promise<Uint8Array[]>;
  /**
   * The content from its beginning, piece by piece. Its checksum is known with the last piece; whoever stops before has
   * unchecked bytes.
   *
   * @throws WeightError as `read`, and for compressed bytes that are damaged or longer than the directory says.
   */
  pieces(): AsyncGenerator<Uint8Array, void>;
}

/** Options of `readZip`. */
export interface ZipOptions {
  /** Entries may be compressed (deflate). @default false */
  readonly compressed?: boolean;
}

const maximumEntries = 100_000;
/** A directory of that many entries with names as torch gives them has some 10 MB. */
const maximumDirectoryBytes = 2 ** 25;
/** Content is read and its checksum computed in pieces of this length. */
const pieceBytes = 2 ** 23;
/** An entry up to this length that is wanted whole is read at once. */
const wholeBytes = 2 ** 30;
const endSize = 22;
const end64Size = 56;
const locatorSize = 20;
const localHeaderSize = 30;
const saturated16 = 0xffff;
const saturated32 = 0xffffffff;
/** Bit 3: sizes follow the data. Bit 11: names are UTF-8. */
const allowedFlags = 0x0808;
const linkType = 0xa000;

interface Directory {
  readonly start: number;
  readonly end: number;
  readonly count: number;
}

interface Record {
  readonly name: string;
  readonly nameLength: number;
  readonly flags: number;
  readonly checksum: number;
  readonly isCompressed: boolean;
  readonly length: number;
  /** Bytes in the archive. */
  readonly stored: number;
  readonly header: number;
}

/** True if the bytes begin like a zip archive. */
export function isZip(bytes: Uint8Array): boolean {
  return bytes.length >= 4 && bytes[0] === 0x50 && bytes[1] === 0x4b && bytes[2] === 3 && bytes[3] === 4;
}

/**
 * Entries of an archive by name.
 *
 * @param file - used as long as entries are read.
 * @param path - for messages.
 * @throws WeightError if the archive is damaged or not of the kind that `torch.save` or NumPy write.
 */
export async function readZip(
  file: WeightFile,
  path?: string,
  { compressed = false }: ZipOptions = {},
): Promise<Map<string, ZipEntry>> {
  const fail: Fail = (message, hint) => new WeightError(`zip archive: ${message}`, { path, hint });
  const directory = await findDirectory(file, fail);
  const bytes = await file.read(directory.start, directory.end);
  const records = readRecords(bytes, directory, { fileLength: file.length, compressed, fail });
  const entries = new Map<string, ZipEntry>();
  let free = 0;
  for (const record of [...records].sort((a, b) => a.header - b.header)) {
    const label = `entry "${escapeText(record.name)}"`;
    if (record.header < free) throw fail(`${label} overlaps another one`);
    // The extra field of the entry's own header is not known yet; it is checked when the entry is read.
    free = record.header + localHeaderSize + record.nameLength + record.stored;
    if (free > directory.start) throw fail(`${label} reaches into the directory`);
    if (entries.has(record.name)) throw fail(`${label} is there twice`);
    entries.set(record.name, zipEntry(file, record, directory.start, fail));
  }
  return entries;
}

type Fail = (message: string, hint?: string) => WeightError;

function zipEntry(file: WeightFile, record: Record, limit: number, fail: Fail): ZipEntry {
  const { name, length } = record;
  const checkChecksum = (checksum: number): void => {
    if (checksum !== record.checksum)
      throw fail(`entry "${escapeText(name)}" has a wrong checksum; the file is damaged`, damagedHint);
  };
  const wrongLength = () =>
    fail(
      `entry "${escapeText(name)}" does not have the length that the directory says; the file is damaged`,
      damagedHint,
    );
  async function* pieces(): AsyncGenerator<Uint8Array, void> {
    const start = await checkLocalHeader(file, record, limit, fail);
    const stored = storedPieces(file, start, record.stored);
    let checksum = 0;
    let seen = 0;
    let last: Uint8Array | undefined;
    // One piece behind: the last one is given once the whole is known to be right.
    for await (const piece of record.isCompressed ? inflated(stored, name, fail) : stored) {
      if (last) yield last;
      last = piece;
      seen += piece.length;
      if (seen > length) throw wrongLength();
      checksum = crc32(piece, checksum);
    }
    if (seen !== length) throw wrongLength();
    checkChecksum(checksum);
    if (last) yield last;
  }
  return {
    name,
    length,
    pieces,
    async read(ranges = [{ begin: 0, end: length }]) {
      const [first, second] = ranges;
      const isWhole = first && !second && first.begin === 0 && first.end === length;
      if (isWhole && !record.isCompressed && length <= wholeBytes) {
        const start = await checkLocalHeader(file, record, limit, fail);
        const whole = await file.read(start, start + length);
        checkChecksum(crc32(whole));
        return [whole];
      }
      const parts = ranges.map(({ begin, end }) => new Uint8Array(end - begin));
      let at = 0;
      for await (const piece of pieces()) {
        const next = at + piece.length;
        for (const [i, { begin, end }] of ranges.entries()) {
          const [from, to] = [Math.max(at, begin), Math.min(next, end)];
          if (from < to) parts[i]!.set(piece.subarray(from - at, to - at), from - begin);
        }
        at = next;
      }
      return parts;
    },
  };
}

async function* storedPieces(file: WeightFile, start: number, length: number): AsyncGenerator<Uint8Array, void> {
  for (let at = 0; at < length; at += pieceBytes)
    yield await file.read(start + at, start + Math.min(length, at + pieceBytes));
}

/** What the platform's own decompression makes of the pieces. */
async function* inflated(
  pieces: AsyncGenerator<Uint8Array, void>,
  name: string,
  fail: Fail,
): AsyncGenerator<Uint8Array, void> {
  let failure: unknown;
  const source = new ReadableStream<Uint8Array<ArrayBuffer>>({
    async pull(controller) {
      try {
        const { done, value } = await pieces.next();
        if (done) controller.close();
        else controller.enqueue(value as Uint8Array<ArrayBuffer>);
      } catch (error) {
        failure = error;
        controller.error(error);
      }
    },
    async cancel() {
      await pieces.return();
    },
  });
  const reader = source.pipeThrough(new DecompressionStream('deflate-raw')).getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } catch (error) {
    if (failure !== undefined) throw failure;
    if (error instanceof TypeError)
      throw fail(`entry "${escapeText(name)}" has compressed bytes that are damaged`, damagedHint);
    throw error;
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

const damagedHint = 'fetch the file again';

/** A 64-bit length or offset as a number. */
function number64(view: DataView, offset: number, fileLength: number, fail: Fail): number {
  const value = view.getBigUint64(offset, true);
  if (value > BigInt(fileLength)) throw fail('a length or offset is larger than the file');
  return Number(value);
}

/** Where the central directory is, from the records at the end of the file. */
async function findDirectory(file: WeightFile, fail: Fail): Promise<Directory> {
  // The end of the file; positions below count from its beginning.
  const tailStart = Math.max(0, file.length - endSize - locatorSize - end64Size);
  const tail = await file.read(tailStart, file.length);
  const view = new DataView(tail.buffer, tail.byteOffset, tail.byteLength);
  const number64At = (offset: number): number => number64(view, offset, file.length, fail);
  const end = tail.length - endSize;
  if (end < 0 || view.getUint32(end, true) !== 0x06054b50 || view.getUint16(end + 20, true) !== 0)
    throw fail(
      'its directory, which must be at the end of the file, is not there: the file is cut off, or has something appended',
      'the download or copy is incomplete; fetch the file again',
    );
  const disks = view.getUint32(end + 4, true);
  const counts = [view.getUint16(end + 8, true), view.getUint16(end + 10, true)] as const;
  let count: number = counts[1];
  let size = view.getUint32(end + 12, true);
  let start = view.getUint32(end + 16, true);
  let limit = tailStart + end;
  const locator = end - locatorSize;
  const needs64 = count === saturated16 || size === saturated32 || start === saturated32;
  if (locator >= 0 && view.getUint32(locator, true) === 0x07064b50) {
    const end64 = number64At(locator + 8) - tailStart;
    if (end64 < 0 || end64 !== locator - end64Size || view.getUint32(end64, true) !== 0x06064b50)
      throw fail('the 64-bit end of the directory is not where it is said to be');
    const wide = {
      count: number64At(end64 + 32),
      size: number64At(end64 + 40),
      start: number64At(end64 + 48),
    };
    const agrees =
      view.getUint32(locator + 4, true) === 0 &&
      view.getUint32(locator + 16, true) === 1 &&
      view.getBigUint64(end64 + 4, true) === BigInt(end64Size - 12) &&
      view.getBigUint64(end64 + 16, true) === 0n &&
      number64At(end64 + 24) === wide.count &&
      (count === saturated16 || count === wide.count) &&
      (size === saturated32 || size === wide.size) &&
      (start === saturated32 || start === wide.start);
    if (!agrees) throw fail('the 64-bit end of the directory contradicts the other one');
    ({ count, size, start } = wide);
    limit = tailStart + end64;
  } else if (needs64) throw fail('the 64-bit end of the directory is missing');
  if (disks !== 0 || counts[0] !== counts[1]) throw fail('archives in several parts are not supported');
  if (count > maximumEntries) throw fail(`has ${count} entries, at most ${maximumEntries} are allowed`);
  if (size > maximumDirectoryBytes)
    throw fail(`has a directory of ${size} bytes, at most ${maximumDirectoryBytes} are allowed`);
  if (start + size !== limit) throw fail('the directory is not where it is said to be');
  return { start, end: limit, count };
}

function readRecords(
  bytes: Uint8Array,
  directory: Directory,
  { fileLength, compressed, fail }: { fileLength: number; compressed: boolean; fail: Fail },
): Record[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const records: Record[] = [];
  let offset = 0;
  for (let i = 0; i < directory.count; i++) {
    if (offset + 46 > bytes.length || view.getUint32(offset, true) !== 0x02014b50)
      throw fail(`record ${i} of the directory is damaged`);
    const nameLength = view.getUint16(offset + 28, true);
    const extraLength = view.getUint16(offset + 30, true);
    const next = offset + 46 + nameLength + extraLength + view.getUint16(offset + 32, true);
    if (next > bytes.length) throw fail(`record ${i} of the directory is cut off`);
    const name = entryName(bytes.subarray(offset + 46, offset + 46 + nameLength), fail);
    const label = `entry "${escapeText(name)}"`;
    const flags = view.getUint16(offset + 8, true);
    if ((flags & ~allowedFlags) !== 0) throw fail(`${label} is encrypted or has flags that are not supported`);
    const method = view.getUint16(offset + 10, true);
    const isCompressed = method === 8 && compressed;
    if (method !== 0 && !isCompressed)
      throw fail(`${label} is compressed; only ${compressed ? 'deflated and ' : ''}stored entries are read`);
    if (view.getUint16(offset + 34, true) !== 0) throw fail(`${label} is in another part of the archive`);
    if (((view.getUint32(offset + 38, true) >>> 16) & 0xf000) === linkType) throw fail(`${label} is a symbolic link`);
    const extra = { start: offset + 46 + nameLength, length: extraLength };
    const wide = wideFields(view, extra, fileLength, fail);
    const field = (at: number): number => {
      const value = view.getUint32(at, true);
      return value === saturated32 ? wide() : value;
    };
    // In the order in which the 64-bit values are kept.
    const length = field(offset + 24);
    const stored = field(offset + 20);
    const header = field(offset + 42);
    if (stored !== length && !isCompressed) throw fail(`${label} has two lengths, ${stored} and ${length}`);
    const checksum = view.getUint32(offset + 16, true);
    records.push({ name, nameLength, flags, checksum, isCompressed, length, stored, header });
    offset = next;
  }
  if (offset !== bytes.length) throw fail('the directory holds more than its entries');
  return records;
}

/** Reads the 64-bit values of a record one after the other, where there are any. */
function wideFields(
  view: DataView,
  extra: { start: number; length: number },
  fileLength: number,
  fail: Fail,
): () => number {
  let position = -1;
  let limit = -1;
  const end = extra.start + extra.length;
  for (let at = extra.start; at + 4 <= end; at += 4 + view.getUint16(at + 2, true))
    if (view.getUint16(at, true) === 1) {
      position = at + 4;
      limit = Math.min(end, position + view.getUint16(at + 2, true));
    }
  return () => {
    if (position < 0 || position + 8 > limit) throw fail('a 64-bit length is missing');
    position += 8;
    return number64(view, position - 8, fileLength, fail);
  };
}

/** Checks that the header before the content says what the directory says; returns where the content begins. */
async function checkLocalHeader(file: WeightFile, record: Record, limit: number, fail: Fail): Promise<number> {
  const { header, flags, length, stored, checksum } = record;
  const label = `entry "${escapeText(record.name)}"`;
  const bytes = await file.read(header, header + localHeaderSize + record.nameLength);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(0, true) !== 0x04034b50) throw fail(`${label} does not begin where the directory says`);
  const nameLength = view.getUint16(26, true);
  const extra = { start: localHeaderSize + nameLength, length: view.getUint16(28, true) };
  const start = header + extra.start + extra.length;
  if (start + stored > limit) throw fail(`${label} reaches into the directory`);
  const name = nameLength === record.nameLength ? entryName(bytes.subarray(localHeaderSize), fail) : undefined;
  const whole = await file.read(header, start);
  const wide = wideFields(new DataView(whole.buffer, whole.byteOffset, whole.byteLength), extra, file.length, fail);
  const given = [14, 22, 18].map((at) => view.getUint32(at, true)) as [number, number, number];
  // With bit 3 the values come after the data, and stand as 0 here.
  const isDeferred = (flags & 8) !== 0;
  const isRight = (value: number, expected: number) => value === expected || (isDeferred && value === 0);
  // NumPy keeps the lengths in 64 bits however short an entry is.
  const isRightLength = (value: number, expected: number) =>
    value === saturated32 ? isRight(wide(), expected) : isRight(value, expected);
  const sameSizes = isRight(given[0], checksum) && isRightLength(given[1], length) && isRightLength(given[2], stored);
  const sameKind = view.getUint16(6, true) === flags && view.getUint16(8, true) === (record.isCompressed ? 8 : 0);
  if (name !== record.name || !sameKind || !sameSizes)
    throw fail(`${label} has a header that contradicts the directory`);
  return start;
}

/** A relative name without tricks. Nothing is ever extracted; such names still mean that the archive is hostile. */
function entryName(bytes: Uint8Array, fail: Fail): string {
  let name: string;
  try {
    name = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw fail('the name of an entry is not UTF-8');
  }
  const isPlain = name !== '' && !/^[/\\]|\\|^[a-zA-Z]:|\0/.test(name) && !name.split('/').includes('..');
  if (!isPlain) throw fail(`the name "${escapeText(name)}" of an entry leads out of the archive`);
  return name;
}
