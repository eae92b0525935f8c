/**
 * Writes docs/configuration.md from the schema of the configuration file. Run it after a change of the schema; a test
 * fails where the two differ. Needs a build: `npm run build`.
 */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { format, resolveConfig } from 'prettier';
import { configurationMarkdown } from '../packages/cli/dist/index.js';

const path = fileURLToPath(new URL('../docs/configuration.md', import.meta.url));
writeFileSync(path, await format(configurationMarkdown(), { ...(await resolveConfig(path)), filepath: path }));
console.log('written: docs/configuration.md');
