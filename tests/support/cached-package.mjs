/**
 * Packages that only the tests need and nobody should install for them: other versions of Node, other package managers.
 * They are fetched from the npm registry once, into `node_modules/.cache`, and none of their install scripts runs.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const cache = fileURLToPath(new URL('../../node_modules/.cache/dimo/packages/', import.meta.url));

/**
 * Folder of a package, installed by itself.
 *
 * @param {string} name
 * @param {string} version or a range, such as `22`
 * @returns {{ folder: string } | { reason: string }} the folder, or why it cannot be had.
 */
export function cachedPackage(name, version) {
  const place = path.join(cache, `${name.replace('/', '+')}@${version}`);
  const folder = path.join(place, 'node_modules', name);
  if (existsSync(path.join(folder, 'package.json'))) return { folder };
  const options = ['--ignore-scripts', '--no-save', '--no-audit', '--no-fund', '--prefer-offline'];
  const { status, stderr, error } = spawnSync('npm', ['install', '--prefix', place, ...options, `${name}@${version}`], {
    encoding: 'utf8',
    shell: process.platform === 'win32',
    timeout: 300_000,
  });
  if (status === 0) return { folder };
  const said = error?.message ?? stderr.split('\n').find((line) => line.startsWith('npm error')) ?? `exit ${status}`;
  return { reason: `${name}@${version} cannot be fetched: ${said}` };
}
