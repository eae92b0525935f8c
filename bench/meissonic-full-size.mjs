/**
 * One forward pass of Meissonic's transformer at the public size (1.007 B parameters, 64 x 64 tokens, 77 text tokens) on
 * the onnx engine beside eager PyTorch in float32: time and peak resident memory, from random weights in 16-bit shards.
 * Both sides compute on the same weights and inputs, and their logits are compared.
 *
 *   node bench/meissonic-full-size.mjs [float=F16|BF16|F32] [rounds=3] [threads=2] [grid=64] [folder=] [size=public|tiny]
 *
 * `DIMO_TORCH_PYTHON` names a Python with torch and safetensors; without it only our side runs. `folder` keeps the
 * weights there (2 GB; 4 GB for F32) and uses those that it finds. Two processes of some 5 GB run at a time. `size=tiny` only
 * shows that all of it runs.
 */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { startChild } from './lib/child.mjs';
import { loadLine, median, options } from './lib/statistics.mjs';

const given = options({ float: 'F16', rounds: 3, threads: 2, grid: 64, folder: '', size: 'public' });
const python = process.env.DIMO_TORCH_PYTHON;
const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const gigabytes = (bytes) => `${(bytes / 1e9).toFixed(2)} GB`;
const startOurs = () => startChild(process.execPath, [...process.execArgv, here('lib/meissonic-ours.mjs')]);
const parameters = 1_006_946_304;
const float32Bytes = 4 * parameters;
/** Positions whose logits are compared. */
const rows = [0, 1, 63, 64, 1000, 2047, 2048, 4095].filter((row) => row < given.grid ** 2);

const scratch = mkdtempSync(path.join(tmpdir(), 'dimo-full-size-'));
const folder = given.folder === '' ? scratch : path.resolve(given.folder);
const [inputFile, logitFile] = ['inputs', 'logits'].map((name) => path.join(scratch, `${name}.safetensors`));
const children = [];
const start = (child) => {
  children.push(child);
  return child;
};

try {
  if (!existsSync(path.join(folder, 'transformer', 'config.json'))) {
    const writer = start(startOurs());
    const written = await writer.ask({
      command: 'write',
      folder,
      float: given.float,
      grid: given.grid,
      size: given.size,
    });
    console.log(`${written.parameters} random parameters as ${given.float} in ${written.files} shards`);
    await writer.close();
    children.pop();
  }
  console.log(`${loadLine()}; ${given.threads} threads`);
  const ours = start(startOurs());
  const common = { folder, grid: given.grid, threads: given.threads, inputFile };
  const begun = await ours.ask({ command: 'start', ...common });
  const stage = (label, { seconds, peakRss }) =>
    console.log(`  ${label.padEnd(22)} ${seconds.toFixed(1)} s, peak ${gigabytes(peakRss)}`);
  console.log(`ours (onnxruntime ${begun.info.versions['onnxruntime-node']}):`);
  stage('read', begun.read);
  stage('upload', begun.upload);
  stage('trace and compile', begun.compile);
  const first = await ours.ask({ command: 'forward' });
  stage('first forward', first);
  await ours.ask({ command: 'save', rows, file: logitFile });

  let theirs;
  if (python) {
    theirs = start(startChild(python, [here('meissonic_torch.py'), 'serve']));
    const started = await theirs.ask({ command: 'start', ...common });
    console.log(`PyTorch ${started.versions}, eager, float32:`);
    stage('load', started);
    stage('first forward', await theirs.ask({ command: 'forward' }));
    const { largestDifference, largestLogit } = await theirs.ask({ command: 'compare', rows, file: logitFile });
    console.log(
      `  largest difference of logits ${largestDifference.toExponential(1)}, largest logit ${largestLogit.toFixed(1)}`,
    );
    if (!(largestDifference < 1e-3 * Math.max(1, largestLogit)))
      throw new Error('the two sides compute different logits');
  } else console.log('PyTorch: skipped, DIMO_TORCH_PYTHON does not name a Python with torch');

  const measured = [];
  for (let round = 0; round < given.rounds; round++)
    measured.push([
      await ours.ask({ command: 'forward' }),
      theirs ? await theirs.ask({ command: 'forward' }) : undefined,
    ]);
  const of = (side, key) => median(measured.map((pair) => pair[side][key]));
  const describe = (side) =>
    `${of(side, 'seconds').toFixed(1)} s (CPU ${of(side, 'cpuSeconds').toFixed(1)} s), peak ${gigabytes(measured.at(-1)[side].peakRss)} = ${(measured.at(-1)[side].peakRss / float32Bytes).toFixed(2)}x of the float32 weights`;
  console.log(`forward, median of ${given.rounds}:`);
  console.log(`  ours    ${describe(0)}; target <= 1.3x`);
  if (theirs) {
    console.log(`  PyTorch ${describe(1)}`);
    const ratio = (key) => median(measured.map(([mine, other]) => other[key] / mine[key]));
    console.log(
      `  ours at ${ratio('seconds').toFixed(2)}x PyTorch's rate by the clock, ${ratio('cpuSeconds').toFixed(2)}x by CPU time; target >= 1x`,
    );
  }
} finally {
  await Promise.all(children.map((child) => child.close()));
  rmSync(scratch, { recursive: true, force: true });
}
