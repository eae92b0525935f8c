import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { bool, eagerEngine, float32, int32, type PureFunction } from '../index.js';

const vector = { dtype: 'float32', shape: [2] } as const;
const counterFunction: PureFunction = (state, inputs) => ({
  state: { sum: tf.add(state['sum']!, inputs['x']!) },
  outputs: { twice: tf.mul(inputs['x']!, 2), unchanged: state['other']! },
});
const signature = { state: { sum: vector, other: vector }, inputs: { x: vector } };
const initial = () => ({ sum: float32([2], [1, 2]), other: float32([2], [5, 6]) });

beforeAll(() => tf.setBackend('cpu'));

describe('eager engine', () => {
  it('runs a function, replaces its state and leaks nothing', async () => {
    const engine = eagerEngine('cpu');
    const before = tf.memory().numTensors;
    const state = await engine.upload(initial());
    const fn = await engine.compile(counterFunction, signature);
    for (let i = 0; i < 3; i++) {
      const outputs = await fn.run(state, { x: float32([2], [10, 20]) });
      expect(outputs['twice']!.data).toEqual(new Float32Array([20, 40]));
      expect(outputs['unchanged']!.data).toEqual(new Float32Array([5, 6]));
    }
    expect((await state.download())['sum']!.data).toEqual(new Float32Array([31, 62]));
    expect(tf.memory().numTensors).toBe(before + 2);
    await engine.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });

  it('keeps the state and leaks nothing when a function fails', async () => {
    const engine = eagerEngine('cpu');
    const state = await engine.upload(initial());
    const before = tf.memory().numTensors;
    const failing = await engine.compile((tensors, inputs) => {
      const sum = tf.add(tensors['sum']!, inputs['x']!);
      tf.matMul(sum as never, sum as never);
      return { state: { sum }, outputs: {} };
    }, signature);
    await expect(failing.run(state, { x: float32([2], [1, 1]) })).rejects.toMatchObject({ code: 'device' });
    const otherShape = await engine.compile(() => ({ state: { sum: tf.zeros([3]) }, outputs: {} }), signature);
    await expect(otherShape.run(state, { x: float32([2], [1, 1]) })).rejects.toThrow(
      'returned state: "sum" must be float32 [2], got float32 [3]',
    );
    expect(tf.memory().numTensors).toBe(before);
    expect((await state.download(['sum']))['sum']!.data).toEqual(new Float32Array([1, 2]));
    await engine.dispose();
  });

  it('does not share memory with the host', async () => {
    const engine = eagerEngine('cpu');
    const mine = initial();
    const state = await engine.upload(mine);
    mine.sum.data[0] = 99;
    const read = await state.download();
    read['sum']!.data[1] = 99;
    expect((await state.download())['sum']!.data).toEqual(new Float32Array([1, 2]));
    await engine.dispose();
  });

  it('assigns values, all of them or none', async () => {
    const engine = eagerEngine('cpu');
    const state = await engine.upload(initial());
    await state.assign({ other: float32([2], [7, 8]) });
    await expect(state.assign({ sum: float32([2], [0, 0]), other: float32([1], [0]) })).rejects.toThrow(
      '"other" must be',
    );
    const read = await state.download();
    expect(read['sum']!.data).toEqual(new Float32Array([1, 2]));
    expect(read['other']!.data).toEqual(new Float32Array([7, 8]));
    await engine.dispose();
  });

  it('carries int32 and bool', async () => {
    const engine = eagerEngine('cpu');
    const state = await engine.upload({});
    const inputs = { a: int32([3], [1, -5, 7]), b: bool([3], [1, 0, 1]) };
    const specs = { a: { dtype: 'int32', shape: [3] }, b: { dtype: 'bool', shape: [3] } } as const;
    const fn = await engine.compile((_, { a, b }) => ({ outputs: { a: a!, not: tf.logicalNot(b!) } }), {
      state: {},
      inputs: specs,
    });
    expect(await fn.run(state, inputs)).toEqual({ a: int32([3], [1, -5, 7]), not: bool([3], [0, 1, 0]) });
    await engine.dispose();
  });

  it('refuses inputs that do not fit, listing every difference', async () => {
    const engine = eagerEngine('cpu');
    const state = await engine.upload(initial());
    const fn = await engine.compile(counterFunction, signature);
    await expect(fn.run(state, { y: float32([2]), z: float32([2]) })).rejects.toThrow(
      'run: inputs: "x" is missing; "y" is not expected; "z" is not expected',
    );
    await state.dispose();
    await expect(fn.run(state, { x: float32([2]) })).rejects.toThrow('was disposed');
    await engine.dispose();
  });

  it('says that a backend is missing', async () => {
    await expect(eagerEngine('abacus').upload({})).rejects.toMatchObject({ code: 'backend-unavailable' });
    expect(tf.getBackend()).toBe('cpu');
  });
});
