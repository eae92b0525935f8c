/**
 * Robustness of the reader of torch files. Laws: a hostile file ends as one DimoError; nothing in a file is executed;
 * whatever is read agrees with the bytes; nothing is allocated by an unchecked number.
 */
import { DimoError } from '../../errors.js';
import { randomStream } from '../../random/random.js';
import { bytesAsWeightFile } from '../../storage/weight-source.js';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { crc32, portableCrc32 } from './crc32.js';
import { readPickle } from './pickle.js';
import type { PickleDict, PickleGlobal, PickleList } from './pickle-values.js';
import { PickleTuple } from './pickle-values.js';
import { readTorchStateDict } from './state-dict.js';
import {
  bytesOf,
  integer,
  stateDict,
  tensor,
  text,
  torchZip,
  uint32,
  zip,
  type WrittenEntry,
} from './test-support/torch-writer.js';
import { readZip as readZipFile } from './zip.js';

const readZip = (bytes: Uint8Array) => readZipFile(bytesAsWeightFile(bytes));

const six = Float32Array.of(0, 1, 2, 3, 4, 5);
const plain = { key: '0', numElements: 6, offset: 0, shape: [2, 3], strides: [3, 1] };
const goodFile = () =>
  torchZip(stateDict({ weight: tensor(plain), other: tensor({ ...plain, shape: [6], strides: [1] }) }), { 0: six });

/** The error's message; anything but a DimoError fails the test. */
async function refusal(run: () => unknown): Promise<string> {
  try {
    await run();
  } catch (error) {
    if (!DimoError.isInstance(error)) throw error;
    return error.message;
  }
  throw new Error('was not refused');
}
const pickleRefusal = (...parts: (string | number | Uint8Array)[]) => refusal(() => readPickle(bytesOf(...parts)));

describe('well-made files', () => {
  it('are read through views', async () => {
    const transposed = tensor({ ...plain, shape: [3, 2], strides: [1, 3] });
    const shifted = tensor({ ...plain, offset: 2, shape: [2], strides: [3] });
    const tree = await readTorchStateDict(torchZip(stateDict({ transposed, shifted }), { 0: six }));
    expect(Array.from(tree['transposed']!.data)).toEqual([0, 3, 1, 4, 2, 5]);
    expect(Array.from(tree['shifted']!.data)).toEqual([2, 5]);
  });

  it('keep names such as __proto__ as plain names', async () => {
    const tree = await readTorchStateDict(torchZip(stateDict({ ['__proto__']: tensor(plain) }), { 0: six }));
    expect(Object.keys(tree)).toEqual(['__proto__']);
    expect(({} as Record<string, unknown>)['shape']).toBeUndefined();
  });

  it('have the checksum of zip archives', () => {
    // The check value of CRC-32 in the catalogue of parametrised CRC algorithms.
    for (const checksum of [crc32, portableCrc32]) {
      expect(checksum(new TextEncoder().encode('123456789'))).toBe(0xcbf43926);
      expect(checksum(new TextEncoder().encode('56789'), checksum(new TextEncoder().encode('1234')))).toBe(0xcbf43926);
    }
    fc.assert(fc.property(fc.uint8Array(), (bytes) => portableCrc32(bytes) === crc32(bytes)));
  });
});

