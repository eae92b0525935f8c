/** Rows A1 to A7: hostile and damaged weight files. */
import {
  checkWeights,
  DimoError,
  escapeText,
  float32,
  NonFiniteError,
  parseSafetensorsHeader,
  readSafetensors,
  WeightError,
  writeSafetensors,
} from '@dimo/core';
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { buildChild, startChild } from './child-programs.js';

const seed = Number(process.env['DIMO_FUZZ_SEED'] ?? 20240711);
const numMutations = Number(process.env['DIMO_FUZZ_FILES'] ?? 10_000);
const filesPerChild = 500;
/** A child that reports no progress for this long hangs (20 files; a busy machine needs a few milliseconds each). */
const watchdogMs = 20_000;

/** A file of the given header text and zeros. */
function fileOf(header: string | Uint8Array, dataLength: number): Uint8Array {
  const json = Buffer.from(header);
  const bytes = new Uint8Array(8 + json.length + dataLength);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
  bytes.set(json, 8);
  return bytes;
}

/** A header from entries written as JSON text. */
function headerOf(entries: Readonly<Record<string, { dtype?: string; shape: string; offsets: string }>>): string {
  const parts = Object.entries(entries).map(
    ([name, { dtype = 'F32', shape, offsets }]) =>
      `${JSON.stringify(name)}:{"dtype":"${dtype}","shape":${shape},"data_offsets":${offsets}}`,
  );
  return `{${parts.join(',')}}`;
}

function errorOf(run: () => unknown): DimoError {
  try {
    run();
  } catch (error) {
    if (DimoError.isInstance(error)) return error;
    throw error;
  }
  throw new Error('expected an error');
}

describe('A1: mutated files', () => {
  let program: string;
  beforeAll(() => void (program = buildChild('mutated-weights')));

  it(
    `are read or refused, ${numMutations} of them, without crash, hang or excess of memory`,
    { timeout: 300_000 },
    async () => {
      const total = { accepted: 0, rejected: 0, slowestMs: 0, memoryGrowthMb: 0 };
      for (let first = 0; first < numMutations; first += filesPerChild) {
        const child = startChild(program, [seed, first, Math.min(filesPerChild, numMutations - first)].map(String), [
          '--max-old-space-size=128',
        ]);
        let watchdog = setTimeout(() => child.process.kill('SIGKILL'), watchdogMs);
        child.process.stdout?.on('data', () => {
          clearTimeout(watchdog);
          watchdog = setTimeout(() => child.process.kill('SIGKILL'), watchdogMs);
        });
        const ended = await child.ended;
        clearTimeout(watchdog);
        expect([first, ended, child.lines.at(-2)], 'first file, exit code, last progress').toEqual([
          first,
          0,
          expect.anything(),
        ]);
        const result = JSON.parse(child.lines.at(-1) ?? '') as typeof total & { foreign: string[]; fileBytes: number };
        expect(result.foreign).toEqual([]);
        expect(result.memoryGrowthMb).toBeLessThan(64 + (2 * result.fileBytes) / 2 ** 20);
        total.accepted += result.accepted;
        total.rejected += result.rejected;
        total.slowestMs = Math.max(total.slowestMs, result.slowestMs);
        total.memoryGrowthMb = Math.max(total.memoryGrowthMb, result.memoryGrowthMb);
      }
      console.log(
        `A1: seed ${seed}, ${total.rejected} refused, ${total.accepted} read, slowest ${total.slowestMs.toFixed(1)} ms, ` +
          `memory +${total.memoryGrowthMb.toFixed(0)} MB`,
      );
      expect(total.accepted + total.rejected).toBe(numMutations);
      // Were one of the two rare, the mutations would prove little.
      expect(total.accepted).toBeGreaterThan(numMutations / 50);
      expect(total.rejected).toBeGreaterThan(numMutations / 2);
    },
  );

  it('have the verdict of the reference implementation on 500 stored files', () => {
    const folder = new URL('../fixtures/safetensors-corpus/', import.meta.url);
    const bytes = new Uint8Array(readFileSync(new URL('corpus.bin', folder)));
    const { files } = JSON.parse(readFileSync(new URL('verdicts.json', folder), 'utf8')) as {
      files: { length: number; error: string }[];
    };
    const disagreements: string[] = [];
    let position = 0;
    files.forEach(({ length, error }, index) => {
      const file = bytes.subarray(position, position + length);
      position += length;
      let own = '';
      try {
        parseSafetensorsHeader(file, file.length);
      } catch (failure) {
        own = errorOf(() => {
          throw failure;
        }).message;
      }
      if ((own === '') !== (error === '')) disagreements.push(`file ${index}: "${own}", reference "${error}"`);
    });
    expect([files.length, position]).toEqual([500, bytes.length]);
    expect(disagreements).toEqual([]);
  });
});

