/** What is particular to engines of onnxruntime on the CPU; what all engines share is in the conformance suite. */
import {
  float32,
  int32,
  linear,
  readSafetensors,
  scalar,
  specsOf,
  treeDifference,
  writeSafetensors,
  type Engine,
  type HostTree,
  type PureFunction,
} from '@dimo/core';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { createNativeEngine } from './native/native-engine.js';
import { createOnnxEngine } from './onnx-engine.js';

/** One step of gradient descent on the mean squared error of a linear model. */
const descend: PureFunction = (state, { x, target, rate }) => {
  const loss = (weight: tf.Tensor, bias: tf.Tensor): tf.Scalar => {
    const error = tf.sub(linear(x!, weight, bias), target!);
    return tf.mean(tf.mul(error, error));
  };
  const { value, grads } = tf.valueAndGrads((...args) => loss(args[0]!, args[1]!))([state['weight']!, state['bias']!]);
  return {
    state: {
      weight: tf.sub(state['weight']!, tf.mul(rate!, grads[0]!)),
      bias: tf.sub(state['bias']!, tf.mul(rate!, grads[1]!)),
    },
    outputs: { loss: value },
  };
};

describe.each([
  { name: 'onnx', library: 'onnxruntime-node', create: createOnnxEngine },
  { name: 'onnx-native', library: 'onnxruntime', create: createNativeEngine },
])('the engine $name', ({ name, library, create }) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await create();
  });
  afterAll(() => engine.dispose());

  it('says what it runs on', () => {
    expect(engine.info.name).toBe(name);
    expect(engine.info.device).toMatch(/^CPU, \d+ threads?$/);
    expect(engine.info.versions[library]).toMatch(/^\d+\.\d+/);
  });

  it('trains a linear model to the known solution', async () => {
    const weights = { weight: float32([1, 2]), bias: float32([1]) };
    const x = float32([4, 2], [0, 0, 1, 0, 0, 1, 1, 1]);
    const inputs = { x, target: float32([4, 1], [1, 3, -2, 0]), rate: scalar(0.5) }; // 1 + 2 a - 3 b
    const state = await engine.upload(weights);
    const step = await engine.compile(descend, { state: specsOf(weights), inputs: specsOf(inputs) });
    let loss = Infinity;
    for (let i = 0; i < 150; i++) loss = (await step.run(state, inputs))['loss']!.data[0]!;
    expect(loss).toBeLessThan(1e-9);
    const { weight, bias } = await state.download();
    expect([...weight!.data].map((v) => Math.round(v * 1e4) / 1e4)).toEqual([2, -3]);
    expect(bias!.data[0]).toBeCloseTo(1, 4);
    await step.dispose();
    await state.dispose();
  });

  describe.each(['F16', 'BF16'] as const)('with state stored as %s', (float) => {
    // Small, large and negative numbers that both formats hold exactly.
    const numbers = { weight: float32([1, 2], [0.5, -3]), bias: float32([1], [2 ** -20]) };
    const stored = readSafetensors(writeSafetensors(numbers, { float }), { keepHalf: true }).tensors;
    const predict: PureFunction = (state, { x }) => ({
      outputs: { y: linear(x!, state['weight']!, state['bias']!), bias: tf.clone(state['bias']!) },
    });
    const inputs = { x: float32([2, 2], [1, 0, 1, 1]) };
    const expected = [0.5 + 2 ** -20, -2.5 + 2 ** -20].map(Math.fround);

    it('computes and downloads the stored numbers', async () => {
      const state = await engine.upload(stored);
      const compiled = await engine.compile(predict, { state: specsOf(stored), inputs: specsOf(inputs) });
      const { y, bias } = await compiled.run(state, inputs);
      expect([...y!.data]).toEqual(expected);
      expect([...bias!.data]).toEqual([2 ** -20]);
      expect(treeDifference(await state.download(), numbers)).toBeUndefined();
      // The same function on float32 state, and on a mixture.
      for (const other of [numbers, { weight: stored['weight']!, bias: numbers.bias }]) {
        const tree = await engine.upload(other);
        expect([...(await compiled.run(tree, inputs))['y']!.data]).toEqual(expected);
        await tree.dispose();
      }
      await compiled.dispose();
      await state.dispose();
    });

    it('may be moved instead of copied', async () => {
      const own = readSafetensors(writeSafetensors(numbers, { float }), { keepHalf: true }).tensors;
      const state = await engine.upload({ ...own, again: own['weight']! }, { move: true });
      const found = await state.download();
      expect(treeDifference(found, { ...numbers, again: numbers.weight })).toBeUndefined();
      if (float === 'F16') expect(() => own['weight']!.data).toThrow(/moved to an engine/);
      await state.dispose();
    });

    it('takes float32 numbers that are assigned later', async () => {
      const state = await engine.upload(stored);
      const compiled = await engine.compile(predict, { state: specsOf(stored), inputs: specsOf(inputs) });
      const before = compiled.run(state, inputs);
      await state.assign({ bias: float32([1], [1 / 3]) }); // a third has no 16-bit form
      expect((await compiled.run(state, inputs))['bias']!.data[0]).toBe(Math.fround(1 / 3));
      expect([...(await before)['y']!.data]).toEqual(expected);
      await compiled.dispose();
      await state.dispose();
    });

    it('is trained in float32', async () => {
      const given = { x: inputs.x, target: float32([2, 1], [1, 1]), rate: scalar(0.1) };
      const results: HostTree[] = [];
      for (const weights of [numbers, stored]) {
        const state = await engine.upload(weights);
        const step = await engine.compile(descend, { state: specsOf(weights), inputs: specsOf(given) });
        for (let i = 0; i < 3; i++) await step.run(state, given);
        results.push(await state.download());
        await step.dispose();
        await state.dispose();
      }
      expect(treeDifference(results[1]!, results[0]!)).toBeUndefined();
    });
  });

  it('moves float32 state, but never a part of a larger array', async () => {
    const table = new Float32Array([1, 2, 3, 4]);
    const whole = float32([2], [5, 6]);
    const state = await engine.upload({ part: float32([2], table.subarray(1, 3)), whole }, { move: true });
    expect([...table]).toEqual([1, 2, 3, 4]);
    expect(whole.data).toHaveLength(0);
    const { part, whole: moved } = await state.download();
    expect([...part!.data, ...moved!.data]).toEqual([2, 3, 5, 6]);
    await state.dispose();
  });

  it('reports a failing kernel as a device error and keeps the state', async () => {
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
    await expect(lookup.run(state, inputs)).rejects.toMatchObject({ name: 'DimoError', code: 'device' });
    expect(await state.download()).toEqual(values);
    await lookup.run(state, { ids: int32([1], [1]) });
    expect([...(await state.download())['table']!.data]).toEqual([2, 4, 6, 8]);
    await lookup.dispose();
    await state.dispose();
  });

  it('reports what cannot be traced', async () => {
    const captured = await withCpu(() => tf.tensor1d([1, 2]));
    const signature = { state: {}, inputs: { x: { dtype: 'float32', shape: [2] } } } as const;
    const capture: PureFunction = (_, { x }) => ({ outputs: { y: tf.add(x!, captured) } });
    await expect(engine.compile(capture, signature)).rejects.toMatchObject({ code: 'trace' });
    captured.dispose();
  });

  it('traces while another backend is starting', async () => {
    const backend = Object.assign(new tf.KernelBackend(), { dispose: () => {} });
    const slowly = () => new Promise<tf.KernelBackend>((resolve) => setTimeout(() => resolve(backend), 50));
    tf.registerBackend('slow-start', slowly, 0);
    const previous = tf.engine().backendName;
    const starting = tf.setBackend('slow-start');
    const inputs = { x: float32([2], [1, 2]) };
    const state = await engine.upload({});
    const double = await engine.compile((_, { x }) => ({ outputs: { x: tf.mul(x!, 2) } }), {
      state: {},
      inputs: specsOf(inputs),
    });
    await starting;
    if (previous) await tf.setBackend(previous);
    tf.removeBackend('slow-start');
    expect([...(await double.run(state, inputs))['x']!.data]).toEqual([2, 4]);
  });

  it('refuses a model that onnxruntime cannot read', async () => {
    const broken = await create({ emit: () => () => Uint8Array.of(1, 2, 3) });
    await expect(broken.compile(descend, { state: {}, inputs: {} })).rejects.toMatchObject({ code: 'trace' });
    await broken.dispose();
  });

  it('gives the memory of a released tree back, without waiting for the garbage collector', async () => {
    const size = 2 ** 28;
    const state = await engine.upload({ x: float32([size / 4], new Float32Array(size / 4).fill(1)) }, { move: true });
    const held = process.memoryUsage.rss();
    await state.dispose();
    await vi.waitFor(() => expect(held - process.memoryUsage.rss()).toBeGreaterThan(size / 2), { timeout: 5000 });
  });

  it('refuses the device tree of another engine', async () => {
    const other = await create({ threads: 1 });
    const foreign = await other.upload({ x: float32([1]) });
    const identity = await engine.compile(({ x }) => ({ outputs: { x: x! } }), {
      state: { x: { dtype: 'float32', shape: [1] } },
      inputs: {},
    });
    await expect(identity.run(foreign, {})).rejects.toMatchObject({ code: 'option' });
    await identity.dispose();
    await other.dispose();
  });

  it('gives the same bits for any number of threads', async () => {
    const values = {
      weight: float32(
        [64, 64],
        Float32Array.from({ length: 4096 }, (_, i) => Math.sin(i)),
      ),
    };
    const results: HostTree[] = [];
    for (const threads of [1, 2, 3]) {
      const one = await create({ threads });
      const state = await one.upload(values);
      const step = await one.compile(
        ({ weight }) => {
          const product = tf.softmax(tf.matMul(weight as tf.Tensor2D, weight as tf.Tensor2D, false, true));
          return { state: { weight: tf.add(weight!, product) }, outputs: { total: tf.sum(product, 0) } };
        },
        { state: specsOf(values), inputs: {} },
      );
      for (let i = 0; i < 3; i++) await step.run(state, {});
      results.push({ ...(await state.download()), ...(await step.run(state, {})) });
      await one.dispose();
    }
    expect(results[1]).toEqual(results[0]);
    expect(results[2]).toEqual(results[0]);
  });
});

/** A tensor of another backend; tracing restores that backend afterwards. */
async function withCpu<T>(make: () => T): Promise<T> {
  await import('@tensorflow/tfjs-backend-cpu');
  await tf.setBackend('cpu');
  return make();
}
