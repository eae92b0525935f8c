/**
 * WGSL functions that compute in IEEE float64 with integers, rounding to nearest even as the host does, for the few
 * places where a device has to give the host's numbers bit for bit. WebGPU itself has no float64, and its float32 may be
 * rounded and contracted as a driver likes, which integers may not.
 *
 * A number is sign, exponent and 64 bits of significand whose highest bit is set and whose lowest eleven are zero, with the
 * value significand 2^(exponent - 63); zero has a significand of zero. No infinities, no NaN, no subnormal numbers.
 */

/** WGSL expression of a constant. */
export function float64Literal(value: number): string {
  const { sign, exponent, high, low } = float64Parts(value);
  return `F64(${sign}u, ${exponent}, vec2<u32>(${high}u, ${low}u))`;
}

/** The parts of a number as the functions below hold them. */
export function float64Parts(value: number): { sign: number; exponent: number; high: number; low: number } {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, value);
  const sign = view.getUint32(0) >>> 31;
  if (value === 0) return { sign, exponent: 0, high: 0, low: 0 };
  const [upper, lower] = [view.getUint32(0), view.getUint32(4)];
  return {
    sign,
    exponent: ((upper >>> 20) & 0x7ff) - 1023,
    high: (0x80000000 | ((upper & 0xfffff) << 11) | (lower >>> 21)) >>> 0,
    low: (lower << 11) >>> 0,
  };
}

