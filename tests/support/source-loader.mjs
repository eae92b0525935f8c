/**
 * Lets Node run this repository's TypeScript sources, so that tests can start real processes without a build:
 *
 *   node --conditions=@dimo/source --import ./tests/support/source-loader.mjs packages/cli/src/main.ts
 */
import { register } from 'node:module';

register('./source-hooks.mjs', import.meta.url);
