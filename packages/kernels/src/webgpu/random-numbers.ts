/**
 * Core's random numbers made on the device, bit for bit: Philox-4x32-10 blocks, uniform numbers from their words, and
 * normal numbers by the host's Box-Muller transform, operation by operation in float64 (see core's random-normal.ts).
 */
import type { Kernel } from './kernel.js';
import { float64Functions, float64Literal, float64Parts } from './float64.js';
import { runProgram, sizeOf, type Program } from './program.js';

const workgroupSize = 64;

/** The first numbers of each stream. A lane makes four uniform numbers, a block, or two normal ones. */
export const randomNumbers: Kernel<'DimoRandomNumbers'> = (backend, _, __, attributes) => {
  const { kind, seedLow, seedHigh, step, stream, rows, factor, shape } = attributes;
  const rowSize = sizeOf(shape) / rows;
  const { sign, exponent, high, low } = float64Parts(factor);
  const [program, perLane] = kind === 'uniform' ? [uniformProgram, 4] : [normalProgram, 2];
  return runProgram(backend, program, {
    inputs: [],
    outputs: [{ shape }],
    uniforms: { seedLow, seedHigh, step, stream, rowSize, sign, exponent: exponent >>> 0, high, low },
    numGroups: Math.ceil((rows * Math.ceil(rowSize / perLane)) / workgroupSize),
  });
};

const uniforms = {
  seedLow: 'u32',
  seedHigh: 'u32',
  step: 'u32',
  stream: 'u32',
  rowSize: 'u32',
  sign: 'u32',
  exponent: 'u32',
  high: 'u32',
  low: 'u32',
} as const;

const weyl = [0x9e3779b9, 0xbb67ae85];

const philox = `
fn philoxBlock(block: u32, row: u32) -> vec4<u32> {
  var c = vec4<u32>(block, 0u, uniforms.step + row, uniforms.stream);
  var key = vec2<u32>(uniforms.seedLow, uniforms.seedHigh);
  for (var round = 0u; round < 10u; round++) {
    let first = wideProduct(${0xd2511f53}u, c.x);
    let second = wideProduct(${0xcd9e8d57}u, c.z);
    c = vec4<u32>(second.x ^ c.y ^ key.x, second.y, first.x ^ c.w ^ key.y, first.y);
    key += vec2<u32>(${weyl.map((value) => `${value}u`).join(', ')});
  }
  return c;
}
// The factor comes after the rounding to float32, and its product is rounded again.
fn scaledBits(value: F64) -> u32 {
  let factor = F64(uniforms.sign, bitcast<i32>(uniforms.exponent), vec2<u32>(uniforms.high, uniforms.low));
  return bitsOfFloat32(toFloat32(multiply64(toFloat32(value), factor)));
}
`;

const uniformProgram: Program = {
  name: 'DimoRandomUniform',
  workgroupSize,
  outputs: [{ name: 'numbers', type: 'f32' }],
  inputs: [],
  uniforms,
  code: () => `${float64Functions}${philox}
fn run(group: u32, lane: u32) {
  let blocksPerRow = (uniforms.rowSize + 3u) / 4u;
  let index = group * workgroupSize + lane;
  let row = index / blocksPerRow;
  let block = index % blocksPerRow;
  let first = row * uniforms.rowSize + block * 4u;
  if (first >= uniforms.size_numbers) { return; }
  let words = philoxBlock(block, row);
  for (var i = 0u; i < min(4u, uniforms.rowSize - block * 4u); i++) {
    numbers[first + i] = bitcast<f32>(scaledBits(scaled64(fromInteger64(0u, words[i] >> 8u), -24)));
  }
}`,
};

/** Coefficients of the three power series, behind one another: of artanh, cosine and sine. */
const artanh = [1, 1 / 3, 1 / 5, 1 / 7, 1 / 9, 1 / 11];
const cosine = [1, -1 / 2, 1 / 24, -1 / 720];
const sine = [1, -1 / 6, 1 / 120, -1 / 5040];
const coefficients = [...artanh, ...cosine, ...sine];

