/**
 * Standard normal numbers from random words by the Box-Muller transform, in float64 arithmetic of our own: the language
 * leaves the last bits of Math.log, sin and cos to each engine, and these also cost half as much.
 */
import { OptionError } from '../errors.js';
import { compiledNormals } from '../compiled/compiled-loops.js';

/**
 * sqrt(-2 ln x) (cos a, sin a) with x = (first word + 1) 2^-32 in (0, 1] and a = 2 pi (second word) 2^-32, rounded to
 * float32; absolute error before rounding below 1e-8.
 *
 * @param words - uint32, an even number of them, at least `count`.
 * @param count - how many numbers.
 * @throws OptionError if there are not enough words.
 */
export function normalsFromWords(words: Uint32Array, count: number): Float32Array<ArrayBuffer> {
  if (!Number.isInteger(count) || count < 0 || count + (count % 2) > words.length)
    throw new OptionError(`normalsFromWords: ${words.length} words do not make ${count} numbers`);
  const values = new Float32Array(count);
  if (compiledNormals(words, values)) return values;
  for (let i = 0; i < count; i += 2) {
    const radius = Math.sqrt(-2 * logarithm(words[i]!));
    const angle = words[i + 1]!;
    // The angle is quarter turns plus `offset` in [-pi/4, pi/4).
    const offset = (angle << 2) * (Math.PI * 2 ** -33);
    const quarter = ((angle >>> 30) + (offset < 0 ? 1 : 0)) & 3;
    const square = offset * offset;
    const cosine =
      1 + square * (-1 / 2 + square * (1 / 24 + square * (-1 / 720 + square * (1 / 40320 - square / 3628800))));
    const sine =
      offset *
      (1 + square * (-1 / 6 + square * (1 / 120 + square * (-1 / 5040 + square * (1 / 362880 - square / 39916800)))));
    const isOdd = (quarter & 1) === 1;
    const first = isOdd ? sine : cosine;
    const second = isOdd ? cosine : sine;
    values[i] = quarter === 1 || quarter === 2 ? -radius * first : radius * first;
    if (i + 1 < count) values[i + 1] = quarter >= 2 ? -radius * second : radius * second;
  }
  return values;
}

/** 2^(e - 31): scales a word with e leading zeros to [1, 2). */
const scales = Float64Array.from({ length: 33 }, (_, zeros) => 2 ** (zeros - 31));

/** ln((word + 1) 2^-32) by ln m = 2 artanh((m - 1) / (m + 1)), m within a factor sqrt(2) of 1. */
function logarithm(word: number): number {
  const zeros = Math.clz32(word);
  let mantissa = (word + 1) * scales[zeros]!;
  let exponent = -zeros - 1;
  if (mantissa > Math.SQRT2) {
    mantissa *= 0.5;
    exponent += 1;
  }
  const s = (mantissa - 1) / (mantissa + 1);
  const square = s * s;
  const series =
    1 +
    square * (1 / 3 + square * (1 / 5 + square * (1 / 7 + square * (1 / 9 + square * (1 / 11 + square * (1 / 13))))));
  return exponent * Math.LN2 + 2 * s * series;
}
