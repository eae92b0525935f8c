/**
 * Writes packages/presets/src/files.ts: every file of the presets with its address, length and SHA-256. Run it after a
 * preset was written anew; a test of the package says when it is due.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import * as prettier from 'prettier';

const root = new URL('../packages/presets/', import.meta.url);

const folder = fileURLToPath(new URL('presets/', root));
const presets = readdirSync(folder).sort();
const isData = (name) => /\.(?:json|safetensors)$/.test(name);
const body = presets.map((preset) => {
  const names = readdirSync(path.join(folder, preset), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && isData(entry.name))
    .map((entry) => path.relative(path.join(folder, preset), path.join(entry.parentPath, entry.name)))
    .map((name) => name.split(path.sep).join('/'))
    .sort();
  const files = names.map((name) => {
    const bytes = readFileSync(path.join(folder, preset, name));
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    return `'${name}': {
        url: new URL('../presets/${preset}/${name}', import.meta.url).href,
        bytes: ${bytes.length},
        sha256: '${sha256}',
      },`;
  });
  return `${preset}: { ${files.join('\n')} },`;
});
const source = `/**
 * The files of the presets; written by scripts/write-preset-index.mjs. Each address is spelt out, because bundlers that
 * carry files along recognize them by this form.
 */
import type { PresetFile } from './preset-file.js';

/** By preset, then by name in its folder. */
export const presetFiles = { ${body.join('\n')} } satisfies Record<string, Record<string, PresetFile>>;
`;
const style = await prettier.resolveConfig(fileURLToPath(root));
writeFileSync(new URL('src/files.ts', root), await prettier.format(source, { ...style, parser: 'typescript' }));
