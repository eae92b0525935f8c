/**
 * Cold start of the command line: `dimo --help`, and `dimo sample` of the bundled mnist generator to a PNG grid of 64.
 *
 *   node bench/cli-start.mjs [runs=7]
 *
 * Each run is a fresh process; the files are in the system's cache after the first one, which is not counted.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { loadLine, median, options } from './lib/statistics.mjs';

const given = options({ runs: 7 });
const main = fileURLToPath(new URL('../packages/cli/dist/main.js', import.meta.url));
const folder = mkdtempSync(path.join(tmpdir(), 'dimo-bench-'));

function measure(label, args, target) {
  const seconds = [];
  for (let run = -1; run < given.runs; run++) {
    const start = performance.now();
    const { status, stderr } = spawnSync(process.execPath, [main, ...args], { encoding: 'utf8', cwd: folder });
    if (status !== 0) {
      console.log(`${label}: failed with ${status}: ${stderr.trim().split('\n').at(-1)}`);
      return;
    }
    if (run >= 0) seconds.push((performance.now() - start) / 1000);
  }
  const [middle, least] = [median(seconds), Math.min(...seconds)];
  console.log(`${label}: median ${middle.toFixed(3)} s, least ${least.toFixed(3)} s (target ${target} s)`);
}

console.log(`${loadLine()}; Node ${process.version}, ${given.runs} runs each`);
measure('dimo --help', ['--help'], 0.3);
const grid = path.join(folder, 'grid.png');
measure('dimo sample, 64 images to a PNG', ['sample', '--model', 'mnist', '--count', '64', '--out', grid], 3);
rmSync(folder, { recursive: true, force: true });
