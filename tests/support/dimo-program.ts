/** How the command line of this repository is started: its build where `npm test` has just made it, else its sources. */
import { fileURLToPath } from 'node:url';

const inRepository = (name: string): string => fileURLToPath(new URL(`../../${name}`, import.meta.url));
const isBuilt = process.env['DIMO_TEST_PROGRAM'] === 'build';

/** The arguments of Node before those of the program; starting from sources takes three times as long. */
export const dimoProgram: readonly string[] = isBuilt
  ? [inRepository('packages/cli/dist/main.js')]
  : [
      '--conditions=@dimo/source',
      '--import',
      new URL('./source-loader.mjs', import.meta.url).href,
      inRepository('packages/cli/src/main.ts'),
    ];
