/**
 * Training rate against eager PyTorch: the same Di[M]O step (generator and auxiliary), model, batch and threads, in
 * processes that take turns. PyTorch comes in two styles: `plain`, the step as the public code writes it, and `tuned`,
 * rewritten for speed. All start from the same weights, and the losses of a first step with the same random numbers
 * must agree before anything is measured.
 *
 * `full` is the published model for ImageNet at 256 pixels with random weights, `third` has 8 of its 24 blocks: there, one
 * process runs after the other. `all` stands for the other cases; `tiny` only shows that all of it runs.
 *
 *   node bench/train-step.mjs [case=h128-d4|h256-d6|third|full|tiny|all] [rounds=6] [steps=3] [threads=2] [peers=plain,tuned]
 *     [batch=0] [recompute=none|blocks] [engine=onnx]
 *
 * `batch` is another batch than that of the case; `recompute` is that of our side, as `distill.recompute`.
 *
 * `DIMO_TORCH_PYTHON` names a Python with torch and safetensors; without it only our side runs.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { cases, flopsPerStep, largeCases, step as stepSettings } from './lib/cases.mjs';
import { startChild } from './lib/child.mjs';
import { loadLine, median, options } from './lib/statistics.mjs';
import { torchOptions } from './lib/torch-options.mjs';

const given = options({
  case: 'all',
  rounds: 6,
  steps: 3,
  threads: 2,
  engine: 'onnx',
  peers: 'plain,tuned',
  batch: 0,
  recompute: 'none',
});
const allCases = { ...cases, ...largeCases };
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
function checkAgreement(ours, theirs, label) {
  for (const name of ['generator', 'auxiliary']) {
    const difference = Math.abs(ours[name] - theirs[name]) / Math.abs(theirs[name]);
    // float32 sums over a batch in another order; a token sampled differently would be 1e-3 or more.
    if (!(difference < 1e-4))
      throw new Error(`first step: the ${name} losses differ, ours ${ours[name]}, ${label} ${theirs[name]}`);
  }
}

async function runCase(name) {
  const { batch: itsBatch, target, memory, alone = false, ...model } = allCases[name];
  const batch = given.batch || itsBatch;
  const flops = flopsPerStep({ batch, ...model });
  console.log(`\n${name}: hidden ${model.hidden}, depth ${model.depth}, ${model.grid ** 2} tokens, batch ${batch}`);
  console.log(`  ${loadLine()}; ${given.threads} threads; ${(flops / 1e9).toFixed(1)} GFLOP of matrix products a step`);
  const folder = mkdtempSync(path.join(tmpdir(), 'dimo-bench-'));
  const files = { weights: path.join(folder, 'weights.safetensors'), draws: path.join(folder, 'draws.safetensors') };
  const styles = python ? given.peers.split(',').filter(Boolean) : [];
  if (!python) console.log('  PyTorch: skipped, DIMO_TORCH_PYTHON does not name a Python with torch');
  const task = { model, batch, files };
  const contenders = [ourSide(task), ...styles.map((style) => torchSide(task, style))];
  let first;
  const start = async (contender) => {
    contender.open();
    const losses = await contender.start();
    first ??= losses;
    checkAgreement(first, losses, contender.label);
  };
  try {
    let measured;
    if (alone) {
      measured = [];
      for (const contender of contenders) {
        await start(contender);
        measured.push(await roundsOf([contender]));
        await contender.close();
      }
      measured = measured[0].map((_, round) => measured.map((rounds) => rounds[round][0]));
    } else {
      for (const contender of contenders) await start(contender);
      measured = await roundsOf(contenders);
    }
    report({ flops, target, allowed: memory, rounds: measured, labels: contenders.map(({ label }) => label) });
    for (const contender of alone ? [] : contenders.slice(0, 2)) {
      const { rate } = await contender.ask({ command: 'gemm' });
      console.log(`  GEMM 1024, ${contender.label}: ${gigaflops(rate)}`);
      if (contender !== contenders[0]) continue;
      const best = flops / Math.min(...measured.map(([mine]) => mine.seconds / given.steps));
      console.log(`  best step of ours ${gigaflops(best)}, ${((100 * best) / rate).toFixed(0)} % of it`);
    }
  } finally {
    await Promise.all(contenders.map((contender) => contender.close()));
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A process that can be asked, once it is open. */
function contender(label, command, args, start) {
  let child;
  const side = {
    label,
    open: () => (child = startChild(command, args)),
    ask: (request) => child.ask(request),
    start: () => start(side.ask),
    async close() {
      await child?.close();
      child = undefined;
    },
  };
  return side;
}

/** Makes the weights and the random numbers of the first step, which the others read. */
function ourSide({ model, batch, files }) {
  return contender('ours', process.execPath, [here('lib/ours.mjs')], async (ask) => {
    const { weights, draws } = files;
    const { engine, threads, recompute } = given;
    const asked = { model, batch, step: stepSettings, engine, threads, weights, seed: 1, recompute };
    const { info, rss } = await ask({ command: 'start', ...asked });
    console.log(`  ours: ${info.device}; ${megabytes(rss)} with the weights made`);
    const first = await ask({ command: 'compare', draws });
    console.log(
      `  ours: traced, compiled and first step in ${first.startSeconds.toFixed(1)} s, peak ${megabytes(first.peakRss)}; then ${megabytes(first.rss)}`,
    );
    return first;
  });
}

function torchSide({ model, batch, files }, style) {
  return contender(`PyTorch ${style}`, python, [here('train_step_torch.py'), 'serve'], async (ask) => {
    const { versions } = await ask(torchStart({ model, batch, weights: files.weights, style }));
    const first = await ask({ command: 'compare', draws: files.draws });
    console.log(`  PyTorch ${style} (${versions}): losses of the first step ${first.generator}, ${first.auxiliary}`);
    return first;
  });
}

/** Steps of each in turns: by round and contender. */
async function roundsOf(contenders) {
  const rounds = [];
  for (let round = -1; round < given.rounds; round++) {
    const measured = [];
    for (const side of contenders) measured.push(await side.ask({ command: 'run', steps: given.steps }));
    // The first round warms caches and allocators.
    if (round >= 0) rounds.push(measured);
  }
  return rounds;
}

function report({ flops, target, allowed, rounds, labels }) {
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
      `  against ${label}, median of ${rounds.length} rounds: ${ratio('seconds').toFixed(2)}x the rate by the clock (target ${target}x), ${ratio('cpuSeconds').toFixed(2)}x by CPU time; peak memory ${memory.toFixed(2)}x (target <= ${allowed}x)`,
    );
  });
}

const names = given.case === 'all' ? Object.keys(cases) : [given.case];
for (const name of names) {
  if (!allCases[name]) throw new Error(`unknown case "${name}"; known are ${Object.keys(allCases).join(', ')}, all`);
  await runCase(name);
}