/** WGSL: `boxMuller(word, angle)`, two standard normal numbers in float64. Needs `float64Functions`. */
export const boxMuller = `
const coefficients = array<F64, ${coefficients.length}>(${coefficients.map(float64Literal).join(', ')});
// Horner's scheme from the innermost term out. A loop: drivers write functions out wherever they are called.
fn series(square: F64, begin: u32, count: u32, last: F64) -> F64 {
  var sum = last;
  for (var i = count; i > 0u; i--) { sum = add64(coefficients[begin + i - 1u], multiply64(square, sum)); }
  return sum;
}
// ln((word + 1) 2^-32) = exponent ln 2 + 2 artanh((m - 1) / (m + 1)), m within a factor sqrt(2) of 1.
fn logarithm(word: u32) -> F64 {
  let zeros = countLeadingZeros(word);
  // word + 1 may need 33 bits.
  var mantissa = scaled64(add64(fromInteger64(0u, word), ${float64Literal(1)}), i32(zeros) - 31);
  var exponent = -i32(zeros) - 1;
  let root2 = ${float64Literal(Math.SQRT2)};
  if (mantissa.exponent > 0 || isBelow(root2.significand, mantissa.significand)) {
    mantissa = scaled64(mantissa, -1);
    exponent += 1;
  }
  let s = divide64(add64(mantissa, ${float64Literal(-1)}), add64(mantissa, ${float64Literal(1)}));
  let square = multiply64(s, s);
  let sum = series(square, 0u, ${artanh.length}u, ${float64Literal(1 / 13)});
  let whole = multiply64(fromInteger64(select(0u, 1u, exponent < 0), u32(abs(exponent))), ${float64Literal(Math.LN2)});
  return add64(whole, multiply64(scaled64(s, 1), sum));
}
struct Pair { first: F64, second: F64 };
fn boxMuller(word: u32, angle: u32) -> Pair {
  // -2 ln x, whose zero is -0 as on the host.
  let radius = root64(negated64(scaled64(logarithm(word), 1)));
  let turned = bitcast<i32>(angle << 2u);
  let offset = multiply64(fromInteger64(select(0u, 1u, turned < 0), u32(abs(turned))), ${float64Literal(Math.PI * 2 ** -33)});
  let isNegative = offset.sign == 1u && !isZero(offset.significand);
  let quarter = ((angle >> 30u) + select(0u, 1u, isNegative)) & 3u;
  let square = multiply64(offset, offset);
  // The last term of either series is itself a quotient.
  let lastCosine = add64(${float64Literal(1 / 40320)}, negated64(divide64(square, ${float64Literal(3628800)})));
  let lastSine = add64(${float64Literal(1 / 362880)}, negated64(divide64(square, ${float64Literal(39916800)})));
  let cosine = series(square, ${artanh.length}u, ${cosine.length}u, lastCosine);
  let sine = multiply64(offset, series(square, ${artanh.length + cosine.length}u, ${sine.length}u, lastSine));
  var first = cosine;
  var second = sine;
  if ((quarter & 1u) == 1u) { first = sine; second = cosine; }
  var result = Pair(multiply64(radius, first), multiply64(radius, second));
  if (quarter == 1u || quarter == 2u) { result.first = negated64(result.first); }
  if (quarter >= 2u) { result.second = negated64(result.second); }
  return result;
}`;

const normalProgram: Program = {
  name: 'DimoRandomNormal',
  workgroupSize,
  outputs: [{ name: 'numbers', type: 'f32' }],
  inputs: [],
  uniforms,
  code: () => `${float64Functions}${philox}${boxMuller}
fn run(group: u32, lane: u32) {
  let pairsPerRow = (uniforms.rowSize + 1u) / 2u;
  let index = group * workgroupSize + lane;
  let row = index / pairsPerRow;
  let i = 2u * (index % pairsPerRow);
  let first = row * uniforms.rowSize + i;
  if (first >= uniforms.size_numbers) { return; }
  let words = philoxBlock(i / 4u, row);
  let pair = boxMuller(words[i & 2u], words[(i & 2u) + 1u]);
  numbers[first] = bitcast<f32>(scaledBits(pair.first));
  if (i + 1u < uniforms.rowSize) { numbers[first + 1u] = bitcast<f32>(scaledBits(pair.second)); }
}`,
};
