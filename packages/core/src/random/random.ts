/**
 * Counter-based random numbers: Philox-4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011),
 * keyed by (seed, step, stream); the step is the number of the sample where numbers belong to one. Any step can be recomputed alone, and all engines see the same numbers. The only
 * source of randomness in the project.
 */
import { requireInteger } from '../options/check-options.js';
import { OptionError } from '../errors.js';
import { compiledPhilox } from '../compiled/compiled-loops.js';
import { normalsFromWords } from './random-normal.js';

/** What a stream's words follow from: block b of four words has the counter {b low, b high, step, stream} and the seed as key. */
export interface StreamKey {
  /** uint32 words of the seed, low word first. */
  readonly seed: readonly [number, number];
  /** uint32. */
  readonly step: number;
  /** uint32 hash of the name. */
  readonly stream: number;
  /** Streams of as many consecutive steps, each of which gives an equal part of the numbers, in order. @default 1 */
  readonly rows?: number;
}

/** Numbers of one (seed, step, stream), in order. The same key gives the same numbers. */
export interface RandomStream {
  readonly key: StreamKey;
  /** `count` float32 uniform in [0, 1), multiples of 2^-24. */
  uniform(count: number): Float32Array<ArrayBuffer>;
  /** `count` float32 standard normal (Box-Muller in float64). */
  normal(count: number): Float32Array<ArrayBuffer>;
  /** `count` int32 uniform in [0, below), without modulo bias beyond 2^-32. */
  integers(count: number, below: number): Int32Array<ArrayBuffer>;
  /** A uniform permutation of 0 .. length-1 (Fisher-Yates). */
  permutation(length: number): Int32Array<ArrayBuffer>;
  /** An independent stream derived from this one's key, not from its position. */
  fork(name: string): RandomStream;
}

const multiplier0 = 0xd2511f53;
const multiplier1 = 0xcd9e8d57;
const weyl0 = 0x9e3779b9;
const weyl1 = 0xbb67ae85;

/**
 * Philox-4x32-10 blocks with counters {first + i, high, step, stream}, i = 0, 1, ...
 *
 * @param counter - four uint32 words of the first block; its low word must not wrap within the run.
 * @param key - two uint32 words.
 * @param out - receives four uint32 words a block; its length, divided by 4, is the number of blocks.
 */
export function philox4x32(
  counter: readonly [number, number, number, number],
  key: readonly [number, number],
  out: Uint32Array,
): void {
  if (compiledPhilox(counter, key, out)) return;
  const high = counter[1] | 0;
  const step = counter[2] | 0;
  const stream = counter[3] | 0;
  const key0 = key[0] | 0;
  const key1 = key[1] | 0;
  for (let i = 0; i + 4 <= out.length; i += 4) {
    let c0 = (counter[0] + (i >>> 2)) | 0;
    let c1 = high;
    let c2 = step;
    let c3 = stream;
    let k0 = key0;
    let k1 = key1;
    for (let round = 0; round < 10; round++) {
      const high0 = multiplyHigh(multiplier0, c0);
      const low0 = Math.imul(multiplier0, c0);
      const high1 = multiplyHigh(multiplier1, c2);
      const low1 = Math.imul(multiplier1, c2);
      c0 = high1 ^ c1 ^ k0;
      c1 = low1;
      c2 = high0 ^ c3 ^ k1;
      c3 = low0;
      k0 = (k0 + weyl0) | 0;
      k1 = (k1 + weyl1) | 0;
    }
    out[i] = c0;
    out[i + 1] = c1;
    out[i + 2] = c2;
    out[i + 3] = c3;
  }
}

/** Upper 32 bits of the product of two uint32, as an int32. In int32 arithmetic throughout, which is what is fast. */
function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  // Neither sum exceeds 32 bits.
  const middle = (Math.imul(aHigh, bLow) + (Math.imul(aLow, bLow) >>> 16)) | 0;
  const carry = (Math.imul(aLow, bHigh) + (middle & 0xffff)) | 0;
  return (Math.imul(aHigh, bHigh) + (middle >>> 16) + (carry >>> 16)) | 0;
}

/** FNV-1a hash of a name, uint32. */
function hashName(name: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}

/**
 * The stream of (seed, step, name).
 *
 * @param seed - integer in [0, 2^53).
 * @param step - integer in [0, 2^32).
 * @param name - what the numbers are for: `generator/uniforms`.
 * @throws OptionError if seed or step is not such an integer.
 */
export function randomStream(seed: number, step: number, name: string): RandomStream {
  if (!Number.isSafeInteger(seed) || seed < 0)
    throw new OptionError(`randomStream: seed must be an integer in [0, 2^53), got ${seed}`);
  if (!Number.isInteger(step) || step < 0 || step >= 2 ** 32)
    throw new OptionError(`randomStream: step must be an integer in [0, 2^32), got ${step}`);
  const key = [seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0] as const;
  const stream = hashName(name);
  let block = 0;
  /** Words of the last block that nobody has taken yet. */
  let rest = new Uint32Array(0);

  /** The next `count` words of the stream. */
  function take(count: number): Uint32Array {
    requireInteger(count, 'RandomStream: the number of numbers', 0);
    const words = new Uint32Array(count);
    words.set(rest.subarray(0, count));
    let filled = Math.min(rest.length, count);
    rest = rest.subarray(filled);
    while (filled < count) {
      // A run of blocks must not carry into the second word of the counter.
      const blocks = Math.min(Math.ceil((count - filled) / 4), 2 ** 32 - (block % 2 ** 32));
      const whole = Math.floor((count - filled) / 4) >= blocks;
      const run = whole ? words.subarray(filled, filled + 4 * blocks) : new Uint32Array(4 * blocks);
      philox4x32([block % 2 ** 32, Math.floor(block / 2 ** 32), step, stream], key, run);
      block += blocks;
      if (!whole) {
        words.set(run.subarray(0, count - filled), filled);
        rest = run.slice(count - filled);
      }
      filled = Math.min(count, filled + 4 * blocks);
    }
    return words;
  }

  return {
    key: { seed: key, step, stream },
    uniform(count) {
      const words = take(count);
      const values = new Float32Array(count);
      for (let i = 0; i < count; i++) values[i] = (words[i]! >>> 8) * 2 ** -24;
      return values;
    },
    normal(count) {
      requireInteger(count, 'RandomStream: the number of numbers', 0);
      return normalsFromWords(take(count + (count % 2)), count);
    },
    integers(count, below) {
      if (!Number.isInteger(below) || below < 1 || below > 2 ** 31)
        throw new OptionError(`RandomStream.integers: below must be an integer in [1, 2^31], got ${below}`);
      const words = take(count);
      const values = new Int32Array(count);
      for (let i = 0; i < count; i++) values[i] = Math.floor((words[i]! * below) / 2 ** 32);
      return values;
    },
    permutation(length) {
      requireInteger(length, 'RandomStream: the length of a permutation', 0);
      const words = take(Math.max(0, length - 1));
      const order = Int32Array.from({ length }, (_, i) => i);
      for (let i = length - 1; i > 0; i--) {
        const j = Math.floor((words[length - 1 - i]! * (i + 1)) / 2 ** 32);
        const moved = order[i]!;
        order[i] = order[j]!;
        order[j] = moved;
      }
      return order;
    },
    fork(child) {
      return randomStream(seed, step, `${name}/${child}`);
    },
  };
}
