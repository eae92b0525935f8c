/**
 * Shared vitest settings. Workspace packages resolve to their sources (condition `@dimo/source`). The gradient
 * registrations of tfjs-core cannot be imported by Node from its `dist` folder (imports without extensions), so they
 * are bundled once here, as tsup does for the published core.
 */
import { buildSync } from 'esbuild';
import { fileURLToPath } from 'node:url';
import type { ViteUserConfig } from 'vitest/config';

const gradients = '@tensorflow/tfjs-core/dist/register_all_gradients.js';
const bundledGradients = fileURLToPath(
  new URL('./node_modules/.cache/dimo/register-all-gradients.mjs', import.meta.url),
);
// Without `import`: node would take it for what CommonJS packages require, too.
const conditions = ['@dimo/source', 'module', 'node'];

export function vitestConfig(test: NonNullable<ViteUserConfig['test']> = {}): ViteUserConfig {
  buildSync({
    entryPoints: [gradients],
    bundle: true,
    format: 'esm',
    outfile: bundledGradients,
    absWorkingDir: fileURLToPath(new URL('.', import.meta.url)),
    logLevel: 'error',
  });
  return {
    resolve: { conditions, alias: [{ find: gradients, replacement: bundledGradients }] },
    ssr: { resolve: { conditions, externalConditions: ['node'] } },
    test: { passWithNoTests: true, testTimeout: 60_000, hookTimeout: 120_000, ...test },
  };
}