/** Declarations: `F64`, `multiply64`, `add64`, `divide64`, `root64`, `fromInteger64`, `toFloat32`, and `wideProduct`. */
export const float64Functions = `
struct F64 { sign: u32, exponent: i32, significand: vec2<u32> }; // significand: high word, low word

fn wideProduct(a: u32, b: u32) -> vec2<u32> {
  let low = (a & 0xffffu) * (b & 0xffffu);
  let middle = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
  let carry = (a & 0xffffu) * (b >> 16u) + (middle & 0xffffu);
  return vec2<u32>((a >> 16u) * (b >> 16u) + (middle >> 16u) + (carry >> 16u), a * b);
}
fn plus(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  let low = a.y + b.y;
  return vec2<u32>(a.x + b.x + select(0u, 1u, low < a.y), low);
}
fn minus(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  return vec2<u32>(a.x - b.x - select(0u, 1u, a.y < b.y), a.y - b.y);
}
fn isBelow(a: vec2<u32>, b: vec2<u32>) -> bool { return a.x < b.x || (a.x == b.x && a.y < b.y); }
fn isZero(a: vec2<u32>) -> bool { return (a.x | a.y) == 0u; }
// By 0 to 31 bits.
fn left(a: vec2<u32>, n: u32) -> vec2<u32> {
  if (n == 0u) { return a; }
  return vec2<u32>((a.x << n) | (a.y >> (32u - n)), a.y << n);
}
// By any number of bits; what falls off the end stays as the lowest bit, which is all that rounding asks.
fn rightKeeping(a: vec2<u32>, n: u32) -> vec2<u32> {
  if (n == 0u) { return a; }
  if (n < 32u) {
    let lost = a.y << (32u - n);
    return vec2<u32>(a.x >> n, (a.x << (32u - n)) | (a.y >> n) | select(0u, 1u, lost != 0u));
  }
  if (n == 32u) { return vec2<u32>(0u, a.x | select(0u, 1u, a.y != 0u)); }
  if (n < 64u) {
    let lost = (a.x << (64u - n)) | a.y;
    return vec2<u32>(0u, (a.x >> (n - 32u)) | select(0u, 1u, lost != 0u));
  }
  return vec2<u32>(0u, select(0u, 1u, !isZero(a)));
}
// Rounds a significand with its highest bit set, and anything below, to 53 bits.
fn rounded(sign: u32, exponent: i32, significand: vec2<u32>) -> F64 {
  let rest = significand.y & 0x7ffu;
  var kept = vec2<u32>(significand.x, significand.y & 0xfffff800u);
  var power = exponent;
  if (rest > 0x400u || (rest == 0x400u && (kept.y & 0x800u) != 0u)) {
    kept = plus(kept, vec2<u32>(0u, 0x800u));
    if (kept.x == 0u) { kept.x = 0x80000000u; power += 1; }
  }
  return F64(sign, power, kept);
}
fn normalized(sign: u32, exponent: i32, significand: vec2<u32>) -> F64 {
  var bits = significand;
  var power = exponent;
  if (isZero(bits)) { return F64(0u, 0, bits); }
  if (bits.x == 0u) { bits = vec2<u32>(bits.y, 0u); power -= 32; }
  let zeros = countLeadingZeros(bits.x);
  return rounded(sign, power - i32(zeros), left(bits, zeros));
}
fn negated64(a: F64) -> F64 { return F64(a.sign ^ 1u, a.exponent, a.significand); }
fn scaled64(a: F64, power: i32) -> F64 { return F64(a.sign, a.exponent + power, a.significand); }
fn fromInteger64(sign: u32, value: u32) -> F64 { return normalized(sign, 63, vec2<u32>(0u, value)); }

fn multiply64(a: F64, b: F64) -> F64 {
  let sign = a.sign ^ b.sign;
  if (isZero(a.significand) || isZero(b.significand)) { return F64(sign, 0, vec2<u32>(0u)); }
  let lowest = wideProduct(a.significand.y, b.significand.y);
  let cross1 = wideProduct(a.significand.x, b.significand.y);
  let cross2 = wideProduct(a.significand.y, b.significand.x);
  let highest = wideProduct(a.significand.x, b.significand.x);
  // Words 1 and up: cross1 + cross2 + the high word of the lowest, with the carry into word 3.
  let sum1 = plus(cross1, vec2<u32>(0u, lowest.x));
  let sum2 = plus(sum1, cross2);
  let carry = select(0u, 1u, isBelow(sum2, cross2));
  let top = plus(highest, vec2<u32>(carry, sum2.x));
  let sticky = select(0u, 1u, (lowest.y) != 0u);
  if ((top.x & 0x80000000u) != 0u)
    { return rounded(sign, a.exponent + b.exponent + 1, vec2<u32>(top.x, top.y | select(0u, 1u, (sum2.y | sticky) != 0u))); }
  let shifted = vec2<u32>((top.x << 1u) | (top.y >> 31u), (top.y << 1u) | (sum2.y >> 31u));
  return rounded(sign, a.exponent + b.exponent, vec2<u32>(shifted.x, shifted.y | select(0u, 1u, ((sum2.y << 1u) | sticky) != 0u)));
}
fn add64(a: F64, b: F64) -> F64 {
  if (isZero(a.significand)) {
    if (isZero(b.significand)) { return F64(a.sign & b.sign, 0, b.significand); }
    return b;
  }
  if (isZero(b.significand)) { return a; }
  var larger = a;
  var smaller = b;
  if (b.exponent > a.exponent || (b.exponent == a.exponent && isBelow(a.significand, b.significand))) { larger = b; smaller = a; }
  let aligned = rightKeeping(smaller.significand, u32(larger.exponent - smaller.exponent));
  if (larger.sign == smaller.sign) {
    let sum = plus(larger.significand, aligned);
    if (isBelow(sum, aligned)) {
      let halved = rightKeeping(sum, 1u);
      return rounded(larger.sign, larger.exponent + 1, vec2<u32>(halved.x | 0x80000000u, halved.y));
    }
    return rounded(larger.sign, larger.exponent, sum);
  }
  return normalized(larger.sign, larger.exponent, minus(larger.significand, aligned));
}
// The divisor must not be zero.
fn divide64(a: F64, b: F64) -> F64 {
  let sign = a.sign ^ b.sign;
  if (isZero(a.significand)) { return F64(sign, 0, vec2<u32>(0u)); }
  var rest = rightKeeping(a.significand, 11u);
  let divisor = rightKeeping(b.significand, 11u);
  var exponent = a.exponent - b.exponent;
  if (isBelow(rest, divisor)) { rest = left(rest, 1u); exponent -= 1; }
  var quotient = vec2<u32>(0u);
  for (var i = 0u; i < 56u; i++) {
    quotient = left(quotient, 1u);
    if (!isBelow(rest, divisor)) { rest = minus(rest, divisor); quotient.y |= 1u; }
    rest = left(rest, 1u);
  }
  quotient = left(quotient, 8u);
  if (!isZero(rest)) { quotient.y |= 1u; }
  return rounded(sign, exponent, quotient);
}
// Of a number that is not negative, or of -0.
fn root64(a: F64) -> F64 {
  if (isZero(a.significand)) { return a; }
  // Two bits of the radicand make one of the root.
  var radicand = a.significand;
  if ((a.exponent & 1) == 0) { radicand = rightKeeping(radicand, 1u); }
  var rest = vec2<u32>(0u);
  var root = vec2<u32>(0u);
  for (var i = 0u; i < 56u; i++) {
    rest = left(rest, 2u);
    rest.y |= radicand.x >> 30u;
    radicand = left(radicand, 2u);
    root = left(root, 1u);
    let trial = left(root, 1u) | vec2<u32>(0u, 1u);
    if (!isBelow(rest, trial)) { rest = minus(rest, trial); root.y |= 1u; }
  }
  root = left(root, 8u);
  if (!isZero(rest)) { root.y |= 1u; }
  return rounded(0u, a.exponent >> 1u, root);
}
// Rounded to float32, normal or zero, still as F64.
fn toFloat32(a: F64) -> F64 {
  if (isZero(a.significand)) { return a; }
  var kept = a.significand.x & 0xffffff00u;
  var exponent = a.exponent;
  let rest = a.significand.x & 0xffu;
  let isTie = rest == 0x80u && a.significand.y == 0u;
  if (select(rest >= 0x80u, (kept & 0x100u) != 0u, isTie)) {
    kept += 0x100u;
    if (kept == 0u) { kept = 0x80000000u; exponent += 1; }
  }
  return F64(a.sign, exponent, vec2<u32>(kept, 0u));
}
// Of a number that toFloat32 has returned.
fn bitsOfFloat32(a: F64) -> u32 {
  if (isZero(a.significand)) { return a.sign << 31u; }
  return (a.sign << 31u) | (u32(a.exponent + 127) << 23u) | ((a.significand.x >> 8u) & 0x7fffffu);
}
`;
