/**
 * The fused WebGPU kernels against core's compositions of tfjs' own kernels, on one adapter in one run: each kernel, and
 * a whole generator step. Bytes and FLOP are those of the mathematics (every input read once, every output written
 * once); shares are of the adapter's own copy bandwidth and of its best matrix product, both measured first.
 *
 *   node bench/webgpu.mjs [case=h128-d4] [batch=8] [rounds=3] [kernels=1] [step=1]
 *
 * On a bare Linux machine with a GPU it needs a Node binary, the Vulkan loader with the GPU's driver, and the npm
 * packages of this repository.
 */
import { chooseEngine } from '@dimo/backend-node';
import { gpuTuning, registerWebgpuKernels, softwareTuning, unregisterWebgpuKernels } from '@dimo/backend-web/kernels';
import {
  adamUpdate,
  attention,
  gelu,
  layerNorm,
  linear,
  maskedCrossEntropy,
  matrixProduct,
  randomStream,
  sampleCategorical,
  specsOf,
  tokenDivergence,
} from '@dimo/core';
import * as tf from '@tensorflow/tfjs-core';
import { cases, step } from './lib/cases.mjs';
import { benchDistillation } from './lib/distillation.mjs';
import { clocks, copyBandwidth, secondsOf, watchBackend } from './lib/gpu.mjs';
import { cpuSeconds, loadLine, options } from './lib/statistics.mjs';

const given = options({ case: 'h128-d4', batch: 8, rounds: 3, kernels: 1, step: 1 });
const { batch: _, target: __, ...model } = cases[given.case];
const { batch, rounds } = given;
const { engine } = await chooseEngine('webgpu');
await (await engine.upload({})).dispose(); // initializes the backend
await tf.setBackend('webgpu');
const watched = watchBackend();
const { backend, counters } = watched;
const tuning = engine.info.isSoftware ? softwareTuning : gpuTuning;
const modes = {
  stock: unregisterWebgpuKernels,
  fused: () => registerWebgpuKernels({ tuning }),
};

let drawn = 0;
const random = (...shape) =>
  tf.tensor(randomStream(1, 0, `bench/${drawn++}`).normal(shape.reduce((a, b) => a * b, 1)), shape);
const size = (shape) => shape.reduce((a, b) => a * b, 1);

console.log(`${engine.info.device}; ${loadLine()}`);
const clock = clocks[engine.info.isSoftware ? 'cpu' : 'wall'];
if (engine.info.isSoftware)
  console.log('times below are CPU time of all threads, since the adapter is emulated on the CPU');
const bandwidth = await copyBandwidth(backend, clock);
const side = engine.info.isSoftware ? 512 : 4096;
const square = [random(side, side), random(side, side)];
const rates = {};
const products = {
  stock: modes.stock,
  'our product': () => registerWebgpuKernels({ tuning: { ...tuning, matrixProduct: 'direct' } }),
};
for (const [name, select] of Object.entries(products)) {
  select();
  rates[name] = (2 * side ** 3) / (await secondsOf(backend, clock, () => matrixProduct(...square), rounds));
}
tf.dispose(square);
const peak = Math.max(...Object.values(rates));
console.log(`copy bandwidth ${(bandwidth / 1e9).toFixed(1)} GB/s (read and written)`);
console.log(
  `matrix product ${side}: ${Object.entries(rates)
    .map(([name, rate]) => `${name} ${(rate / 1e9).toFixed(1)}`)
    .join(', ')} GFLOP/s`,
);

/** Rows of the table: what runs, and its least traffic and arithmetic. */
function kernelCases() {
  const { hidden, mlp, grid, heads, codes } = model;
  const positions = grid * grid + 1;
  const rows = batch * positions;
  const numLogits = codes + 1;
  const x = random(batch, positions, hidden);
  const wide = random(rows, mlp);
  const [scale, offset] = [random(hidden), random(hidden)];
  const [weight, bias] = [random(mlp, hidden), random(mlp)];
  const logits = () => random(batch, positions, numLogits);
  const [conditional, unconditional, auxiliary] = [logits(), logits(), logits()];
  const weights = tf.ones([batch, positions]);
  const guidanceScale = tf.fill([batch], 2);
  const targets = tf.zeros([batch, positions], 'int32');
  const parameter = [0, 1, 2, 3].map(() => tf.abs(random(1 << 20)));
  const scalars = { gradientScale: 1, stepSize: 1e-3, rootCorrection: 1, decay: 0, apply: 1 };
  const scalarTensors = Object.fromEntries(Object.entries(scalars).map(([name, value]) => [name, tf.scalar(value)]));
  const gradientOf = (f, args) => () => tf.grads((...given) => tf.sum(f(...given)))(args);
  const attend = (q, k, v) => attention(q, k, v, { numHeads: heads });
  const divergence = { beta: -0.2, teacherTemperature: 1, auxiliaryTemperature: 1 };
  const scores = 2 * batch * positions * positions * hidden;
  const all = (...tensors) => tensors.reduce((sum, { shape }) => sum + 4 * size(shape), 0);
  return [
    ['layerNorm', () => layerNorm(x, scale, offset, { epsilon: 1e-5 }), all(x, x), 8 * x.size],
    [
      'layerNorm, forward + gradient',
      gradientOf((...given) => layerNorm(...given, { epsilon: 1e-5 }), [x, scale, offset]),
      all(x, x, x, x, x),
      24 * x.size,
    ],
    ['gelu', () => gelu(wide), all(wide, wide), 20 * wide.size],
    ['gelu, forward + gradient', gradientOf(gelu, [wide]), all(wide, wide, wide, wide, wide), 50 * wide.size],
    ['attention', () => attend(x, x, x), all(x, x, x, x), 2 * scores],
    ['attention, forward + gradient', gradientOf(attend, [x, x, x]), 14 * all(x), 9 * scores],
    ['linear', () => linear(x, weight, bias), all(x, weight, wide), 2 * rows * hidden * mlp],
    [
      'linear, forward + gradient',
      gradientOf(linear, [x, weight, bias]),
      all(x, weight, wide, wide, wide, x, x, weight, weight),
      6 * rows * hidden * mlp,
    ],
    [
      'tokenDivergence, guided',
      () =>
        Object.values(tokenDivergence({ conditional, unconditional, guidanceScale, auxiliary, weights }, divergence)),
      all(conditional, unconditional, auxiliary, auxiliary),
      30 * auxiliary.size,
    ],
    [
      'maskedCrossEntropy',
      () => Object.values(maskedCrossEntropy({ logits: conditional, targets, weights }, 0.1)),
      all(conditional, conditional),
      12 * conditional.size,
    ],
    ['sampleCategorical', () => sampleCategorical(conditional, weights), all(conditional), 6 * conditional.size],
    [
      'adamUpdate, 2^20 numbers',
      () => {
        const [p, gradient, firstMoment, secondMoment] = parameter;
        const inputs = { parameter: p, gradient, firstMoment, secondMoment, ...scalarTensors };
        return adamUpdate(inputs, { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 });
      },
      7 * all(parameter[0]),
      12 * parameter[0].size,
    ],
  ];
}

