/**
 * Copies the models that the page offers into `public/models`, each with the `manifest.json` by which the page fetches and
 * checks them, and lists them in `public/models/models.json`. A model that is not there is left out.
 */
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const target = fileURLToPath(new URL('./public/models', import.meta.url));

const offered = [
  {
    id: 'mnist',
    title: 'MNIST digits, 28 × 28',
    folder: 'packages/teacher-maskgit/presets/mnist',
    examples: [],
  },
  {
    id: 'emoji',
    title: 'Emoji from words',
    folder: 'examples/emoji/presets/emoji',
    examples: ['grinning face', 'red heart', 'blue heart', 'cat face', 'green frog', 'red apple', 'sunflower'],
  },
];

rmSync(target, { recursive: true, force: true });
mkdirSync(target, { recursive: true });
const models = [];
for (const { id, title, folder, examples } of offered) {
  const from = path.join(root, folder);
  if (!existsSync(path.join(from, 'config.json')) && !existsSync(path.join(from, 'teacher.json'))) continue;
  const to = path.join(target, id);
  const isData = (file) => /\.(?:json|safetensors|txt)$/.test(file);
  const names = readdirSync(from, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && isData(entry.name) && entry.name !== 'manifest.json')
    .map((entry) => path.relative(from, path.join(entry.parentPath, entry.name)).split(path.sep).join('/'))
    .sort();
  const files = {};
  for (const name of names) {
    cpSync(path.join(from, name), path.join(to, name));
    const bytes = readFileSync(path.join(from, name));
    files[name] = { bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') };
  }
  writeFileSync(path.join(to, 'manifest.json'), `${JSON.stringify({ version: 1, files })}\n`);
  models.push({ id, title, examples });
}
writeFileSync(path.join(target, 'models.json'), `${JSON.stringify(models)}\n`);
