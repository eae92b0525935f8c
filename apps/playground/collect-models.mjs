/**
 * Copies the models that the page offers into `public/models`, each with the `manifest.json` by which the page fetches and
 * checks them, and lists them in `public/models/models.json`.
 */
import { cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { presetFolder, presets } from '@dimo/presets';

const target = fileURLToPath(new URL('./public/models', import.meta.url));

rmSync(target, { recursive: true, force: true });
mkdirSync(target, { recursive: true });
const models = [];
for (const preset of Object.values(presets)) {
  const { name: id, title, examples, files } = preset;
  const from = fileURLToPath(presetFolder(preset));
  for (const name of Object.keys(files)) cpSync(path.join(from, name), path.join(target, id, name));
  const entries = Object.entries(files).map(([name, { bytes, sha256 }]) => [name, { bytes, sha256 }]);
  writeFileSync(
    path.join(target, id, 'manifest.json'),
    `${JSON.stringify({ version: 1, files: Object.fromEntries(entries) })}\n`,
  );
  models.push({ id, title, examples });
}
writeFileSync(path.join(target, 'models.json'), `${JSON.stringify(models)}\n`);
