/**
 * Laws: writing and reading gives the tensors back, bit for bit in F32/I32/BOOL; 16-bit floats round to nearest even;
 * the same tensors give the same bytes; a file without change reads, and what the format cannot hold is refused.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NonFiniteError, WeightError } from '../errors.js';
import { tensorSource, type TensorSource } from '../tensors/tensor-source.js';
import { bool, float32, int32, specsOf, type HostTree } from '../tensors/tensors.js';
import { escapeText } from '../text/escape-text.js';
import { contentBytes } from './byte-stream.js';
import { decodeBfloat16, float16Table, toBfloat16Bits, toFloat16Bits } from './half-floats.js';
import { parseSafetensorsHeader, safetensorsHeaderLength } from './safetensors-header.js';
import { streamSafetensors, writeSafetensors } from './safetensors-write.js';
import { decodeSafetensorsEntry, findNonFinite, readSafetensors } from './safetensors.js';

const tree: HostTree = {
  b: int32([3], [-1, 0, 2 ** 31 - 1]),
  'a/weight': float32([2, 2], [1.5, -0, 3e38, 1e-45]),
  flags: bool([5], [1, 0, 1, 1, 0]),
  empty: float32([0, 4], []),
  scalar: float32([], [7]),
};

const shapes = fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 4 });
const names = fc.string({ unit: 'grapheme', maxLength: 30 }).filter((name) => name !== '__metadata__');
const tensors = shapes.chain((shape) => {
  const length = shape.reduce((a, b) => a * b, 1);
  const size = { minLength: length, maxLength: length };
  return fc.oneof(
    fc.array(fc.float({ noNaN: true, noDefaultInfinity: true }), size).map((data) => float32(shape, data)),
    fc.array(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), size).map((data) => int32(shape, data)),
    fc.array(fc.integer({ min: 0, max: 1 }), size).map((data) => bool(shape, data)),
  );
});

function file(header: string, dataLength: number): Uint8Array {
  const json = new TextEncoder().encode(header);
  const bytes = new Uint8Array(8 + json.length + dataLength);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
  bytes.set(json, 8);
  return bytes;
}

/** One tensor `x` of the given type over the given bytes. */
function single(dtype: string, shape: number[], data: ArrayBufferView): Uint8Array {
  const header = `{"x":{"dtype":"${dtype}","shape":[${shape}],"data_offsets":[0,${data.byteLength}]}}`;
  const bytes = file(header, data.byteLength);
  bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), bytes.length - data.byteLength);
  return bytes;
}

