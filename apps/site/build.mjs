/**
 * `npm run docs`: writes the site to `apps/site/dist`, for any folder of any server. After `npm run build`.
 *
 *   node apps/site/build.mjs [--out FOLDER] [--no-exports]
 *
 * `--no-exports` leaves out the pages of TypeDoc, which take longest.
 */
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { build } from 'vitepress';
import { generate } from './generate/generate.mjs';

const { values } = parseArgs({
  options: { out: { type: 'string' }, exports: { type: 'boolean', default: true } },
  allowNegative: true,
});
const site = fileURLToPath(new URL('.', import.meta.url));
await generate({ exports: values.exports });
await build(site, { outDir: path.resolve(values.out ?? path.join(site, 'dist')) });
