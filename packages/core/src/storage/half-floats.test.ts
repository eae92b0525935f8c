/**
 * 16-bit numbers: every pattern there and back, and rounding to the nearest against a search among the neighbours, ties
 * to the one whose last bit is 0, for halves between all neighbouring patterns, subnormal ones and the ends included.
 */
import { describe, expect, it } from 'vitest';
import { decodeBfloat16, float16Table, toBfloat16Bits, toFloat16Bits } from './half-floats.js';

/** The value of a pattern by the definition. */
function valueOf(bits: number, exponentBits: number, fractionBits: number): number {
  const sign = bits >> 15 ? -1 : 1;
  const exponent = (bits >> fractionBits) & (2 ** exponentBits - 1);
  const fraction = (bits & (2 ** fractionBits - 1)) / 2 ** fractionBits;
  const bias = 2 ** (exponentBits - 1) - 1;
  if (exponent === 2 ** exponentBits - 1) return fraction === 0 ? sign * Infinity : NaN;
  return exponent === 0 ? sign * fraction * 2 ** (1 - bias) : sign * (1 + fraction) * 2 ** (exponent - bias);
}

const kinds = [
  ['float16', toFloat16Bits, 5, 10],
  ['bfloat16', toBfloat16Bits, 8, 7],
] as const;

describe.each(kinds)('%s', (_, toBits, exponentBits, fractionBits) => {
  const infinity = (2 ** exponentBits - 1) << fractionBits;
  const all = Array.from({ length: 0x10000 }, (__, bits) => bits);

  it('keeps every number and sign', () => {
    for (const bits of all) {
      const value = valueOf(bits, exponentBits, fractionBits);
      if (Number.isNaN(value)) continue;
      if (toBits(value) !== bits)
        expect.fail(`${value}: expected ${bits.toString(16)}, got ${toBits(value).toString(16)}`);
    }
    expect(toBits(-0)).toBe(0x8000);
  });

  it('rounds to the nearest, halves to the even pattern, in both signs', () => {
    for (let bits = 0; bits < infinity; bits++) {
      const low = valueOf(bits, exponentBits, fractionBits);
      // Beyond the largest number the next one would be 2^16 or 2^128.
      const high =
        bits + 1 === infinity ? 2 ** (2 ** (exponentBits - 1)) : valueOf(bits + 1, exponentBits, fractionBits);
      const middle = (low + high) / 2;
      const even = bits % 2 === 0 ? bits : bits + 1;
      const cases: [number, number][] = [[middle, even]];
      // float32 neighbours of the middle; where float32 is subnormal too, there are none in between.
      const step = Math.max(Math.abs(middle) * 2 ** -23, 2 ** -149);
      if (step < (high - low) / 2) cases.push([middle - step, bits], [middle + step, bits + 1]);
      for (const [value, expected] of cases)
        for (const sign of [0, 0x8000]) {
          const got = toBits(sign === 0 ? value : -value);
          if (got !== (sign | expected))
            expect.fail(`${value}: expected ${expected.toString(16)}, got ${got.toString(16)}`);
        }
    }
  });

  it('keeps NaN a NaN whatever its bits, and infinity infinity', () => {
    const words = new Uint32Array(1);
    const floats = new Float32Array(words.buffer);
    for (const pattern of [0x7f800001, 0xff800001, 0x7fc00000, 0x7fffffff, 0xffffffff, 0x7f80ffff]) {
      words[0] = pattern;
      expect(valueOf(toBits(floats[0]!), exponentBits, fractionBits), pattern.toString(16)).toBeNaN();
    }
    expect(toBits(Infinity)).toBe(infinity);
    expect(toBits(-Infinity)).toBe(0x8000 | infinity);
    expect(toBits(3.4028234663852886e38)).toBe(infinity);
  });
});

describe('decoding', () => {
  it('gives the number of every pattern, signs of zero included', () => {
    const table = float16Table();
    const patterns = Uint16Array.from({ length: 0x10000 }, (_, bits) => bits);
    const wide = new Float32Array(0x10000);
    decodeBfloat16(patterns, wide);
    for (let bits = 0; bits < 0x10000; bits++) {
      if (!Object.is(table[bits], valueOf(bits, 5, 10))) expect.fail(`float16 ${bits.toString(16)}: ${table[bits]}`);
      if (!Object.is(wide[bits], valueOf(bits, 8, 7))) expect.fail(`bfloat16 ${bits.toString(16)}: ${wide[bits]}`);
    }
  });
});