describe('A2: headers that lie about their size', () => {
  it('are refused before anything is allocated for them', async () => {
    const child = startChild(buildChild('huge-headers'), []);
    expect(await child.ended).toBe(0);
    const { answers, growthMb } = JSON.parse(child.lines.at(-1) ?? '') as {
      answers: [string, string][];
      growthMb: number;
    };
    expect(answers.length).toBeGreaterThanOrEqual(20);
    expect(answers.filter(([, answer]) => answer !== 'weights')).toEqual([]);
    expect(growthMb).toBeLessThan(16);
  });
});

describe('A3: offsets', () => {
  const one = { shape: '[1]', offsets: '[0,4]' };
  it.each([
    ['overlap', { a: { shape: '[2]', offsets: '[0,8]' }, b: { shape: '[1]', offsets: '[4,8]' } }, 8, /overlaps/],
    ['the same range twice', { a: one, b: one }, 4, /overlaps/],
    ['a hole', { a: one, b: { shape: '[1]', offsets: '[8,12]' } }, 12, /hole before/],
    ['a hole at the start', { a: { shape: '[1]', offsets: '[4,8]' } }, 8, /hole before/],
    ['trailing bytes', { a: one }, 8, /4 bytes after the last tensor/],
    ['data without a tensor', {}, 1, /1 bytes after the last tensor/],
    ['begin after end', { a: { shape: '[1]', offsets: '[4,0]' } }, 4, /begins at 4, after its end 0/],
    ['end beyond the file', { a: { shape: '[2]', offsets: '[0,8]' } }, 4, /ends at 8, but the file holds 4/],
    ['less data than the shape', { a: { shape: '[2]', offsets: '[0,4]' } }, 4, /needs 8 bytes, its range has 4/],
    ['more data than the shape', { a: { shape: '[1]', offsets: '[0,8]' } }, 8, /needs 4 bytes, its range has 8/],
    ['one offset', { a: { shape: '[1]', offsets: '[4]' } }, 4, /data_offsets needs two/],
    ['three offsets', { a: { shape: '[1]', offsets: '[0,4,4]' } }, 4, /more than 2 numbers/],
  ])('refuses %s', (_fault, entries, dataLength, message) => {
    const error = errorOf(() => readSafetensors(fileOf(headerOf(entries), dataLength)));
    expect(error).toBeInstanceOf(WeightError);
    expect(error.message).toMatch(message);
  });

  it('accepts tensors in any order, and empty ones between them', () => {
    const entries = {
      last: { shape: '[1]', offsets: '[8,12]' },
      empty: { shape: '[0,3]', offsets: '[8,8]' },
      first: { shape: '[2]', offsets: '[0,8]' },
    };
    const { tensors } = readSafetensors(fileOf(headerOf(entries), 12));
    expect(Object.values(tensors).map(({ shape }) => shape)).toEqual([[1], [0, 3], [2]]);
  });
});

