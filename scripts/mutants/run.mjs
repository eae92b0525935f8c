/**
 * Plants each mistake of list.json in a copy of the tree, one at a time, and runs the test that must turn red.
 *
 *     node scripts/mutants/run.mjs [--row A3 | --row A] [--keep]
 *
 * Prints a table and exits with 1 if a mistake survives, or if a test is red without any.
 */
import { spawnSync } from 'node:child_process';
import {
  cpSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

/**
 * `find` occurs exactly once in `file`. `test`: a folder with a vitest configuration, a file in it, a pattern of test names.
 *
 * @type {{ row: string, mistake: string, file: string, find: string, replace: string, test: string[] }[]}
 */
const mutants = JSON.parse(readFileSync(new URL('list.json', import.meta.url), 'utf8'));
const root = fileURLToPath(new URL('../..', import.meta.url));
const { values } = parseArgs({ options: { row: { type: 'string' }, keep: { type: 'boolean' } } });
const chosen = mutants.filter(({ row }) => values.row === undefined || row === values.row || row[0] === values.row);
if (chosen.length === 0) {
  console.error(`no mutant for row ${values.row}; rows are ${[...new Set(mutants.map(({ row }) => row))].join(', ')}`);
  process.exit(2);
}

/** Links every entry of a folder of packages; links between the workspace's own packages stay inside the copy. */
function linkModules(from, to) {
  mkdirSync(to, { recursive: true });
  for (const name of readdirSync(from)) {
    const [source, target] = [join(from, name), join(to, name)];
    const isOwn = lstatSync(source).isSymbolicLink();
    if (isOwn) cpSync(source, target, { verbatimSymlinks: true });
    else if (name.startsWith('@')) linkModules(source, target);
    else symlinkSync(source, target);
  }
}

/** A copy of the tree as it stands, without what git ignores. */
function copyTree() {
  const copy = mkdtempSync(join(tmpdir(), 'dimo-mutants-'));
  const { stdout } = spawnSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], { cwd: root });
  for (const name of stdout.toString().split('\0').filter(Boolean)) {
    if (!lstatSync(join(root, name), { throwIfNoEntry: false })) continue;
    mkdirSync(dirname(join(copy, name)), { recursive: true });
    cpSync(join(root, name), join(copy, name), { verbatimSymlinks: true });
  }
  linkModules(join(root, 'node_modules'), join(copy, 'node_modules'));
  for (const name of readdirSync(join(root, 'packages'))) {
    const modules = join('packages', name, 'node_modules');
    if (lstatSync(join(root, modules), { throwIfNoEntry: false }))
      linkModules(join(root, modules), join(copy, modules));
  }
  return copy;
}

/** True if the test passes in the copy. */
function passes(copy, [folder, file, pattern]) {
  const vitest = join(root, 'node_modules/vitest/vitest.mjs');
  const args = [vitest, 'run', '--root', join(copy, folder), file, ...(pattern ? ['-t', pattern] : [])];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, {
    cwd: copy,
    encoding: 'utf8',
    timeout: 600_000,
  });
  if (!/Tests .*(passed|failed)/.test(stdout)) throw new Error(`${args.join(' ')} ran no test:\n${stdout}${stderr}`);
  return status === 0;
}

const copy = copyTree();
process.on('exit', () => values.keep || rmSync(copy, { recursive: true, force: true }));
const green = new Map();
let problems = 0;
console.log('| row | mistake | file | test |\n| --- | --- | --- | --- |');
for (const { row, mistake, file, find, replace, test } of chosen) {
  const key = JSON.stringify(test);
  if (!green.has(key)) green.set(key, passes(copy, test));
  const path = resolve(copy, file);
  const source = readFileSync(path, 'utf8');
  if (source.split(find).length !== 2) throw new Error(`${file}: ${JSON.stringify(find)} must occur exactly once`);
  writeFileSync(
    path,
    source.replace(find, () => replace),
  );
  const isCaught = !passes(copy, test);
  writeFileSync(path, source);
  const verdict = !green.get(key) ? 'red without the mistake' : isCaught ? 'red' : 'GREEN: the mistake survives';
  if (verdict !== 'red') problems++;
  console.log(`| ${row} | ${mistake} | ${relative(copy, path)} | ${verdict} |`);
}
console.log(`\n${chosen.length} mistakes, ${problems === 0 ? 'all seen' : `${problems} not seen`}`);
process.exitCode = problems === 0 ? 0 : 1;
