/**
 * Compiles packages/core/assembly/loops.ts to WebAssembly and writes it into packages/core/src/compiled/loops-module.ts, which
 * is committed: neither a build nor an application needs the compiler.
 *
 *   node scripts/write-loops-module.mjs
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { main } from 'assemblyscript/asc';

const inCore = (name) => fileURLToPath(new URL(`../packages/core/${name}`, import.meta.url));

/** Text of the module that holds the compiled program. @throws Error if it does not compile */
export async function loopsModule() {
  const source = readFileSync(inCore('assembly/loops.ts'), 'utf8');
  let compiled;
  const flags = ['-O3', '--runtime', 'stub', '--enable', 'simd', '--initialMemory', '2', '--noAssert'];
  const { error, stderr } = await main(['loops.ts', '--outFile', 'loops.wasm', ...flags], {
    readFile: (name) => (name === 'loops.ts' ? source : null),
    writeFile: (_, content) => void (compiled = content),
    listFiles: () => [],
  });
  if (error) throw new Error(`${error.message}\n${stderr.toString()}`);
  return `/** WebAssembly of assembly/loops.ts, made by scripts/write-loops-module.mjs, in base64. */
export const loopsModule =
  '${Buffer.from(compiled).toString('base64')}';
`;
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  writeFileSync(inCore('src/compiled/loops-module.ts'), await loopsModule());
