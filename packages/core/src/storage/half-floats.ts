/** 16-bit floating-point numbers as stored in weight files: IEEE binary16 (F16) and bfloat16 (BF16). */

const floatView = new Float32Array(1);
const bitsView = new Uint32Array(floatView.buffer);

let halfTable: Float32Array | undefined;

/** The float32 value of each of the 65,536 IEEE binary16 bit patterns; made on first use (256 KiB). */
export function float16Table(): Float32Array {
  if (halfTable === undefined) {
    halfTable = new Float32Array(0x10000);
    for (let bits = 0; bits < 0x10000; bits++) {
      const sign = bits & 0x8000 ? -1 : 1;
      const exponent = (bits >> 10) & 0x1f;
      const fraction = bits & 0x3ff;
      if (exponent === 0) halfTable[bits] = sign * fraction * 2 ** -24;
      else if (exponent === 0x1f) halfTable[bits] = fraction === 0 ? sign * Infinity : NaN;
      else halfTable[bits] = sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
    }
  }
  return halfTable;
}

/** The IEEE binary16 bit pattern nearest to a float32 value, ties to even; beyond 65,520 infinity. */
export function toFloat16Bits(value: number): number {
  floatView[0] = value;
  const bits = bitsView[0] as number;
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00;
  if (magnitude >= 0x38800000) {
    // Normal: drop 13 bits of fraction, rounding half to even, and change the exponent bias from 127 to 15.
    const rounded = magnitude + 0xfff + ((magnitude >>> 13) & 1);
    return sign | ((rounded - 0x38000000) >>> 13);
  }
  // Subnormal: the value in units of 2^-24, rounded half to even. The scaling is exact in float64.
  const units = Math.abs(floatView[0] as number) * 2 ** 24;
  const floor = Math.floor(units);
  const rest = units - floor;
  return sign | (rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor);
}

/** The bfloat16 bit pattern nearest to a float32 value, ties to even. */
export function toBfloat16Bits(value: number): number {
  floatView[0] = value;
  const bits = bitsView[0] as number;
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

/**
 * Decodes bfloat16 bit patterns.
 *
 * @param source - bit patterns.
 * @param out - receives the float32 values, exactly.
 */
export function decodeBfloat16(source: Uint16Array, out: Float32Array): void {
  const words = new Uint32Array(out.buffer, out.byteOffset, out.length);
  for (let i = 0; i < source.length; i++) words[i] = (source[i] as number) << 16;
}
