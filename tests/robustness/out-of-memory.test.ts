/**
 * Row C2 of the fault list: memory that runs out is an error that names the batch, what is needed and what to lower; the
 * checkpoint before it is intact, and the engine goes on with what fits.
 */
import { chooseEngine, folderCheckpointStore } from '@dimo/backend-node';
import {
  float32,
  loadLatestCheckpoint,
  runTraining,
  saveCheckpoint,
  scalar,
  specsOf,
  type Engine,
  type TrainingProgram,
} from '@dimo/core';
import * as tf from '@tensorflow/tfjs-core';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, it } from 'vitest';

/** Adds 1 to the state at each step. */
const program: TrainingProgram<undefined> = {
  name: 'counting',
  numSteps: 5,
  batchSize: 64,
  functions: {
    count: ({ x }, { by }) => ({ state: { x: tf.add(x!, by!) }, outputs: {} }),
  },
  initialState: () => ({ x: float32([2 ** 18]) }),
  initialCounters: {},
  draw: () => undefined,
  calls: () => [{ fn: 'count', inputs: { by: scalar(1) } }],
  finish: () => ({ metrics: {}, counters: {} }),
};

/** The engine, whose runs fail from the third on as if memory had run out. */
function failing(engine: Engine, error: () => Error): Engine {
  let runs = 0;
  return {
    ...engine,
    info: engine.info,
    async compile(fn, signature) {
      const compiled = await engine.compile(fn, signature);
      return {
        ...compiled,
        run: (state, inputs) => (++runs > 2 ? Promise.reject(error()) : compiled.run(state, inputs)),
      };
    },
  };
}

it.each([
  ['of the host', () => new RangeError('Array buffer allocation failed')],
  ['of WebAssembly', () => new RangeError('Invalid typed array length: 4294967296')],
])(
  'memory %s that runs out while training: batch, estimate, what to lower; the checkpoint is intact',
  async (_name, error) => {
    const folder = await mkdtemp(path.join(tmpdir(), 'dimo-memory-'));
    const store = folderCheckpointStore(folder);
    const identity = { config: {}, seed: 0, engine: 'cpu', version: '0' };
    const { engine } = await chooseEngine('cpu');
    const training = runTraining(program, {
      engine: failing(engine, error),
      async onStep({ step, snapshot }) {
        const { state } = await snapshot();
        await saveCheckpoint(store, { step, identity, groups: { x: state }, state: {} });
      },
    });
    await expect(training).rejects.toMatchObject({
      code: 'device',
      // The state is 1 MiB, and there are two of it while a step runs.
      message: expect.stringMatching(/counting: out of memory .* a batch of 64; .* need 3 MiB/) as string,
      hint: expect.stringContaining('lower the batch size') as string,
    });
    const saved = await loadLatestCheckpoint(store, { identity });
    expect([saved!.step, saved!.groups['x']!['x']!.data[0]]).toEqual([2, 2]);
    await engine.dispose();
    await rm(folder, { recursive: true });
  },
);

it('an allocation that onnxruntime refuses is a device error that says what to lower, and the engine goes on', async () => {
  const { engine } = await chooseEngine('onnx');
  const length = 2 ** 20;
  const inputs = { x: float32([length, 1]) };
  const state = await engine.upload({});
  // Four terabytes: no machine gives them, and none is asked for before the run.
  const huge = await engine.compile(
    (_, { x }) => ({ outputs: { sum: tf.sum(tf.exp(tf.matMul(x as tf.Tensor2D, x as tf.Tensor2D, false, true))) } }),
    { state: {}, inputs: specsOf(inputs) },
  );
  await expect(huge.run(state, inputs)).rejects.toMatchObject({
    code: 'device',
    hint: expect.stringContaining('lower the batch size') as string,
  });
  const small = await engine.compile((_, { x }) => ({ outputs: { sum: tf.sum(x!) } }), {
    state: {},
    inputs: specsOf(inputs),
  });
  expect([...(await small.run(state, inputs))['sum']!.data]).toEqual([0]);
  await engine.dispose();
});
