/** The WebAssembly that is committed is that of the source beside it. */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { loopsModule } from '../../scripts/write-loops-module.mjs';

it('the module of compiled loops is what its AssemblyScript compiles to', async () => {
  const committed = readFileSync(new URL('../../packages/core/src/compiled/loops-module.ts', import.meta.url), 'utf8');
  expect(await loopsModule(), 'run `node scripts/write-loops-module.mjs`').toBe(committed);
}, 60_000);
