/** Finds installed packages that carry data files. */
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';

/**
 * Folder of an installed package: as this package would import it or, for optional packages, as the project in the
 * working directory would.
 *
 * @returns undefined if the package is not installed.
 */
export function packageFolder(name: string): string | undefined {
  for (const base of [import.meta.url, pathToFileURL(join(process.cwd(), 'package.json')).href])
    try {
      return dirname(createRequire(base).resolve(`${name}/package.json`));
    } catch {
      // Not there; the next base may have it.
    }
  return undefined;
}
