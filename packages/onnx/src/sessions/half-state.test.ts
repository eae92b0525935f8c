/** Properties: what becomes scaled float16 is the same number, and everything that can be exact is. */
import { decodeHalfFloats } from '@dimo/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { scaledHalfOfBfloat16 } from './half-state.js';

const valuesOf = (bits: Uint16Array) => decodeHalfFloats({ format: 'BF16', bits });

function scaledValues(bits: Uint16Array): Float32Array | undefined {
  const half = scaledHalfOfBfloat16(bits);
  if (!half) return undefined;
  return decodeHalfFloats({ format: 'F16', bits: half.bits }).map((value) => value * 2 ** -half.exponent);
}

/** bfloat16 patterns with exponents in a range. */
const patterns = (lowest: number, highest: number) =>
  fc.array(
    fc
      .record({
        sign: fc.integer({ min: 0, max: 1 }),
        exponent: fc.integer({ min: lowest, max: highest }),
        fraction: fc.nat(127),
      })
      .map(({ sign, exponent, fraction }) => (sign << 15) | ((exponent + 127) << 7) | fraction),
    { minLength: 1, maxLength: 40 },
  );

describe('scaledHalfOfBfloat16', () => {
  it('is exact for numbers within 32 binary orders, zeros among them', () => {
    // float16 has bits of order -24 to 15; the lowest bit of a bfloat16 is 7 below its leading one: 15 - (-24) - 7 = 32.
    fc.assert(
      fc.property(patterns(-20, 12), fc.integer({ min: -60, max: 60 }), (found, shift) => {
        const bits = Uint16Array.from([...found.map((pattern) => pattern + (shift << 7)), 0, 0x8000]);
        expect(scaledValues(bits)).toEqual(valuesOf(bits));
      }),
    );
  });

  it('is exact or absent for any patterns', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 0xffff }), { minLength: 1, maxLength: 6 }), (found) => {
        const bits = Uint16Array.from(found);
        const values = scaledValues(bits);
        if (values) expect(values).toEqual(valuesOf(bits));
        else if (valuesOf(bits).every(Number.isFinite)) {
          const sizes = valuesOf(bits)
            .filter((value) => value !== 0)
            .map((value) => Math.log2(Math.abs(value)));
          // Only a wide span, or numbers near the ends of float32, have no such form.
          const isOrdinary = Math.max(...sizes) - Math.min(...sizes) < 31 && Math.abs(Math.max(...sizes)) < 80;
          expect(isOrdinary).toBe(false);
        }
      }),
      { numRuns: 2000 },
    );
  });

  it('has no form for infinity and NaN', () => {
    for (const pattern of [0x7f80, 0xff80, 0x7fc0])
      expect(scaledHalfOfBfloat16(Uint16Array.of(0, pattern))).toBeUndefined();
  });
});
