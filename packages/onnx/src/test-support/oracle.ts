/** Runs a pure function eagerly on tfjs' cpu backend and traced on onnxruntime, and compares. */
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { specsOf, type DType, type HostTensor, type HostTree, type PureFunction, type TensorTree } from '@dimo/core';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { expect } from 'vitest';
import { emitModel } from '../emit.js';
import type { TracedGraph } from '../graph.js';
import { trace, type TraceOptions } from '../trace.js';

/** Results by port name. */
export type Results = Record<string, HostTensor>;

/** Runs the function eagerly; ports are named as in the graph. */
export async function runEager(fn: PureFunction, state: HostTree, inputs: HostTree): Promise<Results> {
  await tf.setBackend('cpu');
  const upload = (tree: HostTree): TensorTree =>
    Object.fromEntries(
      Object.entries(tree).map(([name, { data, shape, dtype }]) => [name, tf.tensor(data, [...shape], dtype)]),
    );
  return tf.tidy(() => {
    const result = fn(upload(state), upload(inputs));
    const named = [
      ...Object.entries(result.outputs).map(([key, tensor]) => [`o:${key}`, tensor] as const),
      ...Object.entries(result.state ?? {}).map(([key, tensor]) => [`n:${key}`, tensor] as const),
    ];
    return Object.fromEntries(
      named.map(([name, tensor]) => [
        name,
        { dtype: tensor.dtype as DType, shape: tensor.shape, data: tensor.dataSync() as HostTensor['data'] },
      ]),
    );
  });
}

/** Runs ONNX bytes; feeds are named as in the graph. */
export async function runBytes(bytes: Uint8Array, feeds: HostTree): Promise<Results> {
  const session = await InferenceSession.create(bytes, { intraOpNumThreads: 1, logSeverityLevel: 3 });
  const tensors = Object.fromEntries(
    session.inputNames.map((name) => {
      const { dtype, data, shape } = feeds[name]!;
      return [name, new Tensor(dtype, data as Float32Array, shape as number[])];
    }),
  );
  const results = await session.run(tensors);
  const copied = Object.fromEntries(
    Object.entries(results).map(([name, tensor]) => [
      name,
      {
        dtype: tensor.type as DType,
        shape: [...tensor.dims],
        data: (tensor.data as HostTensor['data']).slice(),
      },
    ]),
  );
  await session.release();
  return copied;
}

/** Runs a traced graph. */
export async function runGraph(graph: TracedGraph, state: HostTree, inputs: HostTree): Promise<Results> {
  const feeds: HostTree = {};
  for (const port of graph.inputs) feeds[port.name] = (port.role === 'state' ? state : inputs)[port.key]!;
  return runBytes(emitModel(graph), feeds);
}

/** Options of `expectTracedEqualsEager`. */
export interface OracleOptions {
  readonly state?: HostTree;
  readonly trace?: TraceOptions;
  /** Largest difference, relative to max(1, |expected|). @default 1e-5: sums of float32 in another order */
  readonly tolerance?: number;
}

/** Expects equal names, shapes, dtypes and close values. */
export async function expectTracedEqualsEager(
  fn: PureFunction,
  inputs: HostTree,
  options: OracleOptions = {},
): Promise<void> {
  const { state = {}, tolerance = 1e-5 } = options;
  const expected = await runEager(fn, state, inputs);
  const graph = trace(fn, { state: specsOf(state), inputs: specsOf(inputs) }, options.trace);
  const actual = await runGraph(graph, state, inputs);
  expectClose(actual, expected, tolerance);
}

/** Expects equal names, shapes and dtypes and close values. */
export function expectClose(actual: Results, expected: Results, tolerance: number): void {
  expect(Object.keys(actual).sort()).toEqual(Object.keys(expected).sort());
  for (const [name, { dtype, shape, data }] of Object.entries(expected)) {
    const found = actual[name]!;
    expect({ name, dtype: found.dtype, shape: found.shape }).toEqual({ name, dtype, shape: [...shape] });
    let worst = 0;
    let at = -1;
    data.forEach((value, index) => {
      const other = found.data[index]!;
      if (Object.is(value, other) || value === other) return;
      const error = Math.abs(value - other) / Math.max(1, Math.abs(value));
      if (!(error <= worst)) [worst, at] = [error, index];
    });
    if (!(worst <= tolerance))
      expect.fail(`${name}[${at}]: expected ${data[at]}, got ${found.data[at]} (relative error ${worst})`);
  }
}

/** Sum of all elements of every output times fixed weights, as a function of the inputs: something to differentiate. */
export function gradientsOf(fn: (inputs: TensorTree) => tf.Tensor, names: readonly string[]): PureFunction {
  return (_, inputs) => {
    const loss = (...tensors: tf.Tensor[]) => {
      const y = fn({ ...inputs, ...Object.fromEntries(names.map((name, index) => [name, tensors[index]!])) });
      // Unequal weights, so that a wrong order of elements shows.
      const weights = tf.cos(tf.reshape(tf.range(0, y.size), y.shape));
      return tf.sum(tf.mul(tf.cast(y, 'float32'), weights)) as tf.Scalar;
    };
    const { value, grads } = tf.valueAndGrads(loss)(names.map((name) => inputs[name]!));
    return { outputs: { value, ...Object.fromEntries(names.map((name, index) => [`d${name}`, grads[index]!])) } };
  };
}

/** Numbers without pattern in [-scale, scale], the same in every run. */
export function numbers(shape: readonly number[], seed = 1, scale = 1): HostTensor<'float32'> {
  const size = shape.reduce((product, length) => product * length, 1);
  let state = seed * 7919 + 17;
  const data = Float32Array.from({ length: size }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return ((state / 2 ** 32) * 2 - 1) * scale;
  });
  return { dtype: 'float32', shape, data };
}

/** Whole numbers in [0, limit), the same in every run. */
export function wholeNumbers(shape: readonly number[], limit: number, seed = 1): HostTensor<'int32'> {
  const { data } = numbers(shape, seed, 1);
  return {
    dtype: 'int32',
    shape,
    data: Int32Array.from(data, (value) => Math.floor(((value + 1) / 2) * limit) % limit),
  };
}