describe('safetensors', () => {
  it('gives tensors and metadata back', () => {
    const bytes = writeSafetensors(tree, { metadata: { format: 'pt', note: 'α\n"\\' } });
    const content = readSafetensors(bytes);
    expect({ ...content.tensors }).toEqual(tree);
    expect({ ...content.metadata }).toEqual({ format: 'pt', note: 'α\n"\\' });
    expect(Object.is(content.tensors['a/weight']?.data[1], -0)).toBe(true);
  });

  it('gives any tree back, from any alignment', () => {
    fc.assert(
      fc.property(fc.dictionary(names, tensors, { maxKeys: 6 }), fc.integer({ min: 0, max: 7 }), (anyTree, shift) => {
        const bytes = writeSafetensors(anyTree);
        const shifted = new Uint8Array(bytes.length + shift);
        shifted.set(bytes, shift);
        const read = readSafetensors(shifted.subarray(shift)).tensors;
        expect(Object.keys(read).sort()).toEqual(Object.keys(anyTree).sort());
        for (const name of Object.keys(anyTree)) expect(read[name]).toEqual(anyTree[name]);
      }),
      { seed: 20240711, numRuns: 300 },
    );
  });

  it('writes the same bytes whatever the order of insertion, aligned to 8', () => {
    const bytes = writeSafetensors(tree, { metadata: { b: '2', a: '1' } });
    const reversed = writeSafetensors(Object.fromEntries(Object.entries(tree).reverse()), {
      metadata: { a: '1', b: '2' },
    });
    expect(reversed).toEqual(bytes);
    expect(safetensorsHeaderLength(bytes, bytes.length) % 8).toBe(0);
  });

  it('reads copies: the file buffer may be changed afterwards, also if it is a view', () => {
    const bytes = Buffer.from(writeSafetensors(tree));
    const read = readSafetensors(bytes).tensors;
    bytes.fill(255);
    expect({ ...read }).toEqual(tree);
  });

  it('reads one tensor of a large file through its range', () => {
    const bytes = writeSafetensors(tree);
    const length = safetensorsHeaderLength(bytes.subarray(0, 8), bytes.length);
    const header = parseSafetensorsHeader(bytes.subarray(0, length), bytes.length);
    const entry = header.tensors.get('b');
    if (entry === undefined) throw new Error('b is missing');
    expect(decodeSafetensorsEntry('b', entry, bytes.subarray(entry.begin, entry.end))).toEqual(tree['b']);
    expect(Object.keys(readSafetensors(bytes, { only: (name) => name === 'b' }).tensors)).toEqual(['b']);
  });

  it('widens every integer type that fits int32 and refuses values that do not', () => {
    expect(readSafetensors(single('I8', [2], new Int8Array([-128, 127]))).tensors['x']).toEqual(
      int32([2], [-128, 127]),
    );
    expect(readSafetensors(single('U8', [2], new Uint8Array([0, 255]))).tensors['x']).toEqual(int32([2], [0, 255]));
    expect(readSafetensors(single('I16', [1], new Int16Array([-5]))).tensors['x']).toEqual(int32([1], [-5]));
    expect(readSafetensors(single('U16', [1], new Uint16Array([65535]))).tensors['x']).toEqual(int32([1], [65535]));
    const wide = new BigInt64Array([-(2n ** 31n), 2n ** 31n - 1n]);
    expect(readSafetensors(single('I64', [2], wide)).tensors['x']).toEqual(int32([2], [-(2 ** 31), 2 ** 31 - 1]));
    for (const [dtype, data] of [
      ['I64', new BigInt64Array([0n, 2n ** 31n])],
      ['I64', new BigInt64Array([0n, -(2n ** 31n) - 1n])],
      ['U64', new BigUint64Array([0n, 2n ** 32n])],
      ['U32', new Uint32Array([0, 2 ** 31])],
    ] as const)
      expect(() => readSafetensors(single(dtype, [2], data))).toThrow(/element 1 that does not fit into 32 bits/);
  });

  it('reads F64 only if rounding is allowed, and BOOL only from 0 and 1', () => {
    const wide = single('F64', [1], new Float64Array([0.1]));
    expect(() => readSafetensors(wide)).toThrow(WeightError);
    expect(readSafetensors(wide, { narrowFloat64: true }).tensors['x']).toEqual(float32([1], [Math.fround(0.1)]));
    expect(() => readSafetensors(single('BOOL', [2], new Uint8Array([1, 7])))).toThrow(/holds 7 at element 1/);
    expect(() => readSafetensors(single('F8_E4M3', [1], new Uint8Array([1])))).toThrow(/not supported/);
  });

  it('writes 16-bit floats, U8 integers and U8 bools, and refuses what they cannot hold', () => {
    const halves = { x: float32([3], [1, -65504, 2 ** -24]) };
    expect({ ...readSafetensors(writeSafetensors(halves, { float: 'F16' })).tensors }).toEqual(halves);
    const brain = { x: float32([2], [1, -3.3895313892515355e38]) };
    expect({ ...readSafetensors(writeSafetensors(brain, { float: 'BF16' })).tensors }).toEqual(brain);
    expect(() => writeSafetensors({ x: float32([2], [0, 65520]) }, { float: 'F16' })).toThrow(/65520 at element 1/);
    expect(() => writeSafetensors({ x: int32([2], [0, 256]) }, { integer: 'U8' })).toThrow(/256 at element 1/);
    const ids = { x: int32([2], [0, 255]) };
    expect({ ...readSafetensors(writeSafetensors(ids, { integer: 'U8' })).tensors }).toEqual(ids);
    expect(readSafetensors(writeSafetensors({ x: bool([1], [1]) }, { boolean: 'U8' })).tensors['x']).toEqual(
      int32([1], [1]),
    );
    const mixed = writeSafetensors(
      { ...halves, y: float32([1], [1e9]) },
      { float: 'F16', dtypeOf: (name) => (name === 'y' ? 'F32' : undefined) },
    );
    expect(readSafetensors(mixed).tensors['y']).toEqual(float32([1], [1e9]));
  });

  it('comes in parts, a tensor each, that are the same bytes, as often as they are asked for', async () => {
    const reads: string[] = [];
    const source: TensorSource = {
      specs: specsOf(tree),
      read(names) {
        reads.push(...names);
        return tensorSource(tree).read(names);
      },
    };
    const metadata = { format: 'pt' };
    for (const options of [{ metadata }, { float: 'BF16', boolean: 'U8', allowNonFinite: true }] as const) {
      const stream = streamSafetensors(source, options);
      expect(reads).toEqual([]);
      const whole = writeSafetensors(tree, options);
      expect(stream.length).toBe(whole.length);
      for (const _ of [1, 2]) expect(await contentBytes(stream)).toEqual(whole);
      expect(await contentBytes(streamSafetensors(tree, options))).toEqual(whole);
      expect(reads.splice(0).sort()).toEqual([...Object.keys(tree), ...Object.keys(tree)].sort());
    }
    const bad = streamSafetensors({ a: float32([1]), b: float32([1], [NaN]) });
    await expect(contentBytes(bad)).rejects.toThrow(/"b" holds NaN/);
    const short = { x: { dtype: 'float32', shape: [3], data: new Float32Array(2) } } as const;
    await expect(contentBytes(streamSafetensors(short))).rejects.toThrow(/shape \[3\] but 2 elements/);
  });

  it('the first NaN or infinity is found wherever it is, and nothing else is taken for one', () => {
    const finite = fc.array(fc.float({ noNaN: true, noDefaultInfinity: true }), { maxLength: 150 });
    fc.assert(
      fc.property(finite, fc.constantFrom(NaN, Infinity, -Infinity), finite, (before, wrong, after) => {
        expect(findNonFinite(Float32Array.from([...before, ...after]))).toBe(-1);
        expect(findNonFinite(Float32Array.from([...before, wrong, ...after]))).toBe(before.length);
      }),
    );
  });

  it('names the non-finite element, and lets it through on request', () => {
    const bad = { 'bad name': float32([3], [0, NaN, Infinity]) };
    expect(() => writeSafetensors(bad)).toThrow(NonFiniteError);
    const bytes = writeSafetensors(bad, { allowNonFinite: true });
    expect(() => readSafetensors(bytes)).toThrow(/"bad name".*holds NaN at element 1/);
    expect(readSafetensors(bytes, { allowNonFinite: true }).tensors['bad name']?.data).toEqual(bad['bad name'].data);
  });

  it('refuses names, metadata and shapes that a file cannot hold', () => {
    expect(() => writeSafetensors({ __metadata__: float32([0]) })).toThrow(WeightError);
    expect(() => writeSafetensors({ '\ud800': float32([0]) })).toThrow(WeightError);
    expect(() => writeSafetensors({}, { metadata: { a: '\udc00' } })).toThrow(WeightError);
    expect(() => writeSafetensors({ x: { dtype: 'float32', shape: [3], data: new Float32Array(2) } })).toThrow(
      WeightError,
    );
  });
});