describe('A4: shapes', () => {
  const shapes = [
    '[4194305,4194305,211106198978564]', // the product is 4 modulo 2^64: published overflow
    '[4294967296,4294967296]', // 2^64
    '[2147483648,2147483648,4]',
    '[9007199254740992]',
    '[9007199254740991,2]',
    '[94906267,94906267]', // just above 2^53
    '[18446744073709551615]',
    '[18446744073709551616]',
    '[99999999999999999999999]',
    '[-1]',
    '[-1,-4]',
    '[-0]',
    '[1.0]',
    '[1.5]',
    '[0.1]',
    '[1e0]',
    '[1e308]',
    '[1E2]',
    '[1e-1]',
    '[01]',
    '[0x1]',
    '[+1]',
    '["1"]',
    '[null]',
    '[true]',
    '[NaN]',
    '[Infinity]',
    '[[1]]',
    '[1,]',
    '[,1]',
    '[1 1]',
    '1',
    '{"0":1}',
    'null',
    '[1',
    `[${'1,'.repeat(8)}1]`, // rank 9
    `[${'1,'.repeat(999_999)}1]`, // rank 10^6
  ];

  it(`refuses all of ${shapes.length} wrong ones`, () => {
    expect(shapes.length).toBeGreaterThanOrEqual(30);
    const accepted = shapes.filter((shape) => {
      const file = fileOf(headerOf({ x: { shape, offsets: '[0,4]' } }), 4);
      try {
        readSafetensors(file);
        return true;
      } catch (error) {
        if (error instanceof WeightError) return false;
        throw error;
      }
    });
    expect(accepted.map((shape) => shape.slice(0, 40))).toEqual([]);
  });

  it.each(['[4503599627370496,4503599627370496,0]', '[0,9007199254740992]'])(
    'refuses %s although its product is 0',
    (shape) => {
      expect(() => readSafetensors(fileOf(headerOf({ x: { shape, offsets: '[0,0]' } }), 0))).toThrow(WeightError);
    },
  );

  it('accepts rank 8, a scalar and white space', () => {
    for (const shape of ['[1,1,1,1,1,1,1,1]', '[]', '[ 1 ,\n1 ]'])
      expect(readSafetensors(fileOf(headerOf({ x: { shape, offsets: '[0,4]' } }), 4)).tensors['x']?.data).toHaveLength(
        1,
      );
  });
});

