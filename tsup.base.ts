/**
 * The one build recipe of all packages: ESM only, declarations, source maps. A package's `tsup.config.ts` names its
 * entries. `DIMO_NO_DTS=1` skips the declarations (a faster build while developing).
 */
import { defineConfig, type Options } from 'tsup';

export function packageConfig(options: Options = {}): ReturnType<typeof defineConfig> {
  return defineConfig({
    entry: ['src/index.ts'],
    format: ['esm'],
    target: 'es2022',
    dts: process.env['DIMO_NO_DTS'] ? false : true,
    clean: true,
    sourcemap: true,
    treeshake: true,
    ...options,
  });
}
