/**
 * Training rate against eager PyTorch: the same Di[M]O step (generator and auxiliary), model, batch and threads, in two
 * processes that take turns. Both sides start from the same weights, and the losses of a first step with the same
 * random numbers must agree before anything is measured.
 *
 *   node bench/train-step.mjs [case=h128-d4|h256-d6|all] [rounds=6] [steps=3] [threads=2]
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

const given = options({ case: 'all', rounds: 6, steps: 3, threads: 2 });
const python = process.env.DIMO_TORCH_PYTHON;
const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const gigaflops = (rate) => `${(rate / 1e9).toFixed(0)} GFLOP/s`;
const megabytes = (bytes) => `${(bytes / 2 ** 20).toFixed(0)} MB`;

/** Requests for PyTorch from ours. */
function torchStart({ model, batch, weights }) {
  return {
    command: 'start',
    threads: given.threads,
    batch,
    weights,
    model,
    options: {
      beta1: stepSettings.beta1,
      beta2: stepSettings.beta2,
      epsilon: stepSettings.epsilon,
      generator_lr: stepSettings.generatorLearningRate,
      auxiliary_lr: stepSettings.auxiliaryLearningRate,
      guidance: stepSettings.guidance,
      init_ratio: stepSettings.initialMaskRatio,
      noise: stepSettings.noise,
      clip: stepSettings.clipNorm,
      smoothing: stepSettings.labelSmoothing,
      ema_decay: stepSettings.averageDecay,
    },
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
  const theirs = python ? startChild(python, [here('train_step_torch.py'), 'serve']) : undefined;
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
    if (theirs) {
      const { versions } = await theirs.ask(torchStart({ model, batch, weights }));
      const theirFirst = await theirs.ask({ command: 'compare', draws });
      checkAgreement(first, theirFirst);
      console.log(
        `  PyTorch ${versions}: same losses in the first step (${theirFirst.generator}, ${theirFirst.auxiliary})`,
      );
    } else console.log('  PyTorch: skipped, DIMO_TORCH_PYTHON does not name a Python with torch');
    const rounds = [];
    for (let round = -1; round < given.rounds; round++) {
      const a = await ours.ask({ command: 'run', steps: given.steps });
      const b = theirs && (await theirs.ask({ command: 'run', steps: given.steps }));
      // The first round warms caches and allocators.
      if (round >= 0) rounds.push({ a, b });
    }
    report({ flops, target, rounds });
    const oursGemm = (await ours.ask({ command: 'gemm' })).rate;
    const best = flops / Math.min(...rounds.map(({ a }) => a.seconds / given.steps));
    console.log(
      `  GEMM 1024 through the same engine ${gigaflops(oursGemm)}; best step ${gigaflops(best)}, ${((100 * best) / oursGemm).toFixed(0)} % of it`,
    );
    if (theirs) console.log(`  GEMM 1024 in PyTorch ${gigaflops((await theirs.ask({ command: 'gemm' })).rate)}`);
  } finally {
    await Promise.all([ours.close(), theirs?.close()]);
    rmSync(folder, { recursive: true, force: true });
  }
}

function report({ flops, target, rounds }) {
  const perStep = (side, key) => median(rounds.map((round) => round[side][key] / given.steps));
  const line = (label, side) =>
    console.log(
      `  ${label} ${(1000 * perStep(side, 'seconds')).toFixed(0)} ms a step, CPU ${(1000 * perStep(side, 'cpuSeconds')).toFixed(0)} ms, ${gigaflops(flops / perStep(side, 'seconds'))}, peak ${megabytes(rounds.at(-1)[side].peakRss)}`,
    );
  line('ours   ', 'a');
  if (!rounds[0].b) return;
  line('PyTorch', 'b');
  const ratio = (key) => median(rounds.map(({ a, b }) => b[key] / a[key]));
  const memory = rounds.at(-1).a.peakRss / rounds.at(-1).b.peakRss;
  console.log(
    `  rate ratio, median of ${rounds.length} rounds: ${ratio('seconds').toFixed(2)}x wall (target ${target}x), ${ratio('cpuSeconds').toFixed(2)}x CPU; peak memory ${memory.toFixed(2)}x (target <= 1.3x)`,
  );
}

const names = given.case === 'all' ? Object.keys(cases) : [given.case];
for (const name of names) {
  if (!cases[name]) throw new Error(`unknown case "${name}"; known are ${Object.keys(cases).join(', ')}, all`);
  await runCase(name);
}
