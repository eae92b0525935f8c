/** Bundles TypeScript entries for the browser, from the sources of the workspace packages. */
import { build } from 'esbuild';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../', import.meta.url));

/** A folder with bundles and an empty page. */
export interface BundledFolder {
  readonly folder: string;
  remove(): Promise<void>;
}

/**
 * Bundles each entry to `NAME.js` (an ES module) with an `index.html` that loads nothing: tests import the bundles from
 * there with `page.evaluate`.
 *
 * @param entries - absolute paths by name.
 */
export async function bundleForBrowser(entries: Readonly<Record<string, string>>): Promise<BundledFolder> {
  const cache = path.join(root, 'node_modules', '.cache', 'dimo');
  await mkdir(cache, { recursive: true });
  const folder = await mkdtemp(path.join(cache, 'browser-'));
  await build({
    entryPoints: Object.entries(entries).map(([out, entry]) => ({ in: entry, out })),
    outdir: folder,
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    conditions: ['@dimo/source', 'module', 'browser', 'import'],
    sourcemap: 'linked',
    logLevel: 'error',
    absWorkingDir: root,
  });
  const page =
    '<!doctype html><html lang="en"><meta charset="utf-8" /><title>test</title><link rel="icon" href="data:," />';
  await writeFile(path.join(folder, 'index.html'), page);
  return { folder, remove: () => rm(folder, { recursive: true, force: true }) };
}
