/** The WebAssembly that is committed is that of the source beside it. */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { randomModule } from '../../scripts/write-random-module.mjs';

it('the module of random numbers is what its AssemblyScript compiles to', async () => {
  const committed = readFileSync(new URL('../../packages/core/src/random/random-module.ts', import.meta.url), 'utf8');
  expect(await randomModule(), 'run `node scripts/write-random-module.mjs`').toBe(committed);
}, 60_000);
