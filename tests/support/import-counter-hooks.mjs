/** Module hook of import-counter.mjs. */
import { realpathSync, writeSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const repository = new URL('../../', import.meta.url);
/** Where its dependencies lie: elsewhere if they are links, as in the copy into which mistakes are planted. */
const dependencies = new URL('../', pathToFileURL(realpathSync(new URL('node_modules/vitest', repository))));
const own = [repository.href, dependencies.href];

export async function load(url, context, next) {
  if (!own.some((folder) => url.startsWith(folder)) && !url.startsWith('node:')) writeSync(2, `IMPORTED ${url}\n`);
  return next(url, context);
}
