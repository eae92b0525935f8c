/**
 * Compiles packages/core/assembly/random.ts to WebAssembly and writes it into packages/core/src/random/random-module.ts, which
 * is committed: neither a build nor an application needs the compiler.
 *
 *   node scripts/write-random-module.mjs
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { main } from 'assemblyscript/asc';

const inCore = (name) => fileURLToPath(new URL(`../packages/core/${name}`, import.meta.url));

/** Text of the module that holds the compiled program. @throws Error if it does not compile */
export async function randomModule() {
  const source = readFileSync(inCore('assembly/random.ts'), 'utf8');
  let compiled;
  const flags = ['-O3', '--runtime', 'stub', '--enable', 'simd', '--initialMemory', '2', '--noAssert'];
  const { error, stderr } = await main(['random.ts', '--outFile', 'random.wasm', ...flags], {
    readFile: (name) => (name === 'random.ts' ? source : null),
    writeFile: (_, content) => void (compiled = content),
    listFiles: () => [],
  });
  if (error) throw new Error(`${error.message}\n${stderr.toString()}`);
  return `/** WebAssembly of assembly/random.ts, made by scripts/write-random-module.mjs, in base64. */
export const randomModule =
  '${Buffer.from(compiled).toString('base64')}';
`;
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  writeFileSync(inCore('src/random/random-module.ts'), await randomModule());
