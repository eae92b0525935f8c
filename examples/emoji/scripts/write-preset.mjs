/**
 * Writes the committed preset from finished runs, with 16-bit weights:
 *
 *   node scripts/write-preset.mjs teacher RUN      (a run of `dimo train teacher`)
 *   node scripts/write-preset.mjs generator RUN    (a run of `dimo distill`)
 *
 * After `npm run build` in the repository. How the runs were made is in README.md.
 */
import { folderWeightSource } from '@dimo/backend-node';
import { generatorFiles, readGenerator, readSafetensors, teacherDescriptionName, writeSafetensors } from '@dimo/core';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { wordsTeacher } from '@dimo/teacher-words';

const [kind, run] = process.argv.slice(2);
if (!run || (kind !== 'teacher' && kind !== 'generator')) {
  console.error('usage: node scripts/write-preset.mjs teacher|generator RUN');
  process.exit(2);
}
const preset = new URL('../../../packages/presets/presets/emoji/', import.meta.url);
// How to sample was measured after the training; see docs/emoji.md.
const settings = JSON.parse(await readFile(new URL('../settings.json', import.meta.url), 'utf8'));

async function teacherPreset() {
  const folder = join(run, 'teacher');
  const source = folderWeightSource(folder);
  const teacher = await wordsTeacher.load({ sampler: settings.sampler }, source);
  const { name, config } = teacher;
  const { teacher: _, ...description } = JSON.parse(await readFile(join(folder, teacherDescriptionName), 'utf8'));
  const files = {
    ...wordsTeacher.files(teacher),
    [teacherDescriptionName]: Buffer.from(`${JSON.stringify({ ...description, teacher: { name, config } })}\n`),
  };
  return Object.fromEntries(
    Object.entries(files).map(([name, bytes]) => [
      name,
      name.endsWith('.safetensors') ? writeSafetensors(readSafetensors(bytes).tensors, { float: 'F16' }) : bytes,
    ]),
  );
}

async function generatorPreset() {
  const teachers = new Map([[wordsTeacher.name, wordsTeacher]]);
  const generator = await readGenerator(folderWeightSource(join(run, 'generator')), teachers);
  const conditionFiles = generator.definition.conditionFiles();
  const { training } = generator.description;
  const description = {
    ...generator.description,
    temperature: settings.temperature,
    training: { ...training, teacher: 'emoji' },
  };
  return generatorFiles({ ...generator, description, conditionFiles }, { float: 'F16' });
}

const folder = kind === 'teacher' ? preset : new URL('generator/', preset);
const files = kind === 'teacher' ? await teacherPreset() : await generatorPreset();
await mkdir(folder, { recursive: true });
for (const [name, bytes] of Object.entries(files)) {
  await writeFile(new URL(name, folder), bytes);
  console.log(`${name}: ${bytes.length} bytes`);
}
