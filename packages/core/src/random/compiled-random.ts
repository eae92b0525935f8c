/**
 * The two loops that make random numbers, as WebAssembly with SIMD: the same numbers, to the bit, in a fifth of the time. Where
 * WebAssembly is missing or not allowed, they are functions of JavaScript.
 */
import { randomModule } from './random-module.js';

/** What assembly/random.ts exports. */
interface CompiledRandom {
  readonly memory: { readonly buffer: ArrayBuffer };
  /** Address of the words, `capacity` of them. */
  buffer(): number;
  philox(count: number, low: number, high: number, step: number, stream: number, key0: number, key1: number): void;
  normals(count: number): void;
}

/** The part of WebAssembly that is used; not every platform's types have it. */
interface Compiler {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object) => { readonly exports: object };
}

const capacity = 2 ** 14;

/** Numbers from which on the way through the buffer is worth it. */
const worthwhile = 64;

let instance: CompiledRandom | false | undefined;

function compiledFor(count: number): CompiledRandom | false {
  if (count < worthwhile) return false;
  return (instance ??= instantiate());
}

function instantiate(): CompiledRandom | false {
  try {
    const bytes = Uint8Array.from(atob(randomModule), (character) => character.charCodeAt(0));
    const { Instance, Module } = (globalThis as unknown as { WebAssembly: Compiler }).WebAssembly;
    return new Instance(new Module(bytes)).exports as CompiledRandom;
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
  const compiled = compiledFor(out.length);
  if (!compiled) return false;
  const words = new Uint32Array(compiled.memory.buffer, compiled.buffer(), capacity);
  for (let done = 0; done < out.length; done += capacity) {
    const count = Math.min(capacity, out.length - done);
    compiled.philox(count, counter[0] + done / 4, counter[1], counter[2], counter[3], key[0], key[1]);
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
  const compiled = compiledFor(values.length);
  if (!compiled) return false;
  const given = new Uint32Array(compiled.memory.buffer, compiled.buffer(), capacity);
  const made = new Float32Array(compiled.memory.buffer, compiled.buffer(), capacity);
  for (let done = 0; done < values.length; done += capacity) {
    const count = Math.min(capacity, values.length - done);
    const even = count + (count % 2);
    given.set(words.subarray(done, done + even));
    compiled.normals(even);
    values.set(made.subarray(0, count), done);
  }
  return true;
}
