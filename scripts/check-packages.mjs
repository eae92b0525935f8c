/** Checks what would be published: `publint` and `attw` on every package. */
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { root, runBinary } from './set-up.mjs';

let failed = 0;
for (const name of readdirSync(path.join(root, 'packages'))) {
  const cwd = path.join(root, 'packages', name);
  console.log(`\n@dimo/${name}`);
  if (!runBinary('publint', ['--strict'], { cwd })) failed++;
  if (!runBinary('attw', ['--pack', '--profile', 'esm-only', '--format', 'ascii'], { cwd })) failed++;
}
process.exitCode = failed === 0 ? 0 : 1;
