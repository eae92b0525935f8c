/**
 * Which libraries a library needs and this system does not have. The loader stops at the first that is missing; people want
 * to know all.
 */
import { closeSync, existsSync, fstatSync, openSync, readSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** What a library says of its needs. */
export interface LibraryNeeds {
  readonly names: readonly string[];
  /** Folders that it has the loader look in; `$ORIGIN` is its own. */
  readonly folders: readonly string[];
  /** Whether the file ends before what is to be loaded of it does: the loader would not notice, and kill the process. */
  readonly isCut: boolean;
}

/** Kinds of entries of program headers and of the dynamic section. */
const segment = { loaded: 1, dynamic: 2 };
const entry = { end: 0, needed: 1, texts: 5, runPath: 15, runPathNew: 29 };

const cut: LibraryNeeds = { names: [], folders: [], isCut: true };

/** Reads the needs of a library of Linux. @returns undefined if it is not a 64-bit ELF file. */
export function neededLibraries(file: string): LibraryNeeds | undefined {
  const handle = openSync(file, 'r');
  try {
    const read = (position: number, length: number): Buffer => {
      const bytes = Buffer.alloc(length);
      return bytes.subarray(0, readSync(handle, bytes, 0, length, position));
    };
    const header = read(0, 64);
    // "\x7fELF", 64 bits, little end first.
    if (header.length < 64 || header.readUInt32BE(0) !== 0x7f454c46 || header[4] !== 2 || header[5] !== 1)
      return undefined;
    const [size, count] = [header.readUInt16LE(54), header.readUInt16LE(56)];
    const table = read(Number(header.readBigUInt64LE(32)), size * count);
    if (table.length < size * count) return cut;
    const segments = Array.from({ length: count }, (_, i) => {
      const row = table.subarray(i * size, (i + 1) * size);
      const numberAt = (place: number) => Number(row.readBigUInt64LE(place));
      return { kind: row.readUInt32LE(0), offset: numberAt(8), address: numberAt(16), length: numberAt(32) };
    });
    const end = fstatSync(handle).size;
    if (segments.some(({ offset, length }) => offset + length > end)) return cut;
    const dynamic = segments.find(({ kind }) => kind === segment.dynamic);
    if (!dynamic) return { names: [], folders: [], isCut: false };
    const bytes = read(dynamic.offset, dynamic.length);
    const entries: { kind: number; value: number }[] = [];
    for (let place = 0; place + 16 <= bytes.length; place += 16) {
      const kind = Number(bytes.readBigInt64LE(place));
      if (kind === entry.end) break;
      entries.push({ kind, value: Number(bytes.readBigUInt64LE(place + 8)) });
    }
    const address = entries.find(({ kind }) => kind === entry.texts)?.value ?? 0;
    const home = segments.find(
      ({ kind, address: start, length }) => kind === segment.loaded && address >= start && address < start + length,
    );
    const start = home ? address - home.address + home.offset : address;
    const textAt = (place: number): string => {
      const text = read(start + place, 4096);
      return text.toString('utf8', 0, Math.max(0, text.indexOf(0)));
    };
    const textsOf = (...kinds: number[]) =>
      entries.filter(({ kind }) => kinds.includes(kind)).map(({ value }) => textAt(value));
    return {
      names: textsOf(entry.needed),
      folders: textsOf(entry.runPath, entry.runPathNew)
        .flatMap((path) => path.split(':'))
        .map((folder) => folder.replaceAll(/\$ORIGIN|\$\{ORIGIN\}/g, dirname(file))),
      isCut: false,
    };
  } finally {
    closeSync(handle);
  }
}

/**
 * Needed libraries that do not load.
 *
 * @param load - throws if a library cannot be loaded, by name or path.
 */
export function missingLibraries(file: string, load: (library: string) => unknown): string[] {
  const { names, folders } = neededLibraries(file) ?? { names: [], folders: [] };
  const places = [dirname(file), ...folders];
  return names.filter((name) => {
    const found = places.map((folder) => join(folder, name)).find((path) => existsSync(path));
    try {
      load(found ?? name);
      return false;
    } catch {
      return true;
    }
  });
}