describe('A5: names', () => {
  it('may occur once only, however they are written', () => {
    const entry = '{"dtype":"F32","shape":[0],"data_offsets":[0,0]}';
    for (const [fault, header] of Object.entries({
      'the same tensor twice': `{"a":${entry},"a":${entry}}`,
      'the same tensor with an escape': `{"a":${entry},"\\u0061":${entry}}`,
      'the same metadata twice': `{"__metadata__":{"k":"1","k":"2"}}`,
      'metadata twice': `{"__metadata__":{},"__metadata__":{}}`,
      'dtype twice': `{"a":{"dtype":"F32","dtype":"F32","shape":[0],"data_offsets":[0,0]}}`,
      'shape twice': `{"a":{"dtype":"F32","shape":[0],"shape":[0],"data_offsets":[0,0]}}`,
    }))
      expect([fault, errorOf(() => readSafetensors(fileOf(header, 0))).message]).toEqual([
        fault,
        expect.stringMatching(/twice/),
      ]);
  });

  it('of JavaScript objects are plain names', () => {
    const names = ['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'valueOf', '__defineGetter__', ''];
    const before = names.map((name) => Reflect.get(Object.prototype, name) as unknown);
    const tree = Object.fromEntries(names.map((name, index) => [name, float32([1], [index])]));
    const metadata = Object.fromEntries(names.map((name, index) => [name, String(index)]));
    const content = readSafetensors(writeSafetensors(tree, { metadata }));
    expect(Object.keys(content.tensors).sort()).toEqual([...names].sort());
    expect(Object.keys(content.metadata).sort()).toEqual([...names].sort());
    names.forEach((name, index) => {
      expect(content.tensors[name]?.data[0]).toBe(index);
      expect(content.metadata[name]).toBe(String(index));
    });
    expect(names.map((name) => Reflect.get(Object.prototype, name) as unknown)).toEqual(before);
    expect(Reflect.get({}, 'dtype')).toBeUndefined();
    expect(() => checkWeights(content.tensors, {}, { model: 'm' })).toThrow(/extra: "__proto__" float32 \[1\]/);
    expect(() => checkWeights({}, content.tensors, { model: 'm' })).toThrow(/missing: "toString" float32 \[1\]/);
  });

  it('are refused beyond 512 bytes, and beyond 100,000 tensors', () => {
    const entry = '{"dtype":"F32","shape":[0],"data_offsets":[0,0]}';
    expect(readSafetensors(fileOf(`{"${'é'.repeat(256)}":${entry}}`, 0)).tensors).toBeTruthy();
    expect(errorOf(() => readSafetensors(fileOf(`{"${'é'.repeat(256)}x":${entry}}`, 0))).message).toMatch(/512 bytes/);
    const many = Array.from({ length: 100_001 }, (_, index) => `"${index}":${entry}`).join(',');
    expect(errorOf(() => readSafetensors(fileOf(`{${many}}`, 0))).message).toMatch(/more than 100000 tensors/);
    const lower = { limits: { tensors: 1 } };
    expect(errorOf(() => readSafetensors(fileOf(`{"a":${entry},"b":${entry}}`, 0), lower)).message).toMatch(
      /more than 1/,
    );
  });
});

describe('budgets of headers and tensors', () => {
  const entriesOf = (count: number, length: number) =>
    Array.from({ length: count }, (_, i) => `"${i}":"${'x'.repeat(length)}"`).join(',');
  it('count the metadata', () => {
    expect(readSafetensors(fileOf(`{"__metadata__":{${entriesOf(10_000, 1)}}}`, 0)).tensors).toEqual({});
    expect(errorOf(() => readSafetensors(fileOf(`{"__metadata__":{${entriesOf(10_001, 1)}}}`, 0))).message).toMatch(
      /more than 10000 entries/,
    );
    expect(errorOf(() => readSafetensors(fileOf(`{"__metadata__":{${entriesOf(100, 200_000)}}}`, 0))).message).toMatch(
      /more than 16777216 characters/,
    );
  });

  it.each([
    ['U8', 33 * 2 ** 20],
    ['I8', 33 * 2 ** 20],
  ])('count what %s becomes', (dtype, count) => {
    const file = (length: number) =>
      fileOf(headerOf({ x: { dtype, shape: `[${length}]`, offsets: `[0,${length}]` } }), length);
    expect(readSafetensors(file(1000)).tensors['x']?.data).toHaveLength(1000);
    expect(errorOf(() => readSafetensors(file(count))).message).toMatch(/become \d+ bytes/);
  });
});

describe('A6: control characters in names and metadata', () => {
  it('load, and are escaped in messages', () => {
    const name = '\u001b]52;c;ZXZpbA==\u0007\u001b[2J\r\u009b31m\u202egnp.exe\ud83d\ude42';
    const metadata = { [`k${name}`]: `v${name}` };
    const content = readSafetensors(
      writeSafetensors({ [name]: float32([1], [NaN]) }, { metadata, allowNonFinite: true }),
      {
        allowNonFinite: true,
      },
    );
    expect(Object.keys(content.tensors)).toEqual([name]);
    expect({ ...content.metadata }).toEqual(metadata);
    const bytes = writeSafetensors(content.tensors, { allowNonFinite: true });
    const messages = [
      errorOf(() => readSafetensors(bytes)).message,
      errorOf(() => checkWeights(content.tensors, {}, { model: name })).message,
      escapeText(name),
      errorOf(() => readSafetensors(bytes.subarray(0, bytes.length - 1))).message,
    ];
    for (const message of messages) {
      expect(message).toContain('\\x1b]52');
      expect(message).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e]/);
    }
  });
});

describe('A7: numbers that are none', () => {
  it.each([
    ['F32', 4],
    ['F16', 2],
    ['BF16', 2],
  ] as const)('one NaN or infinity in 10^7 %s is found and named', (dtype, width) => {
    const count = 10_000_000;
    const file = fileOf(
      headerOf({ 'layer.weight': { dtype, shape: `[${count}]`, offsets: `[0,${width * count}]` } }),
      width * count,
    );
    expect(readSafetensors(file).tensors['layer.weight']?.data).toHaveLength(count);
    const index = 7_654_321;
    const element = file.subarray(file.length - width * (count - index)).subarray(0, width);
    for (const [value, pattern] of [
      ['NaN', { F32: 0x7fc00000, F16: 0x7e00, BF16: 0x7fc0 }[dtype]],
      ['-Infinity', { F32: 0xff800000, F16: 0xfc00, BF16: 0xff80 }[dtype]],
    ] as const) {
      new DataView(element.buffer, element.byteOffset).setUint32(0, pattern, true);
      const error = errorOf(() => readSafetensors(file));
      expect(error).toBeInstanceOf(NonFiniteError);
      expect(error.message).toContain(`"layer.weight" (${dtype} [${count}]) holds ${value} at element ${index}`);
    }
    expect(readSafetensors(file, { allowNonFinite: true }).tensors['layer.weight']?.data[index]).toBe(-Infinity);
  });
});
