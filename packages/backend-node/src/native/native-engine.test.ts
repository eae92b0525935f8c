/** What is particular to engines on the C API; what all engines share is in the conformance suite, which runs here too. */
import { float32, specsOf, type Engine, type HostTree, type PureFunction } from '@dimo/core';
import { engineChecks } from '@dimo/core/conformance';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { createNativeEngine } from './native-engine.js';

/** As on a device with memory of its own: state is in values of the library and goes in and out through sessions. */
const resident = { isResident: true, threads: 1 } as const;

describe('state that the library keeps', () => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await createNativeEngine(resident);
  });
  afterAll(() => engine.dispose());
  for (const check of engineChecks({ create: () => createNativeEngine(resident) }))
    it.skipIf(check.skip)(check.name, () => check.run(engine));
});

describe('state that the library keeps', () => {
  it('gives its memory back when it is released', async () => {
    const engine = await createNativeEngine(resident);
    const size = 2 ** 28;
    const values = { x: float32([size / 4], new Float32Array(size / 4).fill(1)) };
    const signature = { state: specsOf(values), inputs: {} };
    const fill = await engine.compile(({ x }) => ({ state: { x: tf.add(x!, 1) }, outputs: {} }), signature);
    const state = await engine.upload(values);
    await fill.run(state, {});
    expect((await state.download())['x']!.data[5]).toBe(2);
    const held = process.memoryUsage.rss();
    await state.dispose();
    // The state and the spare memory that runs write into.
    await vi.waitFor(() => expect(held - process.memoryUsage.rss()).toBeGreaterThan(size * 1.5), { timeout: 5000 });
    await engine.dispose();
  });
});

/** Products of a matrix with itself, kept small. */
const products =
  (count: number): PureFunction =>
  ({ matrix }) => {
    let product = matrix as tf.Tensor2D;
    for (let i = 0; i < count; i++) product = tf.div(tf.matMul(product, matrix as tf.Tensor2D), 100);
    return { state: { product }, outputs: { corner: tf.slice(product, [0, 0], [1, 1]) } };
  };

describe.each([
  ['written in place', { threads: 2 }],
  ['that the library keeps', { ...resident, threads: 2 }],
] as const)('runs that are not awaited, with state %s', (_, options) => {
  const size = 100;
  const matrix = float32([size, size], new Float32Array(size * size).fill(1));
  let engine: Engine;
  beforeAll(async () => {
    engine = await createNativeEngine(options);
  });
  afterAll(() => engine.dispose());

  /** A function of many products, one of a few, and state with a result for each. */
  async function prepare() {
    const scratch = { long: matrix, short: matrix };
    const state = await engine.upload({ matrix }, { scratch: specsOf(scratch) });
    const signature = { state: specsOf({ matrix, product: matrix }), inputs: {} };
    const long = await engine.compile(products(3000), signature, { threads: 1 });
    const short = await engine.compile(products(3), signature, { threads: 1 });
    return { state, long, short };
  }
  const into = (product: string) => ({ matrix: 'matrix', product });

  it('compute at the same time if they do not touch what the others change', async () => {
    expect(engine.parallelRuns).toBeGreaterThan(0);
    const { state, long, short } = await prepare();
    const finished: string[] = [];
    const note = (name: string) => () => void finished.push(name);
    await Promise.all([
      long.run(state, {}, into('long')).then(note('long')),
      short.run(state, {}, into('short')).then(note('short')),
      new Promise((resolve) => setTimeout(resolve, 1)).then(note('timer')),
    ]);
    expect(finished.at(-1)).toBe('long');
    const results = await state.download(['long', 'short']);
    expect(new Set(results['short']!.data)).toEqual(new Set([1]));
    expect(results['long']!.data).toEqual(results['short']!.data);
  });

  it('overlap in one function', async () => {
    const { state, long } = await prepare();
    const alone = await long.run(state, {}, into('long'));
    // Nothing to observe but the results: each has its own.
    const both = await Promise.all([long.run(state, {}, into('long')), long.run(state, {}, into('short'))]);
    expect(both).toEqual([alone, alone]);
  });

  it('keep their order if one changes what another reads', async () => {
    const inputs = { by: float32([], [1]) };
    const state = await engine.upload({ x: float32([4]) });
    const signature = { state: { x: { dtype: 'float32', shape: [4] } }, inputs: specsOf(inputs) } as const;
    const add = await engine.compile(({ x }, { by }) => ({ state: { x: tf.add(x!, by!) }, outputs: {} }), signature);
    const read = await engine.compile(({ x }) => ({ outputs: { x: tf.mul(x!, 1) } }), signature);
    const seen: Promise<HostTree>[] = [];
    const downloaded: Promise<HostTree>[] = [];
    for (let i = 0; i < 50; i++) {
      seen.push(read.run(state, inputs));
      downloaded.push(state.download());
      void add.run(state, inputs);
    }
    const values = (trees: HostTree[]) => trees.map((tree) => tree['x']!.data[3]);
    const expected = Array.from({ length: 50 }, (_, i) => i);
    expect(values(await Promise.all(seen))).toEqual(expected);
    expect(values(await Promise.all(downloaded))).toEqual(expected);
    expect((await state.download())['x']!.data[0]).toBe(50);
  });
});
