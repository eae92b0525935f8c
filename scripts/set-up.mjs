/**
 * What every top-level command does first on a fresh clone: install the locked dependencies and build the packages.
 * Node built-ins only, since nothing is installed yet.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** The repository. */
export const root = fileURLToPath(new URL('..', import.meta.url));

/** Environment of every child: nothing is downloaded beyond the npm registry, and nx runs without its daemon. */
export const childEnvironment = {
  ...process.env,
  ONNXRUNTIME_NODE_INSTALL: 'skip',
  NX_DAEMON: 'false',
  NX_NO_CLOUD: 'true',
};

/**
 * Runs a program in the repository and waits.
 *
 * @returns {boolean} whether it exited with 0.
 */
export function run(command, args, options = {}) {
  const { status, error } = spawnSync(command, args, {
    cwd: root,
    stdio: 'inherit',
    env: childEnvironment,
    shell: process.platform === 'win32',
    ...options,
  });
  if (error) console.error(`${command}: ${error.message}`);
  return status === 0;
}

/** Runs a binary of node_modules. */
export function runBinary(name, args, options) {
  return run(path.join(root, 'node_modules', '.bin', name), args, options);
}

/** Installs the locked dependencies if they are absent or the lock file has changed since. Exits on failure. */
export function install() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < 20 || (major === 20 && minor < 19)) {
    console.error(`dimo needs Node 20.19 or newer; this is ${process.version}.`);
    process.exit(1);
  }
  const lock = createHash('sha256')
    .update(readFileSync(path.join(root, 'package-lock.json')))
    .digest('hex');
  const stamp = path.join(root, 'node_modules', '.cache', 'dimo', 'installed-lock.txt');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === lock) return;
  console.log('Installing dependencies (about a minute) ...');
  if (!run('npm', ['ci', '--no-audit', '--no-fund'])) {
    console.error('npm ci failed; its messages above say why.');
    process.exit(1);
  }
  mkdirSync(path.dirname(stamp), { recursive: true });
  writeFileSync(stamp, lock);
}

/** Builds all packages (cached). Exits on failure. */
export function build() {
  if (!runBinary('nx', ['run-many', '-t', 'build', '--outputStyle=static'])) {
    console.error('The build failed; the messages above say why.');
    process.exit(1);
  }
}
