/** Many runs of one training step: it learns, gives the same bits again, and leaves nothing behind. */
import * as tf from '@tensorflow/tfjs-core';
import type { Engine, PureFunction } from '../engine/engine.js';
import { embedding, layerNorm, linear } from '../ops/index.js';
import { float32, int32, specsOf, type HostTree } from '../tensors/tensors.js';
import type { EngineCheck, EngineCheckOptions } from './engine-check.js';
import { require, requireEqual, tensorOf } from './expectations.js';
import { normal } from './op-cases.js';

/** Checks that run a training step many times. */
export function trainingChecks({ isDeterministic }: EngineCheckOptions): EngineCheck[] {
  return [
    {
      name: 'the same run gives the same bits',
      run: checkDeterminism,
      ...(isDeterministic ? {} : { skip: 'this engine adds in no fixed order' }),
    },
    { name: '200 training steps lower the loss and leave no tensor behind', run: checkNoLeak },
  ];
}

/** One gradient step of a small network with an embedding, a normalization and a matrix product. */
const trainStep: PureFunction = ({ table, weight, scale, offset }, { ids, target }) => {
  const loss = (...[t, w, s, o]: tf.Tensor[]): tf.Scalar => {
    const hidden = layerNorm(embedding<tf.Tensor2D>(t!, ids!), s!, o!, { epsilon: 1e-5 });
    return tf.mean(tf.square(tf.sub(linear(hidden, w!), target!)));
  };
  const { value, grads } = tf.valueAndGrads(loss)([table!, weight!, scale!, offset!]);
  const descend = (x: tf.Tensor, i: number) => tf.sub(x, tf.mul(grads[i]!, 0.1));
  return {
    state: {
      table: descend(table!, 0),
      weight: descend(weight!, 1),
      scale: descend(scale!, 2),
      offset: descend(offset!, 3),
    },
    outputs: { loss: value },
  };
};
const trainValues = {
  table: normal('table', [6, 16]),
  weight: normal('weight', [8, 16]),
  scale: float32([16], new Float32Array(16).fill(1)),
  offset: float32([16]),
};
const trainInputs = { ids: int32([10], [0, 1, 2, 3, 4, 5, 0, 1, 2, 2]), target: normal('target', [10, 8]) };

async function checkDeterminism(engine: Engine): Promise<void> {
  const results: HostTree[] = [];
  for (let repeat = 0; repeat < 2; repeat++) {
    const tree = await engine.upload(trainValues);
    const step = await engine.compile(trainStep, { state: specsOf(trainValues), inputs: specsOf(trainInputs) });
    for (let i = 0; i < 5; i++) await step.run(tree, trainInputs);
    results.push({ ...(await tree.download()), ...(await step.run(tree, trainInputs)) });
    await step.dispose();
    await tree.dispose();
  }
  for (const name of Object.keys(results[0]!)) requireEqual(name, tensorOf(results[1]!, name), results[0]![name]!);
}

async function checkNoLeak(engine: Engine): Promise<void> {
  const tree = await engine.upload(trainValues);
  const step = await engine.compile(trainStep, { state: specsOf(trainValues), inputs: specsOf(trainInputs) });
  const first = tensorOf(await step.run(tree, trainInputs), 'loss').data[0]!;
  // Not tf.memory(): where no backend is selected it would begin to initialize one.
  const count = () => ({ tensors: tf.engine().state.numTensors, buffers: tf.engine().state.numDataBuffers });
  const before = count();
  let last = first;
  for (let i = 0; i < 200; i++) last = tensorOf(await step.run(tree, trainInputs), 'loss').data[0]!;
  const after = count();
  require(after.tensors === before.tensors && after.buffers === before.buffers, () =>
    `200 runs left ${after.tensors - before.tensors} tensors and ${after.buffers - before.buffers} buffers behind`);
  require(last < 0.5 * first, () => `200 gradient steps lowered the loss only from ${first} to ${last}`);
  await step.dispose();
  await tree.dispose();
}
