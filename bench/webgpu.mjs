/**
 * The fused WebGPU kernels against core's compositions of tfjs' own kernels, on one adapter in one run: each kernel, and
 * a whole generator step, in turns. Bytes and FLOP are those of the mathematics (every operand read once, every result
 * written once); shares are of the adapter's own copy bandwidth and of its best matrix product, both measured first.
 *
 *   node bench/webgpu.mjs [case=h128-d4|imagenet256] [batch=8] [rounds=3] [kernels=1] [step=1]
 *   node bench/webgpu.mjs --full-size [size=full|tiny] [rounds=3] [torch-device=cuda|cpu]
 *
 * `--full-size`: the transformer of the ImageNet model, one-step generation and whole distillation steps at batch 16, for
 * tfjs' own kernels, ours, onnxruntime's WebGPU provider, and eager PyTorch on CUDA if `DIMO_TORCH_PYTHON` names a Python
 * with torch. `size=tiny` only shows that all of it runs.
 *
 * On a bare Linux machine with a GPU it needs a Node binary, the Vulkan loader with the GPU's driver, and this repository,
 * built, with its npm packages.
 */
import { chooseEngine } from '@dimo/backend-node';
import { measureTuning, registerWebgpuKernels, softwareTuning, unregisterWebgpuKernels } from '@dimo/kernels';
import { matrixProduct } from '@dimo/core';
import * as tf from '@tensorflow/tfjs-core';
import { cases, fullSize, tinySize } from './lib/cases.mjs';
import { clocks, secondsOf, watchBackend } from './lib/gpu.mjs';
import { copyBandwidth, multiplyAddRate } from './lib/gpu-rates.mjs';
import { loadLine, options } from './lib/statistics.mjs';
import { table } from './lib/table.mjs';
import { runFullSize } from './lib/webgpu-full-size.mjs';
import { kernelCases, random } from './lib/webgpu-kernels.mjs';
import { measureStep } from './lib/webgpu-step.mjs';

const given = options({
  case: '',
  batch: 0,
  rounds: 3,
  kernels: 1,
  step: 1,
  'full-size': 0,
  size: 'full',
  'torch-device': 'cuda',
});
if (given['full-size']) {
  const size = given.size === 'tiny' ? tinySize : fullSize;
  await runFullSize(
    { ...size, ...(given.batch ? { batch: given.batch } : {}) },
    { rounds: given.rounds, torchDevice: given['torch-device'] },
  );
  process.exit(0);
}

const { engine } = await chooseEngine('webgpu');
await (await engine.upload({})).dispose(); // initializes the backend
await tf.setBackend('webgpu');
const { isSoftware, device } = engine.info;
const known = { ...cases, imagenet256: fullSize };
const chosen = given.case || (isSoftware ? 'h128-d4' : 'imagenet256');
if (!known[chosen]) throw new Error(`unknown case "${chosen}"; known are ${Object.keys(known).join(', ')}`);
const { batch: usual, target: _, ...model } = known[chosen];
const batch = given.batch || (isSoftware ? 8 : usual);
const { rounds } = given;
const watched = watchBackend();
const { backend, counters } = watched;
const tuning = isSoftware ? softwareTuning : await measureTuning();
const modes = { stock: unregisterWebgpuKernels, fused: () => registerWebgpuKernels({ tuning }) };
const clock = clocks[isSoftware ? 'cpu' : 'wall'];

console.log(`${device}; ${loadLine()}`);
console.log(`matrix products: ${tuning.matrixProduct}; noise drawn on the ${tuning.drawsOnDevice ? 'device' : 'host'}`);
if (isSoftware) console.log('times below are CPU time of all threads, since the adapter is emulated on the CPU');
const { bandwidth, product } = await measureAdapter();
if (given.kernels) await measureKernels();
if (given.step) await reportStep();
await engine.dispose();
process.exit(0);

async function measureAdapter() {
  const copy = await copyBandwidth(backend, clock);
  console.log(`copy ${(copy / 1e9).toFixed(1)} GB/s (read and written)`);
  console.log(`multiply-adds in registers ${gigaflops(await multiplyAddRate(backend, clock))}`);
  const side = isSoftware ? 256 : 4096;
  const square = [random(side, side), random(side, side)];
  const rates = {};
  // Products with workgroup memory take a software adapter minutes.
  for (const name of ['stock', 'direct', ...(isSoftware ? [] : ['tiled'])]) {
    registerWebgpuKernels({ tuning: { ...tuning, matrixProduct: name } });
    rates[name] = (2 * side ** 3) / (await secondsOf(backend, clock, () => matrixProduct(...square), rounds));
  }
  tf.dispose(square);
  const listed = Object.entries(rates).map(([name, rate]) => `${name} ${gigaflops(rate)}`);
  console.log(`matrix product ${side}: ${listed.join(', ')}`);
  return { bandwidth: copy, product: Math.max(...Object.values(rates)) };
}

function gigaflops(rate) {
  return `${(rate / 1e9).toFixed(1)} GFLOP/s`;
}

async function measureKernels() {
  tf.engine().startScope('kernels'); // frees what the cases hold before the step is measured
  console.log(`\nhidden ${model.hidden}, ${model.grid ** 2 + 1} positions, batch ${batch}; least of ${rounds}`);
  const rows = [['kernel', 'stock ms', 'fused ms', 'faster', 'launches', 'MB', 'MFLOP', 'of copy', 'of product']];
  for (const [name, compute, bytes, flops] of kernelCases(model, batch)) {
    const seconds = {};
    const launches = {};
    for (const [mode, select] of Object.entries(modes)) {
      select();
      seconds[mode] = await secondsOf(backend, clock, compute, rounds);
      counters.launches = 0;
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
      share(flops / seconds.fused, product),
    ]);
  }
  table(rows);
  tf.engine().endScope();
}

async function reportStep() {
  const results = await measureStep(engine, { modes, watched, model, batch, rounds });
  console.log(`\ngenerator step, ${chosen}, batch ${batch}, medians of ${rounds} in turns; ${loadLine()}`);
  for (const [mode, { seconds, cpu, launches, peak, loss }] of Object.entries(results))
    console.log(
      `  ${mode}: ${(1000 * seconds).toFixed(0)} ms, CPU ${(1000 * cpu).toFixed(0)} ms, ${launches} launches, ${(peak / 1e6).toFixed(0)} MB of buffers, loss ${loss}`,
    );
  const { stock, fused } = results;
  const ratio = (key) => (stock[key] / fused[key]).toFixed(2);
  console.log(
    `  fused is ${ratio('seconds')}x faster (CPU time ${ratio('cpu')}x; target 2.5x), launches 1/${ratio('launches')} (target 1/4), memory 1/${ratio('peak')} (target 1/2)`,
  );
}
