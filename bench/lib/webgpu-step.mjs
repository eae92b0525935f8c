/** A whole generator step on tfjs' WebGPU backend, stock and fused in turns. */
import { specsOf } from '@dimo/core';
import { step } from './cases.mjs';
import { benchDistillation } from './distillation.mjs';
import { cpuSeconds, median } from './statistics.mjs';

/**
 * Times the step.
 *
 * @param engine - `webgpu`, with the backend watched by `watchBackend`.
 * @param modes - by name, what registers kernels or takes them away.
 * @returns by mode: median seconds, CPU seconds, launches, most bytes of buffers (each mode alone), first loss.
 */
export async function measureStep(engine, { modes, watched, model, batch, rounds }) {
  const { distillation } = benchDistillation({ model, batch, step, seed: 1 });
  const { program } = distillation;
  const results = {};
  const runs = {};
  for (const [mode, select] of Object.entries(modes)) {
    select();
    watched.reset();
    runs[mode] = await prepare(engine, program);
    const first = await runs[mode].run(); // compiles
    results[mode] = { loss: first.loss.data[0], seconds: [], cpu: [], peak: watched.counters.peakBytes };
    watched.counters.launches = 0;
    await runs[mode].run();
    results[mode].launches = watched.counters.launches;
    // Its buffers would count for the other one.
    await runs[mode].dispose();
  }
  for (const [mode, select] of Object.entries(modes)) {
    select();
    runs[mode] = await prepare(engine, program);
  }
  for (let round = -1; round < rounds; round++)
    for (const [mode, select] of Object.entries(modes)) {
      select();
      const start = performance.now();
      const cpuStart = cpuSeconds();
      await runs[mode].run();
      if (round < 0) continue; // uploads
      results[mode].seconds.push((performance.now() - start) / 1000);
      results[mode].cpu.push(cpuSeconds() - cpuStart);
    }
  for (const { dispose } of Object.values(runs)) await dispose();
  for (const result of Object.values(results)) {
    result.seconds = median(result.seconds);
    result.cpu = median(result.cpu);
  }
  return results;
}

async function prepare(engine, program) {
  const calls = program.calls(0, program.initialCounters, await program.draw(0, engine.makesRandomNumbers));
  const { fn, inputs } = calls[0];
  const initial = program.initialState();
  const state = await engine.upload(initial);
  const compiled = await engine.compile(program.functions[fn], { state: specsOf(initial), inputs: specsOf(inputs) });
  return {
    run: () => compiled.run(state, inputs),
    dispose: async () => {
      await compiled.dispose();
      await state.dispose();
    },
  };
}
