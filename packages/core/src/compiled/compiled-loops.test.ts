import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { normalsFromWords } from '../random/random-normal.js';
import { philox4x32 } from '../random/random.js';
import { compiledNonFinite, compiledNormals, compiledPhilox } from './compiled-loops.js';

const word = fc.integer({ min: 0, max: 2 ** 32 - 1 });
/** Amounts on both sides of what the buffer holds. */
const amount = fc.oneof(fc.integer({ min: 64, max: 200 }), fc.integer({ min: 2 ** 14 - 9, max: 2 ** 14 + 99 }));
const isSame = (a: Float32Array | Uint32Array, b: Float32Array | Uint32Array) =>
  Buffer.from(a.buffer).equals(Buffer.from(b.buffer));

describe('loops of WebAssembly', () => {
  it('make words of Philox as JavaScript makes them, block by block', () => {
    fc.assert(
      fc.property(fc.tuple(word, word, word, word), fc.tuple(word, word), amount, (counter, key, count) => {
        const [low, ...rest] = counter;
        const first = low % 2 ** 31;
        const whole = new Uint32Array(4 * Math.ceil(count / 4));
        expect(compiledPhilox([first, ...rest], key, whole)).toBe(true);
        const pieces = new Uint32Array(whole.length);
        for (let i = 0; i < pieces.length; i += 4) philox4x32([first + i / 4, ...rest], key, pieces.subarray(i, i + 4));
        expect(isSame(whole, pieces)).toBe(true);
      }),
    );
  });

  it('make normal numbers of the same bits as those of JavaScript', () => {
    const corner = fc.constantFrom(0, 1, 2 ** 29 - 1, 2 ** 29, 2 ** 30, 2 ** 31 - 1, 2 ** 31, 3 * 2 ** 30, 2 ** 32 - 1);
    fc.assert(
      fc.property(fc.array(fc.oneof(word, corner), { minLength: 130, maxLength: 130 }), amount, (some, count) => {
        const words = Uint32Array.from({ length: count + (count % 2) }, (_, i) => some[(i * 7) % some.length]!);
        const whole = new Float32Array(count);
        expect(compiledNormals(words, whole)).toBe(true);
        const pieces = new Float32Array(count);
        for (let i = 0; i < count; i += 2)
          pieces.set(normalsFromWords(words.subarray(i, i + 2), Math.min(2, count - i)), i);
        expect(isSame(whole, pieces)).toBe(true);
      }),
    );
  });

  it('find the first number that is not finite, wherever it is', () => {
    const at = fc.oneof(fc.nat(99), fc.integer({ min: 2 ** 14 - 20, max: 2 ** 14 + 70 }));
    const wrong = fc.constantFrom(NaN, Infinity, -Infinity);
    fc.assert(
      fc.property(at, at, wrong, amount, (first, second, value, more) => {
        const values = new Float32Array(Math.max(first, second) + 1 + more).fill(3.4e38);
        expect(compiledNonFinite(values)).toBe(-1);
        values[first] = values[second] = value;
        expect(compiledNonFinite(values)).toBe(Math.min(first, second));
      }),
    );
  });

  it('are left to others where there is little to do', () => {
    expect(compiledNonFinite(new Float32Array(4))).toBeUndefined();
    expect(compiledPhilox([0, 0, 0, 0], [0, 0], new Uint32Array(4))).toBe(false);
    expect(compiledNormals(new Uint32Array(4), new Float32Array(4))).toBe(false);
  });
});
