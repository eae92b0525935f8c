/**
 * Puts the built page into the command's package (`packages/cli/dist/page`), from where `dimo serve` serves it: one package
 * to install, and a page and a server of the same version.
 */
import { cpSync, existsSync, rmSync } from 'node:fs';
import path from 'node:path';
import { root } from './set-up.mjs';

const from = path.join(root, 'apps', 'playground', 'dist');
const to = path.join(root, 'packages', 'cli', 'dist', 'page');
if (!existsSync(path.join(from, 'index.html'))) {
  console.error('The page is not built: run `npm run build` at the root of the repository.');
  process.exit(1);
}
rmSync(to, { recursive: true, force: true });
cpSync(from, to, { recursive: true });
