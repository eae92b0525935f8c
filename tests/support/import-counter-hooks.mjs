/** Module hook of import-counter.mjs. */
import { writeSync } from 'node:fs';

const repository = new URL('../../', import.meta.url).href;

export async function load(url, context, next) {
  if (!url.startsWith(repository) && !url.startsWith('node:')) writeSync(2, `IMPORTED ${url}\n`);
  return next(url, context);
}
