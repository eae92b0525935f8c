/** Results of the forward pass that the backward pass computes again. */
import { fromBinary } from '@bufbuild/protobuf';
import * as tf from '@tensorflow/tfjs-core';
import { attention, gelu, linear, randomStream, sizeOf, type PureFunction, type SpecTree } from '@dimo/core';
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ModelProtoSchema } from 'onnx-buf';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { graphCost } from '../cost.js';
import { emitModel } from '../emit.js';
import type { TracedGraph } from '../graph.js';
import { trace } from '../trace.js';
import { recomputeResults } from './recompute.js';

const [batch, length, width, depth] = [2, 256, 512, 6];
const spec = (...shape: number[]) => ({ dtype: 'float32', shape }) as const;
const state: SpecTree = Object.fromEntries(
  Array.from({ length: depth }, (_, i) => [
    [`${i}/qkv`, spec(3 * width, width)],
    [`${i}/up`, spec(4 * width, width)],
    [`${i}/down`, spec(width, 4 * width)],
  ]).flat(),
);

/** Blocks of attention and a perceptron, without norms, and their gradients. */
const step: PureFunction = (weights, { x }) => {
  const names = Object.keys(state);
  const loss = (...given: tf.Tensor[]): tf.Scalar => {
    const of = Object.fromEntries(names.map((name, i) => [name, given[i]!]));
    let y = x as tf.Tensor3D;
    for (let i = 0; i < depth; i++) {
      const [q, k, v] = [0, 1, 2].map((part) => {
        const matrix = tf.slice(of[`${i}/qkv`]!, [part * width, 0], [width, width]);
        return linear(y, matrix) as tf.Tensor3D;
      });
      y = tf.add(y, attention(q!, k!, v!, { numHeads: 8 }));
      y = tf.add(y, linear(gelu(linear(y, of[`${i}/up`]!)), of[`${i}/down`]!));
    }
    return tf.mean(tf.square(y));
  };
  const { value, grads } = tf.valueAndGrads(loss)(names.map((name) => weights[name]!));
  return { outputs: { loss: value, ...Object.fromEntries(names.map((name, i) => [name, grads[i]!])) } };
};

/** A hash: comparing millions of elements one by one takes minutes. */
const bitsOf = (data: Float32Array) => createHash('sha256').update(data).digest('hex');

const opsOf = (graph: TracedGraph, repeated: boolean) =>
  graph.nodes.filter(({ isRepeated = false }) => isRepeated === repeated).map(({ op }) => op);

describe('recomputeResults', () => {
  const traced = trace(step, { state, inputs: { x: spec(batch, length, width) } });
  const lean = recomputeResults(traced);

  it('keeps probabilities, activations and slices of weights no longer than they are used in the forward pass', () => {
    const before = graphCost(traced);
    const after = graphCost(lean);
    expect(after.peakBytes).toBeLessThan(0.75 * before.peakBytes);
    expect(after.matrixOperations).toBeLessThan(1.1 * before.matrixOperations);
    const again = opsOf(lean, true);
    for (const op of ['Softmax', 'Gelu']) expect(again.filter((name) => name === op).length).toBeGreaterThan(depth / 2);
    expect(again).not.toContain('Gemm');
  });

  it('reads nothing before it is made, keeps what it gives, and changes no node besides', () => {
    const known = new Set([...traced.inputs].map(({ value }) => value));
    for (const node of lean.nodes) {
      for (const input of node.inputs)
        if (input && input.source.kind !== 'constant') expect(known.has(input)).toBe(true);
      for (const output of node.outputs) expect(known.has(output)).toBe(false);
      for (const output of node.outputs) known.add(output);
    }
    expect(lean.outputs).toEqual(traced.outputs);
    expect(opsOf(lean, false)).toEqual(opsOf(traced, false));
    expect(new Set(lean.nodes.flatMap(({ outputs }) => outputs.map(({ id }) => id))).size).toBe(
      lean.nodes.flatMap(({ outputs }) => outputs).length,
    );
  });

  it('gives the same bits in onnxruntime, which computes twice what it is told to', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'dimo-recompute-'));
    const run = async (graph: TracedGraph, name: string) => {
      const optimizedModelFilePath = join(folder, name);
      const session = await InferenceSession.create(emitModel(graph), {
        optimizedModelFilePath,
        intraOpNumThreads: 1,
        logSeverityLevel: 4,
        extra: { optimization: { disable_specified_optimizers: 'CommonSubexpressionElimination' } },
      });
      const feeds = Object.fromEntries(
        graph.inputs.map((port, i) => {
          const values = randomStream(1, i, 'recompute').normal(sizeOf(port.shape));
          return [
            port.name,
            new Tensor(
              'float32',
              values.map((value) => 0.05 * value),
              [...port.shape],
            ),
          ];
        }),
      );
      const results = await session.run(feeds);
      await session.release();
      const { graph: optimized } = fromBinary(ModelProtoSchema, await readFile(optimizedModelFilePath));
      return {
        results: Object.entries(results).map(([port, { data }]) => [port, bitsOf(data as Float32Array)]),
        numSoftmax: optimized!.node.filter(({ opType }) => opType === 'Softmax').length,
      };
    };
    try {
      const [kept, again] = [await run(traced, 'kept.onnx'), await run(lean, 'again.onnx')];
      expect(again.results).toEqual(kept.results);
      expect(kept.results).toHaveLength(1 + 3 * depth);
      const numAgain = opsOf(lean, true).filter((op) => op === 'Softmax').length;
      expect([kept.numSoftmax, again.numSoftmax]).toEqual([depth, depth + numAgain]);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('leaves a graph alone in which nothing waits', () => {
    const forward: PureFunction = (weights, inputs) => ({ outputs: { y: step(weights, inputs).outputs['loss']! } });
    const graph = trace(forward, { state, inputs: { x: spec(batch, length, width) } });
    expect(opsOf(recomputeResults(graph), true)).toEqual([]);
    expect(emitModel(recomputeResults(graph))).toEqual(emitModel(graph));
  });
});
