import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { float32, specsOf, type FunctionSignature, type PureFunction } from '@dimo/core';
import { beforeAll, describe, expect, it } from 'vitest';
import { backendName, supportedKernels } from './backend.js';
import { describeGraph } from './describe.js';
import { emitModel } from './emit.js';
import { expectClose, expectTracedEqualsEager, numbers, runEager, runGraph } from './test-support/oracle.js';
import { tinyArguments, tinyStep } from './test-support/tiny-transformer.js';
import { trace } from './trace.js';

beforeAll(() => tf.setBackend('cpu'));

const x = numbers([2, 3]);
const signature: FunctionSignature = { state: specsOf({ w: x }), inputs: specsOf({ x }) };
const outputs =
  (fn: (x: tf.Tensor) => tf.Tensor): PureFunction =>
  (_, inputs) => ({ outputs: { y: fn(inputs['x']!) } });

describe('a training step of a transformer', () => {
  const { state, inputs } = tinyArguments();
  const stepSignature = { state: specsOf(state), inputs: specsOf(inputs) };
  it('equals the eager step: loss, gradient norm, weights and moments', () =>
    expectTracedEqualsEager(tinyStep, inputs, { state }));
  it('equals the eager steps when the new state is fed back', async () => {
    const graph = trace(tinyStep, stepSignature);
    let [eager, traced] = [state, state];
    for (let step = 0; step < 3; step++) {
      const expected = await runEager(tinyStep, eager, inputs);
      const actual = await runGraph(graph, traced, inputs);
      expectClose(actual, expected, 1e-5);
      const next = (results: typeof actual) =>
        Object.fromEntries(
          Object.entries(results).flatMap(([name, value]) => (name.startsWith('n:') ? [[name.slice(2), value]] : [])),
        );
      [eager, traced] = [next(expected), next(actual)];
    }
  });
  it('leaves the state as it is, bit for bit, if a gradient is not finite', async () => {
    const broken = { ...inputs, positionWeights: float32([3, 6], new Float32Array(18).fill(NaN)) };
    const results = await runGraph(trace(tinyStep, stepSignature), state, broken);
    for (const [name, { data }] of Object.entries(state)) expect(results[`n:${name}`]!.data).toEqual(data);
  });
  it('has no needless nodes', () => {
    expect(describeGraph(trace(tinyStep, stepSignature))).toMatchSnapshot();
  });
  it('always gives the same bytes', () => {
    const bytes = () => Buffer.from(emitModel(trace(tinyStep, stepSignature)));
    expect(bytes().equals(bytes())).toBe(true);
  });
  it('reads only what the function needs', () => {
    const graph = trace(tinyStep, stepSignature);
    expect(graph.inputs.map((port) => port.name)).not.toContain('i:unused');
    const forward = trace((s) => ({ outputs: { y: tf.relu(s['weights/table']!) } }), stepSignature);
    expect(forward.inputs.map((port) => port.name)).toEqual(['s:weights/table']);
  });
});

describe('ports', () => {
  it('replaced state is an output, state returned as it came is not', async () => {
    const fn: PureFunction = (s, t) => ({ state: { w: s['w']!, v: tf.add(s['v']!, t['x']!) }, outputs: {} });
    const state = { w: x, v: x };
    const graph = trace(fn, { state: specsOf(state), inputs: specsOf({ x }) });
    expect(graph.outputs.map((port) => port.name)).toEqual(['n:v']);
    expect(Object.keys(await runGraph(graph, state, { x }))).toEqual(['n:v']);
  });
  it('one tensor may be several outputs, an input or a constant may be an output', () =>
    expectTracedEqualsEager(
      (_, t) => {
        const y = tf.exp(t['x']!);
        return { outputs: { a: y, b: y, c: t['x']!, d: tf.zeros([2, 2]), e: tf.range(0, 3), f: tf.ones([5, 5]) } };
      },
      { x },
    ));
  it('swapped state', () => {
    const state = { a: numbers([2], 1), b: numbers([2], 2) };
    return expectTracedEqualsEager((s) => ({ state: { a: s['b']!, b: s['a']! }, outputs: {} }), {}, { state });
  });
  it('the same forward pass twice costs its nodes once', () => {
    const once = trace(
      outputs((t) => tf.softmax(tf.matMul(t, t, true))),
      signature,
    );
    const twice = trace(
      outputs((t) => tf.add(tf.softmax(tf.matMul(t, t, true)), tf.softmax(tf.matMul(t, t, true)))),
      signature,
    );
    expect(twice.nodes.length).toBe(once.nodes.length + 1);
  });
});

describe('constants', () => {
  it('equal elements and broadcasts are not written out', () => {
    const graph = trace(
      outputs((t) => {
        const big = tf.tile(tf.expandDims(t, 0), [100, 1, 1]);
        return tf.sum(tf.where(tf.greater(big, tf.ones([100, 2, 3])), big, tf.zerosLike(big)), 0);
      }),
      signature,
    );
    const { operators, numConstantElements } = describeGraph(graph);
    expect(operators['Expand']).toBeUndefined();
    expect(numConstantElements).toBeLessThan(10);
  });
});