it('refuses a header beyond the limit that is set, though the file holds it', () => {
  const bytes = writeSafetensors({ x: float32([1]) });
  expect(() => readSafetensors(bytes, { limits: { headerBytes: 16 } })).toThrow(/at most 16 are allowed/);
});

describe('16-bit floats', () => {
  it('converts all 65,536 half patterns both ways', () => {
    const table = float16Table();
    for (let bits = 0; bits < 0x10000; bits++) {
      const value = table[bits] as number;
      if (Number.isNaN(value)) expect((bits & 0x7c00) === 0x7c00 && (bits & 0x3ff) !== 0).toBe(true);
      else if (toFloat16Bits(value) !== bits) expect.fail(`${bits} became ${toFloat16Bits(value)}`);
    }
  });

  it('rounds to the nearest half, ties to even', () => {
    const table = float16Table();
    for (let bits = 0; bits < 0x7bff; bits++) {
      const low = table[bits] as number;
      const high = table[bits + 1] as number;
      const middle = (low + high) / 2; // exact in float32: one bit more than a half
      if (toFloat16Bits(middle) !== (bits % 2 === 0 ? bits : bits + 1)) expect.fail(`tie above ${low}`);
      if (toFloat16Bits(middle - (high - low) / 8) !== bits) expect.fail(`below the tie above ${low}`);
      if (toFloat16Bits(middle + (high - low) / 8) !== bits + 1) expect.fail(`beyond the tie above ${low}`);
    }
    expect([65519.99, 65520, -1e30, Infinity].map(toFloat16Bits)).toEqual([0x7bff, 0x7c00, 0xfc00, 0x7c00]);
    expect(toFloat16Bits(NaN)).toBe(0x7e00);
  });

  it('rounds to the nearest bfloat16, ties to even', () => {
    // 1 + 2^-8 is halfway between 0x3f80 (even) and 0x3f81; 1 + 3 * 2^-8 between 0x3f81 and 0x3f82 (even).
    expect([1, 1 + 2 ** -8, 1 + 2 ** -8 + 2 ** -20, 1 + 3 * 2 ** -8, -2].map(toBfloat16Bits)).toEqual([
      0x3f80, 0x3f80, 0x3f81, 0x3f82, 0xc000,
    ]);
    const out = new Float32Array(2);
    decodeBfloat16(new Uint16Array([0x3f81, 0xc000]), out);
    expect([...out]).toEqual([1 + 2 ** -7, -2]);
    expect(toBfloat16Bits(NaN) & 0x7fff).toBeGreaterThan(0x7f80);
  });
});

describe('escapeText', () => {
  it('leaves text alone and shows what is hidden', () => {
    expect(escapeText('größe 層.weight 🙂')).toBe('größe 層.weight 🙂');
    expect(escapeText('\u001b]52;c;x\u0007\r\n\t\u009b\u202e\ufeff\ud800\u{e0041}')).toBe(
      '\\x1b]52;c;x\\x07\\r\\n\\t\\x9b\\u202e\\ufeff\\ud800\\u{e0041}',
    );
    expect(escapeText('abcdef', 4)).toBe('abcd...');
  });
});