describe('pickles', () => {
  it('of every protocol are read as data', () => {
    const value = (...parts: (string | Uint8Array)[]) => readPickle(bytesOf(...parts, '.')).value;
    expect(value('I42\n')).toBe(42);
    expect(value('I01\n')).toBe(true);
    expect(value('L-12345678901234567890L\n')).toBe(-12345678901234567890n);
    expect(value('F1.5e3\n')).toBe(1500);
    expect(value('Vword\n')).toBe('word');
    expect(value('\x80\x02\x8a\x02\xff\x7f')).toBe(32767);
    expect(value('\x80\x02\x8a\x01\xff')).toBe(-1);
    expect(value('\x80\x02\x8a\x00')).toBe(0);
    expect(value('\x80\x02J', uint32(0xfffffffe))).toBe(-2);
    expect(value('\x80\x02G', Uint8Array.of(0x3f, 0xb9, 0x99, 0x99, 0x99, 0x99, 0x99, 0x9a))).toBe(0.1);
    expect(value('\x80\x04\x95\x06\x00\x00\x00\x00\x00\x00\x00\x8c\x03', 'abc', '\x94')).toBe('abc');
    expect((value('(K\x01K\x02l') as PickleList).items).toEqual([1, 2]);
    expect((value('\x80\x02K\x01K\x02K\x03\x87') as PickleTuple).items).toEqual([1, 2, 3]);
    const dict = value('(K\x01Vone\nd') as PickleDict;
    expect([...dict.entries]).toEqual([[1, 'one']]);
    expect((value('\x80\x02cpytorch_lightning.x\nModelCheckpoint\n') as PickleGlobal).name).toBe('ModelCheckpoint');
  });

  describe('that want more than data are refused by name', () => {
    it.each([
      ['os.system', 'cos\nsystem\n(Vtouch /canary\ntR.'],
      ['os.system', 'cos\nsystem\n.'],
      ['posix.system', 'cposix\nsystem\n(Vx\ntR.'],
      ['builtins.eval', 'cbuiltins\neval\n(V1\ntR.'],
      ['__builtin__.exec', 'c__builtin__\nexec\n(V1\ntR.'],
      ['pkgutil.resolve_name', 'cpkgutil\nresolve_name\n(Vos:system\ntR.'],
      ['torch.hub.load', 'ctorch.hub\nload\n(Vx\ntR.'],
      ['torch.storage._load_from_bytes', 'ctorch.storage\n_load_from_bytes\n(B\x00\x00\x00\x00tR.'],
      ['os.system', '\x80\x04\x8c\x02os\x8c\x06system\x93.'],
      ['torch.serialization.os.system', '\x80\x04\x8c\x13torch.serialization\x8c\x09os.system\x93.'],
      ['torch.__builtins__', 'ctorch\n__builtins__\n.'],
      ['os.system', '(Vx\nios\nsystem\n.'],
      ['os.system', '(cos\nsystem\nVx\no.'],
      ['subprocess.Popen', 'csubprocess\nPopen\n)\x81.'],
      ['subprocess.Popen', 'csubprocess\nPopen\n)}\x92.'],
      ['EXT1', '\x82\x01.'],
      ['EXT2', '\x83\x01\x00.'],
      ['EXT4', '\x84\x01\x00\x00\x00.'],
      ['PERSID', 'Pstorage\n.'],
      ['STRING', "S'x'\n."],
      ['NEXT_BUFFER', '\x97.'],
      ['READONLY_BUFFER', 'K\x01\x98.'],
      ['state', 'cmodule\nClass\n}b.'],
      ['no function', 'K\x01)R.'],
      ['without a tuple', 'ccollections\nOrderedDict\nK\x01R.'],
      ['persistent id', 'Vstorage\nQ.'],
      ['persistent id', '(Vstorage\ncos_\nx\nV0\nVcpu\nVmany\ntQ.'],
      ['storage of the type', '(Vstorage\ncmodule\nFloatStorage\nV0\nVcpu\nK\x01tQ.'],
    ])('%s', async (name, pickle) => expect(await pickleRefusal(pickle)).toContain(name));
  });

  it('with each of the 256 opcodes alone end as an error', async () => {
    for (let opcode = 0; opcode < 256; opcode++) {
      if (opcode === 0x2e) continue;
      expect(await pickleRefusal(opcode)).toMatch(/^pickle, byte \d+: /);
    }
  });

  it.each([
    ['a value left over', ['K\x01K\x02.'], /left over/],
    ['no value', ['.'], /not there/],
    ['a mark as value', ['(.'], /not there/],
    ['an unknown memo', ['h\x05.'], /was not remembered/],
    ['an odd dictionary', ['(K\x01d.'], /key without a value/],
    ['an integer of 2^31 bytes', ['\x8b\x00\x00\x00\x80'], /integer of 2147483648 bytes/],
    ['an integer of too many digits', ['I', '9'.repeat(5000), '\n.'], /malformed integer/],
    ['a string longer than the file', ['X\xff\xff\xff\xffabc'], /cut off/],
    ['a string of 2^63 bytes', ['\x8d\x00\x00\x00\x00\x00\x00\x00\x80'], /cut off/],
    ['text that is not UTF-8', ['X\x01\x00\x00\x00\xff.'], /not UTF-8/],
    ['protocol 6', ['\x80\x06K\x01.'], /protocol 6/],
    ['a frame beyond the file', ['\x95\xff\x00\x00\x00\x00\x00\x00\x00K\x01.'], /cut off/],
  ] as const)('with %s are refused', async (_, parts, message) =>
    expect(await pickleRefusal(...parts)).toMatch(message),
  );

  it('do not grow without bound', async () => {
    expect(await pickleRefusal('('.repeat(1_000_001))).toMatch(/1000000 values on its stack/);
    expect(await pickleRefusal('N', '2'.repeat(1_000_001))).toMatch(/1000000 values on its stack/);
    const memo = new Uint8Array(1 + 1_000_001).fill(0x94);
    memo[0] = 0x4e;
    expect(await pickleRefusal(memo)).toMatch(/remembers more than 1000000/);
    const appends = bytesOf(']', ...Array.from({ length: 5 }, () => `(${'N'.repeat(900_000)}e`));
    expect(await pickleRefusal(appends)).toMatch(/holds more than 4000000 items/);
    expect(await pickleRefusal('N0'.repeat(2_500_001))).toMatch(/more than 5000000 instructions/);
    expect(await pickleRefusal(')0'.repeat(600_001))).toMatch(/more than 600000 lists, tuples and dictionaries/);
  });

  it('may be deep and may hold themselves', async () => {
    const deep = bytesOf(')', '\x85'.repeat(599_999), '.');
    expect(readPickle(deep).value).toBeInstanceOf(PickleTuple);
    const self = readPickle(bytesOf(']q\x00h\x00a.')).value as PickleList;
    expect(self.items[0]).toBe(self);
    expect(await refusal(() => readTorchStateDict(torchZip(bytesOf('}q\x00', text('self'), 'h\x00s.'))))).toMatch(
      /no state dict/,
    );
  });
});