describe('mistakes in traced functions', () => {
  const failure = (fn: PureFunction): unknown => {
    try {
      trace(fn, signature);
    } catch (error) {
      return error;
    }
    return undefined;
  };
  it('a captured tensor is named with its op', () => {
    const captured = tf.tensor([1, 2, 3]);
    expect(failure(outputs((t) => tf.add(t, captured)))).toMatchObject({
      code: 'trace',
      message: expect.stringMatching(/captured eager tensor.*op Add, input b.*\[3\]/),
    });
    // Still usable: it was not moved to the tracer.
    expect(Array.from(captured.dataSync())).toEqual([1, 2, 3]);
    captured.dispose();
  });
  it('a captured variable', () => {
    const variable = tf.variable(tf.tensor([1, 2, 3]));
    expect(failure(outputs((t) => tf.mul(t, variable)))).toMatchObject({ code: 'trace' });
    variable.dispose();
  });
  it('reading a value', () => {
    expect(failure(outputs((t) => tf.scalar(t.dataSync()[0]!)))).toMatchObject({
      code: 'trace',
      hint: expect.stringContaining('branch on shapes'),
    });
  });
  it('a kernel without lowering: name, shapes and what there is', () => {
    expect(failure(outputs((t) => tf.einsum('ij->j', t)))).toMatchObject({
      code: 'trace',
      message: expect.stringMatching(/Einsum.*\[2, 3\]/),
      hint: expect.stringContaining('BatchMatMul'),
    });
  });
  it('random numbers', () => {
    expect(failure(outputs((t) => tf.add(t, tf.randomNormal([2, 3]))))).toMatchObject({
      code: 'trace',
      message: expect.stringContaining('two different graphs'),
    });
    expect(failure(outputs((t) => tf.mul(t, Math.random())))).toMatchObject({ code: 'trace' });
  });
  it('state that is not in the signature, or has another shape', () => {
    expect(failure((s) => ({ state: { v: s['w']! }, outputs: {} }))).toMatchObject({
      message: expect.stringContaining('state v'),
    });
    expect(failure((s) => ({ state: { w: tf.transpose(s['w']!) }, outputs: {} }))).toMatchObject({
      message: expect.stringMatching(/must keep float32 \[2, 3\].*\[3, 2\]/),
    });
    expect(failure((s) => ({ state: { w: tf.cast(s['w']!, 'int32') }, outputs: {} }))).toMatchObject({ code: 'trace' });
  });
  it('an exception of the function itself', () => {
    const cause = new TypeError('my mistake');
    expect(
      failure(() => {
        throw cause;
      }),
    ).toMatchObject({ code: 'trace', cause, message: expect.stringContaining('my mistake') });
  });
  it('a promise', () => {
    const promised = (async () => ({ outputs: {} })) as unknown as PureFunction;
    expect(failure(promised)).toMatchObject({ message: expect.stringContaining('promise') });
  });
  it('a trace inside a trace, and inside a gradient', () => {
    const nested = outputs((t) => {
      trace(outputs(tf.relu), signature);
      return t;
    });
    expect(failure(nested)).toMatchObject({
      code: 'trace',
      message: expect.stringContaining('inside a traced function'),
    });
    const inGradient = () =>
      tf.grad((t) => {
        trace(outputs(tf.relu), signature);
        return t;
      })(tf.scalar(1));
    expect(inGradient).toThrow(/records a gradient/);
  });
});

describe('tfjs afterwards', () => {
  it.each([
    ['a trace', outputs((t) => tf.sum(tf.grad((v) => tf.sum(tf.square(v)))(t)))],
    ['a failed trace', outputs((t) => tf.tidy(() => tf.einsum('ij->j', tf.exp(t))))],
    ['a failed gradient', outputs((t) => tf.grad((v) => tf.tensor(v.dataSync()))(t))],
  ])('is as it was before %s', (_, fn) => {
    const engine = tf.engine();
    const snapshot = () => ({
      ...tf.memory(),
      backend: tf.getBackend(),
      scopes: engine.state.scopeStack.length,
      gradientDepth: engine.state.gradientDepth,
      kernelDepth: engine.state.kernelDepth,
    });
    const before = snapshot();
    for (let round = 0; round < 3; round++)
      try {
        trace(fn, signature);
      } catch {
        // The state afterwards is what counts here.
      }
    expect(snapshot()).toEqual(before);
    expect(before.backend).toBe('cpu');
    expect(tf.engine().backendNames()).not.toContain(backendName);
  });
});

describe('supportedKernels', () => {
  it('has the kernels of transformers and convolutional networks', () => {
    expect(supportedKernels()).toEqual(
      expect.arrayContaining(['BatchMatMul', 'Conv2D', 'DimoAttention', 'GatherV2', 'MaxPoolGrad']),
    );
  });
});
