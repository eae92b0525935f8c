/**
 * Writes the bundled MNIST preset of @dimo/presets from finished runs, with 16-bit weights.
 *
 *   node scripts/write-mnist-preset.mjs teacher RUN      (a run of `dimo train teacher`)
 *   node scripts/write-mnist-preset.mjs generator RUN    (a run of `dimo demo` or `dimo distill`)
 *
 * After `npm run build`. How the runs were made is in presets/mnist/README.md.
 * Then `node scripts/write-preset-index.mjs`.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { folderWeightSource } from '@dimo/backend-node';
import { generatorFiles, readGenerator } from '@dimo/core';
import { maskgitPlugin, teacherFiles } from '@dimo/teacher-maskgit';

/** 16 steps: the best FID among the settings of docs/mnist.md that keep the class right in 98 % of the samples. */
const sampler = { numSteps: 16, guidanceScale: 2.2, choiceTemperature: 5.5 };

const [kind, run] = process.argv.slice(2);
if (!run || (kind !== 'teacher' && kind !== 'generator')) {
  console.error('usage: node scripts/write-mnist-preset.mjs teacher|generator RUN');
  process.exit(2);
}
const teachers = new Map(maskgitPlugin.teachers.map((plugin) => [plugin.name, plugin]));
const preset = new URL('../packages/presets/presets/mnist/', import.meta.url);
const float = 'F16';

async function teacherPreset() {
  const source = folderWeightSource(path.join(run, 'teacher'));
  const config = JSON.parse(new TextDecoder().decode(await source.read('config.json')));
  const teacher = await teachers.get('maskgit').load(config, source);
  return teacherFiles({ ...teacher, config: { ...teacher.config, sampler } }, { float });
}

async function generatorPreset() {
  const generator = await readGenerator(folderWeightSource(path.join(run, 'generator')), teachers);
  return generatorFiles(generator, { float });
}

const folder = kind === 'teacher' ? preset : new URL('generator/', preset);
const files = kind === 'teacher' ? await teacherPreset() : await generatorPreset();
mkdirSync(folder, { recursive: true });
for (const [name, bytes] of Object.entries(files)) {
  writeFileSync(new URL(name, folder), bytes);
  console.log(`${name}: ${bytes.length} bytes`);
}