describe('views of storages', () => {
  const read = async (view: Partial<typeof plain> & { numElements?: number | bigint }) =>
    (await readTorchStateDict(torchZip(stateDict({ weight: tensor({ ...plain, ...view }) }), { 0: six })))['weight']!;

  it.each([
    ['an offset beyond the end', { offset: 1 }],
    ['a stride beyond the end', { strides: [4, 1] }],
    ['a negative offset', { offset: -1 }],
    ['a negative stride', { strides: [-3, 1] }],
    ['a negative length', { shape: [-2, 3] }],
    ['more strides than axes', { strides: [3, 1, 1] }],
    ['nine axes', { shape: [1, 1, 1, 1, 1, 1, 1, 1, 1], strides: [1, 1, 1, 1, 1, 1, 1, 1, 1] }],
    ['a storage larger than its data', { numElements: 7 }],
    ['a storage of 2^60 elements', { numElements: 2n ** 60n }],
    ['2^40 repetitions of one element', { shape: [2 ** 40], strides: [0] }],
    ['lengths whose product overflows', { shape: [4194305, 4194305, 211106198978564], strides: [0, 0, 0] }],
  ])('with %s are refused', async (_, view) => {
    await refusal(() => read(view as Partial<typeof plain>));
  });

  it('are read exactly if, and only if, they lie inside (2000 random ones)', async () => {
    const small = fc.integer({ min: -1, max: 4 });
    const axes = fc.array(fc.tuple(small, small), { maxLength: 3 });
    await fc.assert(
      fc.asyncProperty(axes, fc.integer({ min: -1, max: 7 }), async (pairs, offset) => {
        const shape = pairs.map(([length]) => length);
        const strides = pairs.map(([, stride]) => stride);
        const isEmpty = shape.includes(0);
        const last = shape.reduce((sum, length, axis) => sum + (length - 1) * strides[axis]!, offset);
        const isValid =
          offset >= 0 && [...shape, ...strides].every((x) => x >= 0) && (isEmpty ? offset <= 6 : last < 6);
        if (!isValid) {
          await refusal(() => read({ offset, shape, strides }));
          return;
        }
        const expected: number[] = [];
        const walk = (axis: number, at: number): void => {
          if (axis === shape.length) expected.push(six[at]!);
          else for (let i = 0; i < shape[axis]!; i++) walk(axis + 1, at + i * strides[axis]!);
        };
        walk(0, offset);
        expect(Array.from((await read({ offset, shape, strides })).data)).toEqual(expected);
      }),
      { numRuns: 2000, seed: 20 },
    );
  });
});

