/**
 * Loops over many numbers as WebAssembly with SIMD: the same results, to the bit, in a third of the time or less. Where
 * WebAssembly is missing or not allowed, the caller computes them itself.
 */
import { loopsModule } from './loops-module.js';

/** What assembly/loops.ts exports. */
interface Loops {
  readonly memory: { readonly buffer: ArrayBuffer };
  /** Address of the words, `capacity` of them. */
  buffer(): number;
  philox(count: number, low: number, high: number, step: number, stream: number, key0: number, key1: number): void;
  normals(count: number): void;
  firstNonFinite(count: number): number;
}

/** The part of WebAssembly that is used; not every platform's types have it. */
interface Compiler {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object) => { readonly exports: object };
}

const capacity = 2 ** 14;

/** Numbers from which on the way through the buffer is worth it. */
const worthwhile = 64;

let instance: Loops | false | undefined;

function loopsFor(count: number): Loops | false {
  if (count < worthwhile) return false;
  return (instance ??= instantiate());
}

function instantiate(): Loops | false {
  try {
    const bytes = Uint8Array.from(atob(loopsModule), (character) => character.charCodeAt(0));
    const { Instance, Module } = (globalThis as unknown as { WebAssembly: Compiler }).WebAssembly;
    return new Instance(new Module(bytes)).exports as Loops;
  } catch {
    // A page may forbid it, an old processor lack SIMD.
    return false;
  }
}

/**
 * As `philox4x32`.
 *
 * @returns whether it was done.
 */
export function compiledPhilox(
  counter: readonly [number, number, number, number],
  key: readonly [number, number],
  out: Uint32Array,
): boolean {
  const loops = loopsFor(out.length);
  if (!loops) return false;
  const words = new Uint32Array(loops.memory.buffer, loops.buffer(), capacity);
  for (let done = 0; done < out.length; done += capacity) {
    const count = Math.min(capacity, out.length - done);
    loops.philox(count, counter[0] + done / 4, counter[1], counter[2], counter[3], key[0], key[1]);
    out.set(words.subarray(0, count), done);
  }
  return true;
}

/**
 * As `normalsFromWords`.
 *
 * @param values - what to fill; as many words are there, rounded up to an even number.
 * @returns whether it was done.
 */
export function compiledNormals(words: Uint32Array, values: Float32Array): boolean {
  const loops = loopsFor(values.length);
  if (!loops) return false;
  const given = new Uint32Array(loops.memory.buffer, loops.buffer(), capacity);
  const made = new Float32Array(loops.memory.buffer, loops.buffer(), capacity);
  for (let done = 0; done < values.length; done += capacity) {
    const count = Math.min(capacity, values.length - done);
    const even = count + (count % 2);
    given.set(words.subarray(done, done + even));
    loops.normals(even);
    values.set(made.subarray(0, count), done);
  }
  return true;
}

/**
 * As `findNonFinite`.
 *
 * @returns undefined where it was not done.
 */
export function compiledNonFinite(data: Float32Array): number | undefined {
  const loops = loopsFor(data.length);
  if (!loops) return undefined;
  const given = new Float32Array(loops.memory.buffer, loops.buffer(), capacity);
  for (let done = 0; done < data.length; done += capacity) {
    const part = data.subarray(done, done + capacity);
    given.set(part);
    const index = loops.firstNonFinite(part.length);
    if (index >= 0) return done + index;
  }
  return -1;
}
