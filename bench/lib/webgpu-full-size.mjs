/**
 * The full-size model on one GPU, four ways: tfjs' own WebGPU kernels, ours, the traced graph on onnxruntime's WebGPU
 * provider, and eager PyTorch on CUDA in float32 without TF32. Each runs in a process of its own, one after the other, so
 * that the card holds one of them at a time; all start from the same weights.
 */
import { writeSafetensors } from '@dimo/core';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { bytesPerForward, bytesPerStep, flopsPerForward, flopsPerStep, step } from './cases.mjs';
import { startChild } from './child.mjs';
import { benchDistillation } from './distillation.mjs';
import { table } from './table.mjs';
import { torchOptions } from './torch-options.mjs';

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const contenders = {
  'stock tfjs': 'stock',
  'our kernels': 'fused',
  'onnxruntime WebGPU': 'onnx-webgpu',
};
const seed = 1;

/**
 * Runs the contenders and prints the table.
 *
 * @param size - model and batch.
 * @param options - rounds; the device of PyTorch, `cuda`, or `cpu` to see that its part works where there is no GPU.
 */
export async function runFullSize({ batch, ...model }, { rounds, torchDevice }) {
  console.log(
    `hidden ${model.hidden}, depth ${model.depth}, ${model.grid ** 2} tokens, batch ${batch}; least of ${rounds}`,
  );
  const results = new Map();
  let rates;
  for (const [name, contender] of Object.entries(contenders)) {
    const child = startChild(process.execPath, [here('webgpu-contender.mjs')]);
    try {
      const { info } = await child.ask({ command: 'start', contender, model, batch, step, seed });
      rates ??= await child.ask({ command: 'rates' });
      console.log(`${name}: ${info.device}`);
      const sample = await child.ask({ command: 'sample', rounds });
      const train = await child.ask({ command: 'train', rounds });
      results.set(name, { sample: sample.seconds, train: train.seconds, losses: train.losses });
    } catch (error) {
      console.log(`${name}: failed: ${String(error).split('\n')[0]}`);
    } finally {
      await child.close();
    }
  }
  const peer = await runTorch({ model, batch }, { rounds, torchDevice });
  if (peer) results.set(peer.name, peer);
  report(results, { size: { batch, ...model }, rates, peer });
}

/** PyTorch's numbers, or undefined with the reason printed. */
async function runTorch({ model, batch }, { rounds, torchDevice }) {
  const python = process.env.DIMO_TORCH_PYTHON;
  if (!python) {
    console.log('PyTorch: skipped, DIMO_TORCH_PYTHON does not name a Python with torch');
    return undefined;
  }
  const folder = mkdtempSync(path.join(tmpdir(), 'dimo-bench-'));
  const child = startChild(python, [here('../train_step_torch.py'), 'serve']);
  try {
    const { gpu, versions } = await child.ask({ command: 'probe' });
    if (torchDevice === 'cuda' && !gpu) {
      console.log(`PyTorch ${versions}: skipped, it sees no GPU`);
      return undefined;
    }
    const weights = path.join(folder, 'weights.safetensors');
    writeFileSync(weights, writeSafetensors(benchDistillation({ model, batch, step, seed }).weights));
    await child.ask({
      command: 'start',
      style: 'tuned',
      threads: 2,
      device: torchDevice,
      batch,
      weights,
      model,
      options: torchOptions(step),
    });
    const { seconds } = await child.ask({ command: 'sample', rounds });
    let train = Infinity;
    for (let round = -1; round < rounds; round++) {
      const run = await child.ask({ command: 'run', steps: 1 });
      if (round >= 0) train = Math.min(train, run.seconds);
    }
    const { rate } = await child.ask({ command: 'gemm', size: torchDevice === 'cuda' ? 4096 : 512 });
    const name = `PyTorch ${versions}, ${torchDevice === 'cuda' ? gpu : 'CPU'}`;
    console.log(`${name}: float32 product ${(rate / 1e12).toFixed(2)} TFLOP/s`);
    return { name, sample: seconds, train };
  } finally {
    await child.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

function report(results, { size, rates, peer }) {
  if (!rates) return;
  const { bandwidth, peak } = rates;
  console.log(
    `\ncopy ${(bandwidth / 1e9).toFixed(0)} GB/s, multiply-adds ${(peak / 1e12).toFixed(2)} TFLOP/s in float32`,
  );
  const share = (done, seconds, whole) => `${((100 * done) / seconds / whole).toFixed(1)} %`;
  const columns = (seconds, flops, bytes) => [share(flops, seconds, peak), share(bytes, seconds, bandwidth)];
  const rows = [...results].map(([name, { sample, train, losses }]) => [
    name,
    ((size.batch * size.grid ** 2) / sample).toFixed(0),
    ...columns(sample, flopsPerForward(size), bytesPerForward(size)),
    (1000 * train).toFixed(0),
    ...columns(train, flopsPerStep(size), bytesPerStep(size)),
    peer ? `${((100 * peer.train) / train).toFixed(0)} %` : '-',
    losses ? losses.map((loss) => loss.toPrecision(6)).join(' ') : '-',
  ]);
  const header = ['', 'tokens/s', 'of peak', 'of copy', 'step ms', 'of peak', 'of copy', 'of PyTorch', 'first losses'];
  table([header, ...rows]);
}