describe('zip archives', () => {
  const content = Uint8Array.of(1, 2, 3, 4);
  const entry = (changes: Partial<WrittenEntry> = {}): WrittenEntry => ({ name: 'a/b', content, ...changes });

  const contentOf = async (archive: Uint8Array) => (await readZip(archive)).get('a/b')!.read();

  it('are read with and without the 64-bit end', async () => {
    for (const end of [{}, { wide: {} }]) expect(await contentOf(zip([entry()], end))).toEqual([content]);
    // Saturated fields refer to the 64-bit ones. The directory of one entry with a 3-byte name has 49 bytes.
    const archive = zip([entry()]);
    const start = archive.length - 22 - 49;
    const wide = { count: 1, size: 49, start };
    const saturated = zip([entry()], { count: 0xffff, size: 0xffffffff, start: 0xffffffff, wide });
    expect(await contentOf(saturated)).toEqual([content]);
  });

  const hostile: [string, Uint8Array, RegExp][] = [
    ['a compressed entry', zip([entry({ method: 8 })]), /compressed; only stored entries/],
    ['an entry that is compressed by its own header only', zip([entry({ localMethod: 8 })]), /contradicts/],
    ['a bomb', zip([entry({ method: 8, length: 2 ** 32 - 2, stored: 4 })]), /compressed; only stored entries/],
    ['two lengths', zip([entry({ stored: 3 })]), /two lengths/],
    ['an encrypted entry', zip([entry({ flags: 1 })]), /encrypted/],
    ['strong encryption', zip([entry({ flags: 0x40 })]), /encrypted/],
    ['a symbolic link', zip([entry({ attributes: 0xa1ff0000 })]), /symbolic link/],
    ['another name in the header', zip([entry({ localName: 'a/c' })]), /contradicts/],
    ['another length in the header', zip([entry({ localLength: 3 })]), /contradicts/],
    ['a name twice', zip([entry(), entry()]), /twice/],
    [
      'overlapping entries',
      zip([entry(), entry({ name: 'a/c', header: 0, localName: 'a/b' })]),
      /overlaps|contradicts/,
    ],
    ['an entry into the directory', zip([entry({ length: 40 })]), /directory|cut off/],
    ['an entry beyond the file', zip([entry({ length: 4000 })]), /into the directory/],
    ['a header beyond the file', zip([entry({ header: 5000 })]), /into the directory/],
    ['a climbing name', zip([entry({ name: '../x' })]), /leads out/],
    ['a climbing name in the middle', zip([entry({ name: 'a/../../x' })]), /leads out/],
    ['an absolute name', zip([entry({ name: '/etc/x' })]), /leads out/],
    ['a drive', zip([entry({ name: 'C:\\x' })]), /leads out/],
    ['a backslash', zip([entry({ name: 'a\\..\\x' })]), /leads out/],
    ['a name with a zero byte', zip([entry({ name: 'a\0b' })]), /leads out/],
    ['an empty name', zip([entry({ name: '' })]), /leads out/],
    ['a name that is not UTF-8', zip([entry({ name: Uint8Array.of(0xff, 0xfe) })]), /not UTF-8/],
    ['a comment', zip([entry()], { comment: 'hello' }), /cut off, or has something appended/],
    ['too many entries', zip([entry()], { wide: { count: 2 }, count: 0xffff }), /damaged|cut off/],
    ['too few entries', zip([entry(), entry({ name: 'c' })], { count: 1 }), /more than its entries/],
    ['200,000 entries', zip([entry()], { wide: { count: 200_000 }, count: 0xffff }), /larger than the file/],
    ['a directory elsewhere', zip([entry()], { start: 3 }), /not where it is said/],
    ['a 64-bit end elsewhere', zip([entry()], { wide: { at: 3 } }), /64-bit end/],
    ['a 64-bit end that contradicts', zip([entry()], { wide: { size: 7 } }), /contradicts/],
    ['a missing 64-bit end', zip([entry()], { size: 0xffffffff }), /64-bit end .* missing/],
  ];
  /** Opens the archive and reads every entry. */
  async function readAll(archive: Uint8Array): Promise<void> {
    for (const found of (await readZip(archive)).values()) await found.read();
  }
  it.each(hostile)('with %s are refused', async (_, archive, message) =>
    expect(await refusal(() => readAll(archive))).toMatch(message),
  );

  it('with a wrong checksum are refused when the entry is read', async () => {
    const entries = await readZip(zip([entry({ checksum: 7 })]));
    expect(await refusal(() => entries.get('a/b')!.read())).toMatch(/checksum/);
  });
});

