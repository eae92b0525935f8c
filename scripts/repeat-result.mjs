/**
 * Set-up and build where they are needed, then the commands that a table of results came from, each once: what has been made
 * is not made again, and a training that was stopped goes on. `runs/*.mjs` are such lists of commands.
 *
 *   node runs/NAME.mjs [--tiny] [--print] [--runs FOLDER]
 *
 * `--tiny`: a few steps of each command, to see that all is there; its numbers say nothing. `--print`: prints the commands
 * and runs nothing. `--runs`: where everything is kept, `runs/NAME` if it is not given.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { build, install, root } from './set-up.mjs';

const main = path.join(root, 'packages', 'cli', 'dist', 'main.js');

/**
 * @typedef {object} Step
 * @property {string[]} [dimo] - arguments of `dimo`, or
 * @property {string[]} [node] - those of `node`.
 * @property {string} makes - what is there afterwards.
 * @property {string} [run] - folder of the run that a training command makes.
 * @property {string[]} [tiny] - arguments that are added with `--tiny`.
 */

/**
 * Runs a list of commands, and exits with the code of the first that fails.
 *
 * @param {object} result
 * @param {string} result.name
 * @param {string} [result.folder] - where the commands run, from the root of the repository.
 * @param {Readonly<Record<string, string>>} [result.packages] - versions by name of packages that are not installed here.
 * @param {(inRuns: (...names: string[]) => string) => Step[]} result.steps - `inRuns` makes paths in the folder of runs.
 */
export function repeatResult({ name, folder = '.', packages = {}, steps }) {
  const { values } = parseArgs({
    options: { tiny: { type: 'boolean' }, print: { type: 'boolean' }, runs: { type: 'string' } },
  });
  const cwd = path.join(root, folder);
  const runs = path.resolve(root, values.runs ?? `runs/${name}${values.tiny ? '-tiny' : ''}`);
  const inRuns = (...names) => path.relative(cwd, path.join(runs, ...names)).replaceAll(path.sep, '/');
  if (!values.print) {
    install();
    build();
    requirePackages(packages, cwd);
  }
  for (const step of steps(inRuns)) {
    const args = argumentsOf(step, { isTiny: values.tiny, inRuns, cwd });
    console.log(`${step.dimo ? 'dimo' : 'node'} ${args.map(quoted).join(' ')}`);
    if (values.print) continue;
    if (existsSync(path.join(cwd, step.makes))) {
      console.log(`  is there: ${step.makes}`);
      continue;
    }
    const { status } = spawnSync(process.execPath, step.dimo ? [main, ...args] : args, { cwd, stdio: 'inherit' });
    if (status !== 0) process.exit(status ?? 1);
  }
}

/** The arguments of a step; of a training that was stopped, those that continue it. */
function argumentsOf({ dimo, node, run, tiny = [] }, { isTiny, inRuns, cwd }) {
  const args = [...(dimo ?? node), ...(isTiny ? tiny : [])];
  if (run === undefined) return args;
  const command = args.slice(0, args[0] === 'train' ? 2 : 1);
  if (existsSync(path.join(cwd, inRuns(run)))) return [...command, '--resume', inRuns(run)];
  return [...args, '--runs', inRuns(), '--name', run];
}

function requirePackages(packages, cwd) {
  const { resolve } = createRequire(path.join(cwd, 'package.json'));
  const missing = Object.entries(packages).filter(([name]) => {
    try {
      resolve(`${name}/package.json`);
      return false;
    } catch (error) {
      return error.code === 'MODULE_NOT_FOUND';
    }
  });
  if (missing.length === 0) return;
  console.error(`to install first: npm install --no-save ${missing.map((each) => each.join('@')).join(' ')}`);
  process.exit(2);
}

const quoted = (word) => (/^[\w@+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);
