/**
 * One image from its tokens, by the decoders of the public models with random weights, on the onnx engine beside eager
 * PyTorch on the same weights and tokens, in turns: time and peak resident memory; the images are compared.
 *
 *   node bench/decoder.mjs [decoder=meissonic|maskgit] [pixels=1024] [rounds=3] [threads=2]
 *
 * `DIMO_TORCH_PYTHON` names a Python with torch and safetensors; without it only our side runs. 1024 pixels take some
 * 4 GB in each of the two processes.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { startChild } from './lib/child.mjs';
import { loadLine, median, options } from './lib/statistics.mjs';

const given = options({ decoder: 'meissonic', pixels: 1024, rounds: 3, threads: 2 });
const python = process.env.DIMO_TORCH_PYTHON;
const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const scratch = mkdtempSync(path.join(tmpdir(), 'dimo-decoder-'));
const [file, imageFile] = ['weights', 'image'].map((name) => path.join(scratch, `${name}.safetensors`));
const children = [];
const start = (...command) => {
  children.push(startChild(...command));
  return children.at(-1);
};

try {
  console.log(`${given.decoder}, ${given.pixels} x ${given.pixels} pixels, ${given.threads} threads; ${loadLine()}`);
  const ours = start(process.execPath, [...process.execArgv, here('lib/decoder-ours.mjs')]);
  await ours.ask({ command: 'start', ...given, file });
  await ours.ask({ command: 'decode', file: imageFile });
  let theirs;
  if (python) {
    theirs = start(python, [here('decoder_torch.py'), 'serve']);
    await theirs.ask({ command: 'start', ...given, file });
    await theirs.ask({ command: 'decode' });
    const { largestDifference } = await theirs.ask({ command: 'compare', file: imageFile });
    console.log(`largest difference of the images ${largestDifference.toExponential(1)}, of 1`);
    if (!(largestDifference < 0.01)) throw new Error('the two sides compute different images');
  } else console.log('PyTorch: skipped, DIMO_TORCH_PYTHON does not name a Python with torch');
  const measured = [];
  for (let round = 0; round < given.rounds; round++)
    measured.push([
      await ours.ask({ command: 'decode' }),
      theirs ? await theirs.ask({ command: 'decode' }) : undefined,
    ]);
  const describe = (name, side) => {
    const of = (key) => median(measured.map((pair) => pair[side][key]));
    const memory = (measured.at(-1)[side].peakRss / 1e9).toFixed(2);
    console.log(
      `${name.padEnd(8)} ${of('seconds').toFixed(2)} s (CPU ${of('cpuSeconds').toFixed(2)} s), peak ${memory} GB`,
    );
  };
  describe('ours', 0);
  if (theirs) describe('PyTorch', 1);
} finally {
  await Promise.all(children.map((child) => child.close()));
  rmSync(scratch, { recursive: true, force: true });
}
