/**
 * Training rate against eager PyTorch: the same Di[M]O step (generator and auxiliary), model, batch and threads, in
 * processes that take turns. PyTorch comes in two styles: `plain`, the step as the public code writes it, and `tuned`,
 * rewritten for speed. All start from the same weights, and the losses of a first step with the same random numbers
 * must agree before anything is measured.
 *
 *   node bench/train-step.mjs [case=h128-d4|h256-d6|all] [rounds=6] [steps=3] [threads=2] [peers=plain,tuned]
 *
 * `DIMO_TORCH_PYTHON` names a Python with torch and safetensors; without it only our side runs.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { cases, flopsPerStep, step as stepSettings } from './lib/cases.mjs';
import { startChild } from './lib/child.mjs';
import { loadLine, median, options } from './lib/statistics.mjs';
import { torchOptions } from './lib/torch-options.mjs';

const given = options({ case: 'all', rounds: 6, steps: 3, threads: 2, peers: 'plain,tuned' });
const python = process.env.DIMO_TORCH_PYTHON;
const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const gigaflops = (rate) => `${(rate / 1e9).toFixed(0)} GFLOP/s`;
const megabytes = (bytes) => `${(bytes / 2 ** 20).toFixed(0)} MB`;

/** Requests for PyTorch from ours. */
function torchStart({ model, batch, weights, style }) {
  return {
    command: 'start',
    style,
    threads: given.threads,
    batch,
    weights,
    model,
    options: torchOptions(stepSettings),
  };
}

/** Refuses to compare programs that compute different things. */
function checkAgreement(ours, theirs) {
  for (const name of ['generator', 'auxiliary']) {
    const difference = Math.abs(ours[name] - theirs[name]) / Math.abs(theirs[name]);
    // float32 sums over a batch in another order; a token sampled differently would be 1e-3 or more.
    if (!(difference < 1e-4))
      throw new Error(`first step: the ${name} losses differ, ours ${ours[name]}, PyTorch ${theirs[name]}`);
  }
}

async function runCase(name) {
  const { batch, target, ...model } = cases[name];
  const flops = flopsPerStep({ batch, ...model });
  console.log(`\n${name}: hidden ${model.hidden}, depth ${model.depth}, ${model.grid ** 2} tokens, batch ${batch}`);
  console.log(`  ${loadLine()}; ${given.threads} threads; ${(flops / 1e9).toFixed(1)} GFLOP of matrix products a step`);
  const folder = mkdtempSync(path.join(tmpdir(), 'dimo-bench-'));
  const [weights, draws] = [path.join(folder, 'weights.safetensors'), path.join(folder, 'draws.safetensors')];
  const ours = startChild(process.execPath, [here('lib/ours.mjs')]);
  const styles = python ? given.peers.split(',') : [];
  const peers = styles.map((style) => ({
    style,
    label: `PyTorch ${style}`,
    child: startChild(python, [here('train_step_torch.py'), 'serve']),
  }));
  try {
    const started = await ours.ask({
      command: 'start',
      model,
      batch,
      step: stepSettings,
      threads: given.threads,
      weights,
      seed: 1,
    });
    const first = await ours.ask({ command: 'compare', draws });
    console.log(
      `  ours: ${started.info.device}, traced, compiled and first step in ${first.startSeconds.toFixed(1)} s`,
    );
    for (const { child, style, label } of peers) {
      const { versions } = await child.ask(torchStart({ model, batch, weights, style }));
      const theirFirst = await child.ask({ command: 'compare', draws });
      checkAgreement(first, theirFirst);
      console.log(
        `  ${label} (${versions}): same losses in the first step (${theirFirst.generator}, ${theirFirst.auxiliary})`,
      );
    }
    if (!python) console.log('  PyTorch: skipped, DIMO_TORCH_PYTHON does not name a Python with torch');
    const rounds = [];
    for (let round = -1; round < given.rounds; round++) {
      const measured = [await ours.ask({ command: 'run', steps: given.steps })];
      for (const { child } of peers) measured.push(await child.ask({ command: 'run', steps: given.steps }));
      // The first round warms caches and allocators.
      if (round >= 0) rounds.push(measured);
    }
    report({ flops, target, rounds, labels: ['ours', ...peers.map(({ label }) => label)] });
    const oursGemm = (await ours.ask({ command: 'gemm' })).rate;
    const best = flops / Math.min(...rounds.map(([mine]) => mine.seconds / given.steps));
    console.log(
      `  GEMM 1024 through the same engine ${gigaflops(oursGemm)}; best step ${gigaflops(best)}, ${((100 * best) / oursGemm).toFixed(0)} % of it`,
    );
    if (peers[0])
      console.log(`  GEMM 1024 in PyTorch ${gigaflops((await peers[0].child.ask({ command: 'gemm' })).rate)}`);
  } finally {
    await Promise.all([ours, ...peers.map(({ child }) => child)].map((child) => child.close()));
    rmSync(folder, { recursive: true, force: true });
  }
}

function report({ flops, target, rounds, labels }) {
  const width = Math.max(...labels.map((label) => label.length));
  labels.forEach((label, side) => {
    const perStep = (key) => median(rounds.map((round) => round[side][key] / given.steps));
    console.log(
      `  ${label.padEnd(width)} ${(1000 * perStep('seconds')).toFixed(0)} ms a step, CPU ${(1000 * perStep('cpuSeconds')).toFixed(0)} ms, ${gigaflops(flops / perStep('seconds'))}, peak ${megabytes(rounds.at(-1)[side].peakRss)}`,
    );
  });
  labels.slice(1).forEach((label, index) => {
    const ratio = (key) => median(rounds.map((round) => round[index + 1][key] / round[0][key]));
    const last = rounds.at(-1);
    const memory = last[0].peakRss / last[index + 1].peakRss;
    console.log(
      `  against ${label}, median of ${rounds.length} rounds: ${ratio('seconds').toFixed(2)}x the rate by the clock (target ${target}x), ${ratio('cpuSeconds').toFixed(2)}x by CPU time; peak memory ${memory.toFixed(2)}x (target <= 1.3x)`,
    );
  });
}

const names = given.case === 'all' ? Object.keys(cases) : [given.case];
for (const name of names) {
  if (!cases[name]) throw new Error(`unknown case "${name}"; known are ${Object.keys(cases).join(', ')}, all`);
  await runCase(name);
}