describe('damaged files', () => {
  it('end as a DimoError or are read, never anything else (10,000 mutations)', async () => {
    const good = goodFile();
    const whole = await readTorchStateDict(good);
    expect(Object.keys(whole)).toEqual(['weight', 'other']);
    let numRead = 0;
    for (let i = 0; i < 10_000; i++) {
      const random = randomStream(6, i, 'mutations');
      const [kind, at, count, value] = random.integers(4, 2 ** 16) as unknown as [number, number, number, number];
      const position = at % good.length;
      let bytes = good.slice();
      if (kind % 4 === 0) bytes = bytes.slice(0, position);
      else if (kind % 4 === 1)
        for (let k = 0; k <= count % 3; k++) bytes[(position + 7 * k) % bytes.length] = value + k;
      else if (kind % 4 === 2) bytes = bytesOf(bytes.subarray(0, position), value & 255, bytes.subarray(position));
      else
        bytes = bytesOf(
          bytes.subarray(0, position),
          bytes.subarray(Math.min(bytes.length, position + 1 + (count % 4))),
        );
      try {
        await readTorchStateDict(bytes);
        numRead++;
      } catch (error) {
        if (!DimoError.isInstance(error)) throw error;
      }
    }
    // Bytes that nothing depends on, such as time stamps.
    expect(numRead).toBeLessThan(1500);
  });

  it('of the pickle alone do the same, past the checksum (10,000 mutations)', () => {
    const good = stateDict({ weight: tensor(plain), other: integer(5) });
    for (let i = 0; i < 10_000; i++) {
      const [at, value, second] = randomStream(7, i, 'mutations').integers(3, 2 ** 16) as unknown as [
        number,
        number,
        number,
      ];
      const bytes = good.slice();
      bytes[at % bytes.length] = value;
      if (second % 2) bytes[(at * 31) % bytes.length] = second;
      try {
        readPickle(bytes);
      } catch (error) {
        if (!DimoError.isInstance(error)) throw error;
      }
    }
  });

  it('that are no torch files say what was expected', async () => {
    expect(await refusal(() => readTorchStateDict(new Uint8Array()))).toMatch(/not a file of torch.save/);
    expect(await refusal(() => readTorchStateDict(torchZip(bytesOf(']', '.'))))).toMatch(/other than a dictionary/);
    expect(await refusal(() => readTorchStateDict(torchZip(stateDict({ a: integer(1) }))))).toMatch(
      /no state dict; the keys are a/,
    );
    expect(await refusal(() => readTorchStateDict(torchZip(stateDict({ weight: tensor(plain) }))))).toMatch(
      /storage "0" is missing/,
    );
  });
});
