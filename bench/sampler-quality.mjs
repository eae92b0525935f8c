/**
 * What each sampler makes of a teacher at a budget of forward passes: `dimo eval` of the bundled teachers, one row for each
 * sampler and budget, with the images per second of the same run. For the rates, run it on a machine that does nothing else.
 *
 *   node bench/sampler-quality.mjs [teacher=mnist] [count=1000] [passes=64,32,16,8,4] [samplers=halton,remdm] [config=FILE]
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { loadLine, options } from './lib/statistics.mjs';

const given = options({ teacher: 'mnist', count: 1000, passes: '64,32,16,8,4', samplers: '', config: '' });
const passes = String(given.passes).split(',').map(Number);
const main = fileURLToPath(new URL('../packages/cli/dist/main.js', import.meta.url));
const folder = mkdtempSync(path.join(tmpdir(), 'dimo-bench-'));

/** Steps that make a budget of passes; settings of the samplers that take as many passes as they need. */
const samplers = [
  { name: undefined, steps: (budget) => budget },
  { name: 'halton', steps: (budget) => budget },
  { name: 'ancestral', steps: (budget) => budget },
  { name: 'tau-leaping', steps: (budget) => budget - 1 },
  { name: 'theta-trapezoidal', steps: (budget) => Math.floor((budget - 1) / 2) },
  { name: 'remdm', steps: (budget) => budget },
  { name: 'entropy-bound', settings: [1, 3, 8, 20].map((gamma) => ({ gamma })) },
  { name: 'confidence-threshold', settings: [0.9, 0.7, 0.5, 0.3].map((threshold) => ({ threshold })) },
];

function evaluate(sampler, settings, steps) {
  const args = ['eval', '--teacher', given.teacher, '--count', String(given.count), '--seeds', '[0]', '--json', '-q'];
  if (given.config !== '') args.push('--config', path.resolve(given.config));
  if (sampler !== undefined) args.push('--sampler', sampler);
  if (steps !== undefined) args.push('--teacher-steps', JSON.stringify(steps));
  for (const [key, value] of Object.entries(settings)) args.push('--set', `sampler.${key}=${value}`);
  const cwd = given.config === '' ? folder : path.dirname(path.resolve(given.config));
  const command = [main, ...args, '--out', path.join(folder, 'eval.json')];
  const { status, stdout, stderr } = spawnSync(process.execPath, command, { encoding: 'utf8', cwd });
  if (status !== 0) throw new Error(`dimo ${args.join(' ')} failed: ${stderr.trim().split('\n').at(-1)}`);
  const { rows, pluginRows } = JSON.parse(stdout);
  return rows.map((row, i) => ({ ...row, ...pluginRows[i]?.metrics }));
}

const columns = ['fid', 'precision', 'recall', 'density', 'coverage', 'classConsistency'];
const number = (value, digits) => (typeof value === 'number' ? value.toFixed(digits) : '–');
console.log(`${loadLine()}; teacher ${given.teacher}, ${given.count} samples a row`);
let others;
for (const { name, steps, settings = [{}] } of samplers) {
  if (
    given.samplers !== '' &&
    !String(given.samplers)
      .split(',')
      .includes(name ?? 'own')
  )
    continue;
  for (const chosen of settings) {
    for (const row of evaluate(name, chosen, steps && passes.map(steps))) {
      if (others === undefined) {
        const known = [
          'method',
          'steps',
          'count',
          'inceptionScore',
          'intraClassVariance',
          'imagesPerSecond',
          ...columns,
        ];
        others = Object.keys(row).filter((key) => !known.includes(key) && typeof row[key] === 'number');
        const titles = ['sampler', 'passes', 'images/s', ...columns, ...others];
        console.log(`| ${titles.join(' | ')} |\n|${' --- |'.repeat(titles.length)}`);
      }
      const label = [name ?? 'its own', ...Object.entries(chosen).map(([key, value]) => `${key} ${value}`)].join(', ');
      const cells = [label, number(row.steps, 1), number(row.imagesPerSecond, 1), number(row.fid, 2)];
      for (const key of [...columns.slice(1), ...others]) cells.push(number(row[key], 3));
      console.log(`| ${cells.join(' | ')} |`);
    }
  }
}
rmSync(folder, { recursive: true, force: true });
