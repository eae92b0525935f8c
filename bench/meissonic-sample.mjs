/**
 * `dimo sample "a red ball"` with models of Meissonic's public size and random 16-bit weights: text encoder, 1 B
 * parameter transformer, VQ-VAE, 1024 pixels. Prints peak resident memory and time of the whole command, for a one-step
 * generator, or for the teacher with `steps`.
 *
 *   node bench/meissonic-sample.mjs [float=F16|BF16|F32] [steps=0] [guidance=9] [threads=2] [folder=] [size=public|tiny]
 *
 * `folder` keeps the weights there (3 GB; 6 GB for F32) and uses those that it finds. `size=tiny` only shows that all of it
 * runs.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { writeRelease } from './lib/meissonic-release.mjs';
import { loadLine, options } from './lib/statistics.mjs';

const given = options({ float: 'F16', steps: 0, guidance: 9, threads: 2, folder: '', size: 'public' });
const parameters = 1_006_946_304 + 146_244_675 + 354_032_640;
const gigabytes = (bytes) => `${(bytes / 1e9).toFixed(2)} GB`;
const scratch = mkdtempSync(path.join(tmpdir(), 'dimo-sample-'));
const folder = given.folder === '' ? path.join(scratch, 'release') : path.resolve(given.folder);

function sample(args) {
  const child = fileURLToPath(new URL('lib/sample-child.mjs', import.meta.url));
  return new Promise((resolve, reject) => {
    const process_ = spawn(process.execPath, [...process.execArgv, child, ...args], { stdio: ['ignore', 'pipe', 2] });
    let output = '';
    process_.stdout.on('data', (chunk) => (output += chunk));
    process_.on('error', reject);
    process_.on('exit', () => resolve(JSON.parse(output.trim().split('\n').at(-1))));
  });
}

try {
  if (!existsSync(path.join(folder, 'model_index.json'))) {
    const written = writeRelease(folder, {
      float: given.float,
      grid: given.size === 'tiny' ? 4 : 64,
      size: given.size,
    });
    console.log(`${written.parameters} random parameters as ${given.float}`);
  }
  // What `dimo import` writes for a released one-step generator.
  const generator = path.join(scratch, 'generator');
  mkdirSync(generator);
  const model = { name: 'meissonic', config: { layout: 'released-generator' } };
  const places = { source: folder, teacher: model, teacherSource: folder };
  writeFileSync(
    path.join(generator, 'dimo.json'),
    JSON.stringify({ format: 'dimo-import', version: 1, kind: 'generator', ...places }),
  );
  const which =
    given.steps === 0
      ? ['--model', generator]
      : ['--teacher', folder, '--steps', String(given.steps), '--guidance', String(given.guidance)];
  const common = ['--engine', 'onnx', '--threads', String(given.threads), '--seed', '1', '--json'];
  console.log(loadLine());
  const { code, seconds, cpuSeconds, peakRss } = await sample([
    'sample',
    'a red ball on a blue cube',
    ...which,
    ...common,
    '--out',
    path.join(scratch, 'a.png'),
  ]);
  if (code !== 0) throw new Error(`dimo sample ended with ${code}`);
  console.log(
    `${seconds.toFixed(0)} s (CPU ${cpuSeconds.toFixed(0)} s), peak ${gigabytes(peakRss)} = ${(peakRss / (4 * parameters)).toFixed(2)}x of the float32 weights, ${gigabytes(4 * parameters)}; target <= 1.3x`,
  );
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
