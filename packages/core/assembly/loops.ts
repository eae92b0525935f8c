/**
 * AssemblyScript, compiled by `node scripts/write-loops-module.mjs` into src/compiled/loops-module.ts: the loops that make every
 * random number of a training step, four blocks or two pairs at a time, and the one that looks at every weight that is read.
 * The same results, to the bit, as those of `philox4x32`, `normalsFromWords` and `findNonFinite`, which explain what is done.
 */

const start: usize = memory.data(1 << 16, 16);

/** Address of the buffer. */
export function buffer(): usize {
  return start;
}

function lowWords(even: v128, odd: v128): v128 {
  return v128.shuffle<i32>(even, odd, 0, 2, 4, 6);
}

function highWords(even: v128, odd: v128): v128 {
  return v128.shuffle<i32>(even, odd, 1, 3, 5, 7);
}

/** Fills the buffer with `count` words, rounded up to sixteen: Philox-4x32-10 from the block with this counter on. */
export function philox(count: i32, low: i32, high: i32, step: i32, stream: i32, key0: i32, key1: i32): void {
  const multiplier0 = i32x4.splat(0xd2511f53);
  const multiplier1 = i32x4.splat(0xcd9e8d57);
  let counters = i32x4.add(i32x4.splat(low), i32x4(0, 1, 2, 3));
  for (let i = 0; i < count; i += 16) {
    let c0 = counters;
    let c1 = i32x4.splat(high);
    let c2 = i32x4.splat(step);
    let c3 = i32x4.splat(stream);
    let k0 = key0;
    let k1 = key1;
    for (let round = 0; round < 10; round++) {
      const front0 = i64x2.extmul_low_i32x4_u(c0, multiplier0);
      const back0 = i64x2.extmul_high_i32x4_u(c0, multiplier0);
      const front1 = i64x2.extmul_low_i32x4_u(c2, multiplier1);
      const back1 = i64x2.extmul_high_i32x4_u(c2, multiplier1);
      c0 = v128.xor(v128.xor(highWords(front1, back1), c1), i32x4.splat(k0));
      c1 = lowWords(front1, back1);
      c2 = v128.xor(v128.xor(highWords(front0, back0), c3), i32x4.splat(k1));
      c3 = lowWords(front0, back0);
      k0 += 0x9e3779b9;
      k1 += 0xbb67ae85;
    }
    // Words of a block behind one another.
    const front01 = v128.shuffle<i32>(c0, c1, 0, 4, 1, 5);
    const back01 = v128.shuffle<i32>(c0, c1, 2, 6, 3, 7);
    const front23 = v128.shuffle<i32>(c2, c3, 0, 4, 1, 5);
    const back23 = v128.shuffle<i32>(c2, c3, 2, 6, 3, 7);
    const address = start + (<usize>i << 2);
    v128.store(address, v128.shuffle<i64>(front01, front23, 0, 2));
    v128.store(address, v128.shuffle<i64>(front01, front23, 1, 3), 16);
    v128.store(address, v128.shuffle<i64>(back01, back23, 0, 2), 32);
    v128.store(address, v128.shuffle<i64>(back01, back23, 1, 3), 48);
    counters = i32x4.add(counters, i32x4.splat(4));
  }
}

function scalar(value: f64): v128 {
  return f64x2.splat(value);
}

/** a + b c, each rounded. */
function step(a: f64, b: v128, c: v128): v128 {
  return f64x2.add(scalar(a), f64x2.mul(b, c));
}

