/**
 * The one build recipe of all packages: ESM only, declarations, source maps. A package's `tsup.config.ts` names its
 * entries.
 */
import { defineConfig, type Options } from 'tsup';

export function packageConfig(options: Options = {}): ReturnType<typeof defineConfig> {
  return defineConfig({
    entry: ['src/index.ts'],
    format: ['esm'],
    target: 'es2022',
    dts: true,
    clean: true,
    sourcemap: true,
    treeshake: true,
    ...options,
  });
}
