/** Blocks that are computed twice: the traced graph needs less memory, in the order too in which onnxruntime runs it. */
import * as tf from '@tensorflow/tfjs-core';
import { attention, gelu, linear, randomStream, recomputeBlocks, recomputedBlock, sizeOf } from '@dimo/core';
import type { PureFunction, SpecTree } from '@dimo/core';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { graphCost } from '../cost.js';
import { emitModel } from '../emit.js';
import type { TracedGraph } from '../graph.js';
import { trace } from '../trace.js';
import { recomputesBlocks } from './recompute.js';

const [batch, length, width, depth] = [2, 64, 64, 16];
const spec = (...shape: number[]) => ({ dtype: 'float32', shape }) as const;
const state: SpecTree = Object.fromEntries(
  Array.from({ length: depth }, (_, i) => [
    [`${i}/qkv`, spec(width, width)],
    [`${i}/up`, spec(4 * width, width)],
    [`${i}/down`, spec(width, 4 * width)],
  ]).flat(),
);
const signature = { state, inputs: { x: spec(batch, length, width) } };

const step: PureFunction = (weights, { x }) => {
  const names = Object.keys(state);
  const loss = (...given: tf.Tensor[]): tf.Scalar => {
    const of = Object.fromEntries(names.map((name, i) => [name, given[i]!]));
    let y = x as tf.Tensor3D;
    for (let i = 0; i < depth; i++) {
      const own = Object.fromEntries(['qkv', 'up', 'down'].map((part) => [part, of[`${i}/${part}`]!]));
      [y] = recomputedBlock<[tf.Tensor3D]>(own, [y], ({ qkv, up, down }, [activations]) => {
        const mixed = linear(activations as tf.Tensor3D, qkv!);
        const after = tf.add(activations!, attention(mixed, mixed, mixed, { numHeads: 4 }));
        return [tf.add(after, linear(gelu(linear(after, up!)), down!))];
      });
    }
    return tf.mean(tf.square(y));
  };
  const { value, grads } = tf.valueAndGrads(loss)(names.map((name) => weights[name]!));
  return { outputs: { loss: value, ...Object.fromEntries(names.map((name, i) => [name, grads[i]!])) } };
};

/** Most bytes of results at one time where nodes run in this order. */
function peakOf({ nodes, outputs }: TracedGraph, order: readonly number[]): number {
  return graphCost({ inputs: [], outputs, nodes: order.map((index) => nodes[index]!) }).peakBytes;
}

/** Results of onnxruntime, and the order in which it ran the nodes. */
async function run(graph: TracedGraph) {
  const folder = await mkdtemp(join(tmpdir(), 'dimo-recompute-'));
  try {
    const session = await InferenceSession.create(emitModel(graph), {
      graphOptimizationLevel: 'disabled',
      enableProfiling: true,
      profileFilePrefix: join(folder, 'profile'),
    });
    const feeds = graph.inputs.map(({ name, shape }, i) => {
      const values = randomStream(1, i, 'recompute').normal(sizeOf(shape));
      return [
        name,
        new Tensor(
          'float32',
          values.map((value) => 0.05 * value),
          [...shape],
        ),
      ] as const;
    });
    const results = await session.run(Object.fromEntries(feeds));
    session.endProfiling();
    await session.release();
    const [profile] = await readdir(folder);
    const events = JSON.parse(await readFile(join(folder, profile!), 'utf8')) as {
      readonly name: string;
      readonly args: { readonly node_index?: string };
    }[];
    const order = events.filter(({ name }) => name.endsWith('_kernel_time')).map(({ args }) => Number(args.node_index));
    return { results, order: order.filter((index) => index < graph.nodes.length) };
  } finally {
    await rm(folder, { recursive: true });
  }
}

describe('blocks computed twice', () => {
  const kept = trace(step, signature);
  const again = trace(recomputeBlocks({ functions: { step } }).functions.step, signature);

  it('need a fraction of the memory', async () => {
    expect(recomputesBlocks(kept)).toBe(false);
    expect(recomputesBlocks(again)).toBe(true);
    const [before, after] = [await run(kept), await run(again)];
    expect(after.order).toHaveLength(again.nodes.length);
    expect(peakOf(again, after.order)).toBeLessThan(0.25 * peakOf(kept, before.order));
    expect(graphCost(again).peakBytes).toBeLessThan(0.25 * graphCost(kept).peakBytes);
    // A forward pass more: a third of a step at most.
    expect(graphCost(again).matrixOperations / graphCost(kept).matrixOperations).toBeLessThan(4 / 3 + 0.01);
    for (const [name, { data }] of Object.entries(before.results)) {
      const largest = Math.max(...Array.from(data as Float32Array, Math.abs));
      (after.results[name]!.data as Float32Array).forEach((value, i) =>
        expect(Math.abs(value - (data as Float32Array)[i]!)).toBeLessThan(1e-5 * largest + 1e-9),
      );
    }
  });
});
