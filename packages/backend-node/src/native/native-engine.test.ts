/** What is particular to engines on the C API; what all engines share is in the conformance suite, which runs here too. */
import { float32, int32, specsOf, type Engine, type HostTree, type PureFunction } from '@dimo/core';
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

describe('state that the library keeps', () => {
  it('stays as it was when a run fails, and changes with the next', async () => {
    const engine = await createNativeEngine(resident);
    const values = { table: float32([2, 2], [1, 2, 3, 4]) };
    const inputs = { ids: int32([1], [5]) };
    const state = await engine.upload(values);
    const lookup = await engine.compile(
      ({ table }, { ids }) => ({
        state: { table: tf.mul(table!, 2) },
        outputs: { row: tf.gather(table!, ids as tf.Tensor1D) },
      }),
      { state: specsOf(values), inputs: specsOf(inputs) },
    );
    for (let i = 0; i < 3; i++) await expect(lookup.run(state, inputs)).rejects.toMatchObject({ code: 'device' });
    expect(await state.download()).toEqual(values);
    for (let i = 0; i < 3; i++) await lookup.run(state, { ids: int32([1], [1]) });
    expect([...(await state.download())['table']!.data]).toEqual([8, 16, 24, 32]);
    await state.assign({ table: float32([2, 2], [1, 1, 1, 1]) });
    await lookup.run(state, { ids: int32([1], [1]) });
    expect([...(await state.download())['table']!.data]).toEqual([2, 2, 2, 2]);
    await engine.dispose();
  });
});

describe('working memory', () => {
  const length = 5000;
  const column = float32([length, 1], new Float32Array(length).fill(1));
  /** Has matrices of 100 MB in between. */
  const large: PureFunction = ({ column }) => {
    const matrix = tf.matMul(column as tf.Tensor2D, column as tf.Tensor2D, false, true);
    return { outputs: { most: tf.max(tf.cos(matrix)) } };
  };
  const megabytes = () => process.memoryUsage.rss() / 2 ** 20;

  it('is one for all functions, and given back with the last', async () => {
    const engine = await createNativeEngine({ threads: 1 });
    const state = await engine.upload({ column });
    const before = megabytes();
    const compiled = [];
    for (let i = 0; i < 4; i++) {
      const fn = await engine.compile(large, { state: specsOf({ column }), inputs: {} });
      const { most } = await fn.run(state, {});
      expect(most!.data[0]).toBeCloseTo(Math.cos(1), 5);
      compiled.push(fn);
    }
    const held = megabytes() - before;
    // Two such matrices at a time, where the second is not written over the first.
    expect(held).toBeLessThan(250);
    for (const fn of compiled) await fn.dispose();
    expect(megabytes() - before).toBeLessThan(50);
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
    const long = await engine.compile(products(3000), signature, { overlapping: 2 });
    const short = await engine.compile(products(3), signature, { overlapping: 2 });
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
