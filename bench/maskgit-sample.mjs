/**
 * The published class-conditional ImageNet models (random weights in their layout: 174 M parameters, VQGAN of 958 MB): what
 * import, info and a picture from disk take as commands, and pictures a second of the one-step generator and of the
 * teacher in 16 guided steps, beside eager PyTorch as the public code samples, in turns.
 *
 *   node bench/maskgit-sample.mjs [size=public|tiny] [batches=1,8] [rounds=5] [steps=16] [threads=2] [engine=onnx] [folder=]
 *
 * `DIMO_TORCH_PYTHON` names a Python with torch, which also writes the files: without it nothing runs. `folder` keeps the
 * files there (4 GB) and uses those that it finds.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { startChild } from './lib/child.mjs';
import { loadLine, median, options } from './lib/statistics.mjs';

const given = options({
  size: 'public',
  batches: '1,8',
  rounds: 5,
  steps: 16,
  threads: 2,
  engine: 'onnx',
  folder: '',
});
const python = process.env.DIMO_TORCH_PYTHON;
const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const gigabytes = (bytes) => `${(bytes / 1e9).toFixed(2)} GB`;
const scratch = mkdtempSync(path.join(tmpdir(), 'dimo-maskgit-'));
const children = [];
const start = (...command) => {
  children.push(startChild(...command));
  return children.at(-1);
};

/** Runs a command of the command line in a process of its own. */
function dimo(name, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...process.execArgv, here('lib/sample-child.mjs'), ...args], {
      stdio: ['ignore', 'pipe', 2],
    });
    let output = '';
    child.stdout.on('data', (chunk) => (output += chunk));
    child.on('error', reject);
    child.on('exit', () => {
      const { code, seconds, cpuSeconds, peakRss } = JSON.parse(output.trim().split('\n').at(-1));
      if (code !== 0) return reject(new Error(`dimo ${args.join(' ')} ended with ${code}`));
      console.log(
        `${name.padEnd(34)} ${seconds.toFixed(1)} s (CPU ${cpuSeconds.toFixed(1)} s), peak ${gigabytes(peakRss)}`,
      );
      resolve();
    });
  });
}

function write(folder) {
  if (existsSync(path.join(folder, 'generator'))) return;
  const { status } = spawnSync(python, [here('maskgit_torch.py'), 'write', folder, given.size], { stdio: 'inherit' });
  if (status !== 0) throw new Error('the files could not be written');
}

async function run() {
  const folder = given.folder === '' ? path.join(scratch, 'files') : path.resolve(given.folder);
  write(folder);
  const [teacher, generator] = ['teacher', 'generator'].map((part) => path.join(scratch, part));
  const common = ['--engine', given.engine, '--threads', String(given.threads), '--seed', '1', '--quiet'];
  const heads = given.size === 'tiny' ? ['--set', 'transformer.heads=2'] : [];
  console.log(loadLine());
  await dimo('import of the teacher', ['import', path.join(folder, 'teacher'), '--out', teacher, ...heads, '--quiet']);
  const imported = ['import', path.join(folder, 'generator'), '--teacher', teacher, '--out', generator, '--quiet'];
  await dimo('import of the generator', imported);
  await dimo('info', ['info', teacher, '--json']);
  const out = ['--out', path.join(scratch, 'picture.png')];
  await dimo('a picture from disk, one step', [
    'sample',
    '--model',
    generator,
    '--classes',
    '207',
    '--count',
    '1',
    ...out,
    ...common,
  ]);

  const ours = start(process.execPath, [...process.execArgv, here('lib/maskgit-ours.mjs')]);
  const theirs = start(python, [here('maskgit_torch.py'), 'serve']);
  await ours.ask({ command: 'start', teacher, generator, engine: given.engine, threads: given.threads });
  const { versions } = await theirs.ask({ command: 'start', folder, size: given.size, threads: given.threads });
  const batches = String(given.batches).split(',').map(Number);
  for (const [what, steps] of [
    ['one step', 0],
    [`${given.steps} guided steps`, given.steps],
  ])
    for (const batch of batches) {
      const request = { command: 'sample', batch, steps };
      const measured = [];
      // The first round warms up.
      for (let round = -1; round < (steps > 0 ? Math.min(given.rounds, 3) : given.rounds); round++) {
        const pair = [await ours.ask(request), await theirs.ask(request)];
        if (round >= 0) measured.push(pair);
      }
      const of = (side, key) => median(measured.map((pair) => pair[side][key]));
      const ratio = (key) => median(measured.map(([own, peer]) => peer[key] / own[key])).toFixed(2);
      console.log(`\n${what}, ${batch} at once, decoded:`);
      for (const [side, name] of [`ours`, `PyTorch ${versions}`].entries())
        console.log(
          `  ${name.padEnd(20)} ${(batch / of(side, 'seconds')).toFixed(3)} pictures/s, CPU ${(of(side, 'cpuSeconds') / batch).toFixed(2)} s a picture, peak ${gigabytes(measured.at(-1)[side].peakRss)}`,
        );
      console.log(`  ${ratio('seconds')}x the rate (target 1.3x), ${ratio('cpuSeconds')}x by CPU time`);
    }
}

try {
  if (python) await run();
  else console.log('0 rounds: skipped, DIMO_TORCH_PYTHON does not name a Python with torch');
} finally {
  await Promise.all(children.map((child) => child.close()));
  rmSync(scratch, { recursive: true, force: true });
}
