import * as tf from '@tensorflow/tfjs-core';
import { float32, specsOf, type HostTree, type PureFunction } from '@dimo/core';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { exportForward } from './export.js';
import { expectClose, numbers, runBytes, runEager, wholeNumbers } from './test-support/oracle.js';
import { tinyLogits, tinyWeights } from './test-support/tiny-transformer.js';

const weights = tinyWeights();
const fn: PureFunction = (state, inputs) => {
  const logits = tinyLogits(state, inputs['tokens']!);
  // A tensor that is made at the batch's size.
  const offset = tf.broadcastTo(tf.reshape(tf.slice(state['table']!, [0, 0], [11, 1]), [1, 1, 11]), logits.shape);
  return { outputs: { logits: tf.add(logits, 1), joined: tf.concat([logits, offset], 1) } };
};
const signature = (batchSize: number) => ({
  state: specsOf(weights),
  inputs: { tokens: { dtype: 'int32' as const, shape: [batchSize, 6] } },
});
const folders: string[] = [];
afterAll(() => Promise.all(folders.map((folder) => rm(folder, { recursive: true }))));

async function expected(inputs: HostTree) {
  const results = await runEager(fn, weights, inputs);
  return Object.fromEntries(Object.entries(results).map(([name, value]) => [name.slice(2), value]));
}

describe('exportForward', () => {
  it.each(['standard', 'microsoft'] as const)('any batch size, %s operators', async (operators) => {
    const { model } = exportForward({ fn, signature, weights, operators });
    for (const batch of [1, 3, 8]) {
      const inputs = { tokens: wholeNumbers([batch, 6], 11, batch) };
      expectClose(await runBytes(model, inputs), await expected(inputs), 1e-5);
    }
  });
  it('standard operators need no domain of onnxruntime', () => {
    const textOf = (operators: 'standard' | 'microsoft') =>
      Buffer.from(exportForward({ fn, signature, weights, operators }).model).toString('latin1');
    expect(textOf('standard')).not.toContain('com.microsoft');
    expect(textOf('microsoft')).toContain('MultiHeadAttention');
  });
  it('names the batch axis, and ports without prefix', async () => {
    const { model } = exportForward({ fn, signature, weights });
    const session = await InferenceSession.create(model);
    expect(session.inputNames).toEqual(['tokens']);
    expect(session.outputNames).toEqual(['logits', 'joined']);
    expect(session.inputMetadata[0]).toMatchObject({ shape: ['batch', 6] });
  });
  it('a fixed batch size', async () => {
    const { model } = exportForward({ fn, signature, weights, batch: 2 });
    const inputs = { tokens: wholeNumbers([2, 6], 11, 4) };
    expectClose(await runBytes(model, inputs), await expected(inputs), 1e-5);
  });
  it('weights in a file of their own', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'dimo-export-'));
    folders.push(folder);
    const { model, weights: bytes } = exportForward({ fn, signature, weights, weightsFile: 'model.bin' });
    await writeFile(join(folder, 'model.onnx'), model);
    await writeFile(join(folder, 'model.bin'), bytes!);
    const session = await InferenceSession.create(join(folder, 'model.onnx'));
    const { data, shape } = wholeNumbers([2, 6], 11, 4);
    const results = await session.run({ tokens: new Tensor('int32', data as Int32Array, shape as number[]) });
    const logits = (await expected({ tokens: wholeNumbers([2, 6], 11, 4) }))['logits']!;
    expectClose({ y: float32(logits.shape, results['logits']!.data as Float32Array) }, { y: logits }, 1e-5);
  });
  it('refuses missing and wrong weights by name', () => {
    const { table: _, ...rest } = weights;
    expect(() => exportForward({ fn, signature, weights: rest })).toThrow(/weight table.*missing/);
    expect(() => exportForward({ fn, signature, weights: { ...weights, table: numbers([3, 3]) } })).toThrow(
      /weight table must be float32 \[11, 8\], got float32 \[3, 3\]/,
    );
  });
  it('refuses a function whose values depend on the batch size', () => {
    const counting: PureFunction = (_, t) => ({
      outputs: { y: tf.mul(t['tokens']!, tf.scalar(t['tokens']!.shape[0]!, 'int32')) },
    });
    expect(() => exportForward({ fn: counting, signature, weights })).toThrow(/independent of the batch size/);
  });
  it('refuses names that clash and functions with new state', () => {
    const clashing: PureFunction = (_, t) => ({ outputs: { tokens: tf.neg(t['tokens']!) } });
    expect(() => exportForward({ fn: clashing, signature, weights })).toThrow(/"tokens" is used twice/);
    const updating: PureFunction = (s) => ({ state: { table: tf.neg(s['table']!) }, outputs: {} });
    expect(() => exportForward({ fn: updating, signature, weights, batch: 1 })).toThrow(/new state/);
  });
});