/** ln((word + 1) 2^-32) of two words. */
function logarithm(words: v128): v128 {
  const value = f64x2.add(f64x2.convert_low_i32x4_u(words), scalar(1));
  const exponents = i32x4.sub(v128.shuffle<i32>(i64x2.shr_u(value, 52), i64x2.splat(0), 0, 2, 4, 6), i32x4.splat(1023 + 32));
  let mantissa = v128.or(v128.and(value, i64x2.splat(0x000fffffffffffff)), i64x2.splat(0x3ff0000000000000));
  const isLarge = f64x2.gt(mantissa, scalar(Math.SQRT2));
  mantissa = v128.bitselect(f64x2.mul(mantissa, scalar(0.5)), mantissa, isLarge);
  const exponent = f64x2.add(f64x2.convert_low_i32x4_s(exponents), v128.and(isLarge, scalar(1)));
  const s = f64x2.div(f64x2.sub(mantissa, scalar(1)), f64x2.add(mantissa, scalar(1)));
  const square = f64x2.mul(s, s);
  let series = step(1.0 / 11, square, scalar(1.0 / 13));
  series = step(1.0 / 9, square, series);
  series = step(1.0 / 7, square, series);
  series = step(1.0 / 5, square, series);
  series = step(1.0 / 3, square, series);
  series = step(1, square, series);
  return f64x2.add(f64x2.mul(exponent, scalar(Math.LN2)), f64x2.mul(f64x2.mul(scalar(2), s), series));
}

/** Makes float32 normal numbers of the `count` words in the buffer, in their place. */
export function normals(count: i32): void {
  for (let i = 0; i < count; i += 4) {
    const address = start + (<usize>i << 2);
    const words = v128.load(address);
    const radius = f64x2.sqrt(f64x2.mul(scalar(-2), logarithm(v128.shuffle<i32>(words, words, 0, 2, 0, 2))));
    const angles = v128.shuffle<i32>(words, words, 1, 3, 1, 3);
    const turned = i32x4.shl(angles, 2);
    const offset = f64x2.mul(f64x2.convert_low_i32x4_s(turned), scalar(Math.PI * 1.1641532182693481e-10));
    const quarter = i64x2.extend_low_i32x4_u(
      v128.and(i32x4.add(i32x4.shr_u(angles, 30), i32x4.shr_u(turned, 31)), i32x4.splat(3)),
    );
    const square = f64x2.mul(offset, offset);
    let cosine = f64x2.sub(scalar(1.0 / 40320), f64x2.div(square, scalar(3628800)));
    cosine = step(-1.0 / 720, square, cosine);
    cosine = step(1.0 / 24, square, cosine);
    cosine = step(-1.0 / 2, square, cosine);
    cosine = step(1, square, cosine);
    let sine = f64x2.sub(scalar(1.0 / 362880), f64x2.div(square, scalar(39916800)));
    sine = step(-1.0 / 5040, square, sine);
    sine = step(1.0 / 120, square, sine);
    sine = step(-1.0 / 6, square, sine);
    sine = f64x2.mul(offset, step(1, square, sine));
    const isOdd = i64x2.neg(v128.and(quarter, i64x2.splat(1)));
    const half = i64x2.shr_u(quarter, 1);
    // The signs of quarters 1 and 2, and of 2 and 3.
    const sign1 = i64x2.shl(v128.xor(quarter, half), 63);
    const sign2 = i64x2.shl(half, 63);
    const first = v128.xor(f64x2.mul(radius, v128.bitselect(sine, cosine, isOdd)), sign1);
    const second = v128.xor(f64x2.mul(radius, v128.bitselect(cosine, sine, isOdd)), sign2);
    v128.store(
      address,
      v128.shuffle<i32>(f32x4.demote_f64x2_zero(first), f32x4.demote_f64x2_zero(second), 0, 4, 1, 5),
    );
  }
}

/** Index of the first of `count` float32 numbers in the buffer that is not finite, or -1. */
export function firstNonFinite(count: i32): i32 {
  const exponent = i32x4.splat(0x7f800000);
  let i = 0;
  for (; i + 16 <= count; i += 16) {
    const address = start + (<usize>i << 2);
    const isWrong0 = i32x4.eq(v128.and(v128.load(address), exponent), exponent);
    const isWrong1 = i32x4.eq(v128.and(v128.load(address, 16), exponent), exponent);
    const isWrong2 = i32x4.eq(v128.and(v128.load(address, 32), exponent), exponent);
    const isWrong3 = i32x4.eq(v128.and(v128.load(address, 48), exponent), exponent);
    if (v128.any_true(v128.or(v128.or(isWrong0, isWrong1), v128.or(isWrong2, isWrong3)))) break;
  }
  for (; i < count; i++) if ((load<i32>(start + (<usize>i << 2)) & 0x7f800000) == 0x7f800000) return i;
  return -1;
}
