/** One of our ways to run the model on a GPU, a child process: one-step generation and whole distillation steps. */
import { chooseEngine } from '@dimo/backend-node';
import { unregisterWebgpuKernels } from '@dimo/kernels';
import { compileOneStep, randomOneStepDraws, randomStream, runTraining } from '@dimo/core';
import * as tf from '@tensorflow/tfjs-core';
import { serve } from './child.mjs';
import { benchDistillation } from './distillation.mjs';
import { clocks } from './gpu.mjs';
import { copyBandwidth, multiplyAddRate } from './gpu-rates.mjs';

let engine;
let made;
let given;

await serve({
  /** `contender`: `stock` for compositions of tfjs' own kernels, `fused` for ours, or the name of another engine. */
  async start({ contender, ...request }) {
    given = request;
    const isTfjs = contender === 'stock' || contender === 'fused';
    ({ engine } = await chooseEngine(isTfjs ? 'webgpu' : contender));
    if (contender === 'stock') unregisterWebgpuKernels();
    made = benchDistillation(request);
    return { info: engine.info };
  },

  /** What the adapter can do at best; for the engines of tfjs. */
  async rates() {
    await tf.setBackend('webgpu');
    const clock = clocks[engine.info.isSoftware ? 'cpu' : 'wall'];
    const backend = tf.backend();
    return { bandwidth: await copyBandwidth(backend, clock), peak: await multiplyAddRate(backend, clock) };
  },

  /** Least seconds of one batch, from draws that are there to tokens on the host. */
  async sample({ rounds }) {
    const { teacher } = made;
    const { model, weights } = teacher;
    const tokenInit = { maskRatio: 0.6, embeddingNoise: 0, noiseDeviation: 1 };
    const sampler = await compileOneStep(engine, model, {
      batchSize: given.batch,
      tokenInit,
      sampling: { reference: true },
    });
    const tree = await engine.upload(weights);
    const condition = await teacher.conditions.sample(randomStream(3, 0, 'conditions'), given.batch);
    const draws = randomOneStepDraws(1, 0, sampler);
    let seconds = Infinity;
    for (let round = -1; round < rounds; round++) {
      const start = performance.now();
      await sampler.sample(tree, condition, draws);
      if (round >= 0) seconds = Math.min(seconds, (performance.now() - start) / 1000); // the first one compiles
    }
    await sampler.dispose();
    await tree.dispose();
    return { seconds };
  },

  /** Least seconds of one whole step, generator and auxiliary, drawing included. The loop is left standing at the end. */
  async train({ rounds }) {
    let seconds = Infinity;
    let last;
    let losses;
    await new Promise((resolve, reject) => {
      const training = runTraining(made.distillation.program, {
        engine,
        onStep: ({ step, metrics }) => {
          const now = performance.now();
          if (last !== undefined) seconds = Math.min(seconds, (now - last) / 1000);
          last = now;
          losses ??= [metrics['generator/loss'], metrics['auxiliary/loss']];
          if (step <= rounds) return undefined;
          resolve();
          return new Promise(() => {}); // nobody wants the state
        },
      });
      training.catch(reject);
    });
    return { seconds, losses };
  },
});
process.exit(0);
