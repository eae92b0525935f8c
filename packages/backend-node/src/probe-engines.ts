/** What `dimo doctor` shows: each engine, whether it runs here, and how fast it multiplies matrices. */
import {
  float32,
  specsOf,
  type Engine,
  type EngineAvailability,
  type EngineFactory,
  type PureFunction,
} from '@dimo/core';
import * as tf from '@tensorflow/tfjs-core';
import { describeFailure, nodeEngines } from './plugin.js';

/** One row of the table. */
export interface EngineReport {
  readonly name: string;
  readonly availability: EngineAvailability;
  /** Billions of float32 operations per second in a product of square matrices, if it was measured. */
  readonly gigaflops?: number;
}

/** Options of `probeEngines`. */
export interface ProbeEnginesOptions {
  /** @default the engines of this package */
  readonly engines?: readonly EngineFactory[];
  /** Measure each available engine for about this many seconds; 0 measures nothing. @default 1 */
  readonly seconds?: number;
  /** Called with each row when it is known. */
  readonly onReport?: (report: EngineReport) => void;
}

/** Tries every engine in turn. Never throws because of an engine. */
export async function probeEngines(options: ProbeEnginesOptions = {}): Promise<EngineReport[]> {
  const { engines = nodeEngines, seconds = 1, onReport } = options;
  const reports: EngineReport[] = [];
  for (const factory of engines) {
    const report = await probeEngine(factory, seconds);
    reports.push(report);
    onReport?.(report);
  }
  return reports;
}

async function probeEngine(factory: EngineFactory, seconds: number): Promise<EngineReport> {
  let engine: Engine | undefined;
  try {
    engine = await factory.create();
    const availability: EngineAvailability = { available: true, info: engine.info };
    if (seconds <= 0) return { name: factory.name, availability };
    return { name: factory.name, availability, gigaflops: await matrixProductRate(engine, seconds) };
  } catch (error) {
    return { name: factory.name, availability: describeFailure(error) };
  } finally {
    await engine?.dispose();
  }
}

/** Products in one call, so that transfers and bookkeeping weigh little. */
const productsPerCall = 4;

/**
 * Rate of float32 matrix products through the engine interface. The size grows until one call takes a noticeable part
 * of the time, so that slow engines finish and fast ones are kept busy.
 *
 * @param seconds - how long to measure, about.
 * @returns 10^9 floating-point operations (2 n^3 per product) per second, of the fastest call.
 */
export async function matrixProductRate(engine: Engine, seconds = 1): Promise<number> {
  const deadline = performance.now() + seconds * 1000;
  let best = 0;
  for (const size of [128, 256, 512, 1024, 2048]) {
    const { rate, callTime } = await measure(engine, size, deadline);
    best = Math.max(best, rate);
    // The next size costs eight times as much, and is run twice at least.
    if (performance.now() + 16 * callTime > deadline) break;
  }
  return best;
}

/** Elements of the tensors that `elementwiseRate` works on: those of a batch in a small model. */
const probeElements = 2 ** 18;
/** Rounds of four operators in one call. */
const probeRounds = 8;

/**
 * How fast an engine moves numbers through operators that compute little.
 *
 * @param seconds - how long to measure, about.
 * @returns bytes read and written per second, of the fastest call.
 */
export async function elementwiseRate(engine: Engine, seconds = 0.3): Promise<number> {
  const weights = { x: float32([probeElements]), y: float32([probeElements]) };
  const state = await engine.upload(weights);
  const chain: PureFunction = ({ x, y }) => {
    let value = x!;
    for (let round = 0; round < probeRounds; round++) value = tf.mul(tf.relu(tf.add(tf.mul(value, y!), x!)), y!);
    return { outputs: { corner: tf.slice(value, [0], [1]) } };
  };
  // Three operators read two tensors and write one, the fourth reads one.
  const bytesPerCall = probeRounds * (3 * 3 + 2) * 4 * probeElements;
  const compiled = await engine.compile(chain, { state: specsOf(weights), inputs: {} });
  try {
    let callTime = Infinity;
    const deadline = performance.now() + seconds * 1000;
    do {
      const start = performance.now();
      await compiled.run(state, {});
      callTime = Math.min(callTime, performance.now() - start);
    } while (performance.now() < deadline);
    return (bytesPerCall * 1000) / callTime;
  } finally {
    await compiled.dispose();
    await state.dispose();
  }
}

async function measure(engine: Engine, size: number, deadline: number): Promise<{ rate: number; callTime: number }> {
  const matrix = float32([size, size]);
  for (let i = 0; i < size; i++) matrix.data[i * size + ((i * 7) % size)] = 1; // products stay bounded
  const state = await engine.upload({ matrix });
  const chain: PureFunction = ({ matrix: given }) => {
    let product = given!;
    for (let i = 0; i < productsPerCall; i++) product = tf.matMul(product as tf.Tensor2D, given as tf.Tensor2D);
    return { outputs: { corner: tf.slice(product, [0, 0], [1, 1]) } };
  };
  const compiled = await engine.compile(chain, { state: specsOf({ matrix }), inputs: {} });
  try {
    await compiled.run(state, {}); // warms up: shaders, allocations
    let callTime = Infinity;
    const share = Math.min(deadline, performance.now() + 250);
    do {
      const start = performance.now();
      await compiled.run(state, {});
      callTime = Math.min(callTime, performance.now() - start);
    } while (performance.now() < share);
    return { rate: (productsPerCall * 2 * size ** 3) / callTime / 1e6, callTime };
  } finally {
    await compiled.dispose();
    await state.dispose();
  }
}