if (given.kernels) {
  tf.engine().startScope('kernels'); // frees what the cases hold before the step is measured
  console.log(`\nhidden ${model.hidden}, ${model.grid ** 2 + 1} positions, batch ${batch}; least of ${rounds}`);
  const header = ['kernel', 'stock ms', 'fused ms', 'faster', 'launches', 'MB', 'MFLOP', 'of copy', 'of product'];
  const rows = [];
  for (const [name, compute, bytes, flops] of kernelCases()) {
    const seconds = {};
    const launches = {};
    for (const [mode, select] of Object.entries(modes)) {
      select();
      seconds[mode] = await secondsOf(backend, clock, compute, rounds);
      watched.reset();
      await secondsOf(backend, clock, compute, 0);
      launches[mode] = counters.launches;
    }
    const share = (rate, whole) => `${((100 * rate) / whole).toFixed(1)} %`;
    rows.push([
      name,
      (1000 * seconds.stock).toFixed(2),
      (1000 * seconds.fused).toFixed(2),
      `${(seconds.stock / seconds.fused).toFixed(1)}x`,
      `${launches.stock} -> ${launches.fused}`,
      (bytes / 1e6).toFixed(2),
      (flops / 1e6).toFixed(1),
      share(bytes / seconds.fused, bandwidth),
      share(flops / seconds.fused, peak),
    ]);
  }
  const widths = header.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i].length)));
  for (const row of [header, ...rows])
    console.log(row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join('  '));
  tf.engine().endScope();
}

if (given.step) {
  const { distillation } = benchDistillation({ model, batch, step, seed: 1 });
  const { program } = distillation;
  const calls = program.calls(0, program.initialCounters, await program.draw(0));
  const { fn, inputs } = calls[0];
  const results = {};
  for (const [mode, select] of Object.entries(modes)) {
    select();
    watched.reset();
    const state = await engine.upload(program.initialState());
    const definition = program.functions[fn];
    const compiled = await engine.compile(definition.fn, {
      state: specsOf(program.initialState()),
      inputs: definition.inputs,
    });
    const seconds = [];
    const cpu = [];
    let outputs;
    for (let round = -1; round < rounds; round++) {
      counters.launches = 0;
      const start = performance.now();
      const cpuStart = cpuSeconds();
      outputs = await compiled.run(state, inputs);
      if (round < 0) continue; // compiles
      seconds.push((performance.now() - start) / 1000);
      cpu.push(cpuSeconds() - cpuStart);
    }
    results[mode] = {
      seconds: Math.min(...seconds),
      cpu: Math.min(...cpu),
      launches: counters.launches,
      peak: counters.peakBytes,
      loss: outputs.loss.data[0],
    };
    await state.dispose();
  }
  const { stock, fused } = results;
  console.log(`\n${fn} step, ${given.case}, batch ${batch}; ${loadLine()}`);
  for (const [mode, { seconds, cpu, launches, peak: bytes, loss }] of Object.entries(results))
    console.log(
      `  ${mode}: ${(1000 * seconds).toFixed(0)} ms, CPU ${(1000 * cpu).toFixed(0)} ms, ${launches} launches, ${(bytes / 1e6).toFixed(0)} MB of buffers, loss ${loss}`,
    );
  const ratio = (key) => (stock[key] / fused[key]).toFixed(2);
  console.log(
    `  fused is ${ratio('seconds')}x faster (CPU time ${ratio('cpu')}x; target 2.5x), launches 1/${ratio('launches')} (target 1/4), memory 1/${ratio('peak')} (target 1/2)`,
  );
}
await engine.dispose();
process.exit(0);
