import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { missingLibraries, neededLibraries } from './needed-libraries.js';
import { findOrt } from './ort-files.js';

const folder = mkdtempSync(join(tmpdir(), 'dimo-needed-'));
afterAll(() => rmSync(folder, { recursive: true }));

describe.skipIf(process.platform !== 'linux')('what a library needs', () => {
  const { library } = findOrt('cpu')!;

  it('is read from it', () => {
    const { names } = neededLibraries(library)!;
    // What every program in C++ on Linux needs.
    expect(names).toEqual(expect.arrayContaining(['libc.so.6', 'libm.so.6']));
    expect(names.every((name) => /^[\w+.-]+\.so(\.\d+)*$/.test(name))).toBe(true);
  });

  it('is missing where it does not load, each by its name', () => {
    const { names } = neededLibraries(library)!;
    const missing = new Set(['libm.so.6', 'libc.so.6']);
    const load = (name: string) => {
      if (missing.has(name)) throw new Error(`${name}: cannot open shared object file`);
    };
    expect(missingLibraries(library, () => {})).toEqual([]);
    expect(missingLibraries(library, load)).toEqual(names.filter((name) => missing.has(name)));
  });

  it('is looked for in the folders that the library names', () => {
    expect(neededLibraries(elf({ names: ['liba.so', 'libb.so.2'], runPath: '$ORIGIN/../lib:/opt/b' }))).toEqual({
      names: ['liba.so', 'libb.so.2'],
      folders: [`${folder}/../lib`, '/opt/b'],
      isCut: false,
    });
    const file = elf({ names: ['liba.so'], runPath: '$ORIGIN' });
    writeFileSync(join(dirname(file), 'liba.so'), '');
    const asked: string[] = [];
    missingLibraries(file, (name) => asked.push(name));
    expect(asked).toEqual([join(folder, 'liba.so')]);
  });

  it('is not known of a file that ends too early, which loading would not survive', () => {
    const whole = readFileSync(elf({ names: ['liba.so'], runPath: '$ORIGIN' }));
    for (const length of [64, 100, whole.length - 1]) {
      const file = join(folder, 'cut.so');
      writeFileSync(file, whole.subarray(0, length));
      expect([length, neededLibraries(file)]).toEqual([length, { names: [], folders: [], isCut: true }]);
    }
    expect(neededLibraries(library)!.isCut).toBe(false);
  });

  it('is not known of other files', () => {
    const text = join(folder, 'text');
    writeFileSync(text, 'not a library');
    expect(neededLibraries(text)).toBeUndefined();
    expect(missingLibraries(text, () => {})).toEqual([]);
  });
});

/** The least of a library: a header, two program headers, texts and a dynamic section. */
function elf({ names, runPath }: { names: readonly string[]; runPath: string }): string {
  const texts = Buffer.from(`\0${[...names, runPath].join('\0')}\0`);
  const placeOf = (text: string) => texts.indexOf(`\0${text}\0`) + 1;
  const textsAt = 64 + 2 * 56;
  const address = 0x10000; // of the whole file in memory
  const rows = [[5, address + textsAt], ...names.map((name) => [1, placeOf(name)]), [29, placeOf(runPath)], [0, 0]];
  const dynamic = Buffer.concat(
    rows.map(([kind, value]) => {
      const row = Buffer.alloc(16);
      row.writeBigInt64LE(BigInt(kind!), 0);
      row.writeBigUInt64LE(BigInt(value!), 8);
      return row;
    }),
  );
  const dynamicAt = textsAt + texts.length;
  const header = Buffer.alloc(64);
  header.writeUInt32BE(0x7f454c46, 0);
  header.set([2, 1, 1], 4);
  header.writeBigUInt64LE(64n, 32);
  header.writeUInt16LE(56, 54);
  header.writeUInt16LE(2, 56);
  const program = (kind: number, offset: number, length: number) => {
    const row = Buffer.alloc(56);
    row.writeUInt32LE(kind, 0);
    for (const [place, value] of [
      [8, offset],
      [16, address + offset],
      [32, length],
    ] as const)
      row.writeBigUInt64LE(BigInt(value), place);
    return row;
  };
  const programs = [program(1, 0, dynamicAt + dynamic.length), program(2, dynamicAt, dynamic.length)];
  const file = join(folder, 'library.so');
  writeFileSync(file, Buffer.concat([header, ...programs, texts, dynamic]));
  return file;
}
