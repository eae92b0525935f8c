/** Our side of the training benchmark: a child process that trains as many steps as it is asked for. */
import { chooseEngine } from '@dimo/backend-node';
import {
  distillationInputs,
  drawDistillation,
  float32,
  randomStream,
  recomputeBlocks,
  runTraining,
  writeSafetensors,
} from '@dimo/core';
import * as tf from '@tensorflow/tfjs-core';
import { writeFileSync } from 'node:fs';
import { serve } from './child.mjs';
import { benchDistillation } from './distillation.mjs';
import { cpuSeconds, peakRss } from './statistics.mjs';

let engine;
let distillation;
let program;
/** Set while the training loop waits for the next request. */
let proceed;
let stepDone;
let training;

/** Runs the training loop up to its next pause. */
async function oneStep() {
  const report = new Promise((resolve, reject) => {
    stepDone = resolve;
    training.catch(reject);
  });
  proceed?.();
  return report;
}

await serve({
  async start({ model, step, batch, engine: name, threads, weights, seed, recompute }) {
    ({ engine } = await chooseEngine(name, { threads }));
    const made = benchDistillation({ model, batch, step, seed });
    distillation = made.distillation;
    program = recompute === 'blocks' ? recomputeBlocks(distillation.program) : distillation.program;
    writeFileSync(weights, writeSafetensors(made.weights));
    return { info: engine.info, rss: process.memoryUsage.rss() };
  },

  /** Starts the loop with step 0 and saves that step's random numbers for the other side. */
  async compare({ draws }) {
    const { context } = distillation;
    const drawn = await drawDistillation(context, 0);
    const inputs = distillationInputs(context, drawn, 0);
    const tensors = {};
    for (const phase of ['generator', 'auxiliary']) {
      const numbers = drawn[phase][0];
      Object.assign(tensors, {
        [`${phase}.labels`]: numbers.condition.label,
        [`${phase}.init_code`]: numbers.initialCodes,
        [`${phase}.init_mask_uniforms`]: numbers.initialMaskUniforms,
        [`${phase}.noise`]: inputs[phase][0].embeddingNoise,
        [`${phase}.sample_uniforms`]: numbers.tokenDraws,
        [`${phase}.mask_ratio_r`]: numbers.maskRatioUniforms,
        [`${phase}.mask_uniforms`]: numbers.maskUniforms,
      });
    }
    writeFileSync(draws, writeSafetensors(tensors));
    const start = performance.now();
    training = runTraining(program, {
      engine,
      moveState: true, // nobody else needs the weights
      onStep: (report) =>
        new Promise((resolve) => {
          proceed = resolve;
          stepDone(report);
        }),
    });
    const { metrics } = await oneStep();
    return {
      generator: metrics['generator/loss'],
      auxiliary: metrics['auxiliary/loss'],
      startSeconds: (performance.now() - start) / 1000,
      rss: process.memoryUsage.rss(),
      peakRss: peakRss(),
    };
  },

  async run({ steps }) {
    const start = performance.now();
    const cpu = cpuSeconds();
    let metrics;
    for (let i = 0; i < steps; i++) ({ metrics } = await oneStep());
    return {
      seconds: (performance.now() - start) / 1000,
      cpuSeconds: cpuSeconds() - cpu,
      losses: [metrics['generator/loss'], metrics['auxiliary/loss']],
      peakRss: peakRss(),
    };
  },

  /** Rate of a chain of square products through the same engine, FLOP/s, best of 8. */
  async gemm() {
    const size = 1024;
    const links = 4;
    const matrix = { dtype: 'float32', shape: [size, size] };
    const fn = (state) => {
      let product = state.a;
      for (let i = 0; i < links; i++) product = tf.matMul(product, state.b);
      return { outputs: { corner: tf.slice(product, [0, 0], [1, 1]) } };
    };
    const state = { a: matrix, b: matrix };
    const compiled = await engine.compile(fn, { state, inputs: {} });
    const uniform = randomStream(1, 0, 'gemm').uniform(size * size);
    const tree = await engine.upload({
      a: float32(matrix.shape, uniform),
      b: float32(
        matrix.shape,
        uniform.map((value) => value / size),
      ),
    });
    let best = Infinity;
    for (let i = 0; i < 8; i++) {
      const start = performance.now();
      await compiled.run(tree, {});
      best = Math.min(best, (performance.now() - start) / 1000);
    }
    await compiled.dispose();
    await tree.dispose();
    return { rate: (links * 2 * size ** 3) / best };
  },
});
process.exit(0);
