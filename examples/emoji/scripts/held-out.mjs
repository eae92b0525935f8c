/**
 * How often pictures of the compositions that were never trained match their own prompt better than 99 names: real ones,
 * those of the teacher in 16 steps, and those of the generator in one:
 *
 *   node scripts/held-out.mjs TEACHER GENERATOR
 */
import { createOnnxEngine, folderWeightSource } from '@dimo/backend-node';
import {
  compileDecoder,
  compileMultiStep,
  compileOneStep,
  float32,
  readGenerator,
  sampleMultiStep,
  sampleOneStep,
} from '@dimo/core';
import { presetFolder, presets } from '@dimo/presets';
import { wordsTeacher } from '@dimo/teacher-words';
import { fileURLToPath } from 'node:url';
import { emojiDataset, heldOutCompositions, loadMatcher, retrievalAccuracy } from '../dist/index.js';

const preset = fileURLToPath(presetFolder(presets.emoji));
const [teacherFolder = preset, generatorFolder = `${preset}generator`] = process.argv.slice(2);
const samplesPerPrompt = 16;
const engine = await createOnnxEngine();
const matcher = await loadMatcher();
const { test } = await emojiDataset.load();
const teacher = await wordsTeacher.load({}, folderWeightSource(teacherFolder));
const generator = await readGenerator(
  folderWeightSource(generatorFolder),
  new Map([[wordsTeacher.name, wordsTeacher]]),
);

const prompts = heldOutCompositions.flatMap((text) => Array.from({ length: samplesPerPrompt }, () => text));
const batchSize = 56;
const condition = await teacher.conditions.parse(prompts);
const decoder = await compileDecoder(engine, teacher.decoder, batchSize);
const decoderWeights = await engine.upload(teacher.decoderWeights);
const multiStep = await compileMultiStep(engine, teacher, { batchSize, sampler: { numSteps: 16 } });
const { tokenInit, temperature = 1 } = generator.description;
const oneStep = await compileOneStep(engine, generator.definition.model, {
  batchSize,
  tokenInit,
  sampling: { temperature },
});

const tokens = {
  'teacher, 16 steps': await sampleMultiStep(multiStep, teacher.model, {
    weights: await engine.upload(teacher.weights),
    condition,
    seed: 0,
  }),
  'generator, 1 step': await sampleOneStep(oneStep, {
    weights: await engine.upload(generator.weights),
    condition,
    seed: 0,
  }),
};
const real = heldOutCompositions.map((text) => test.texts.findIndex((texts) => texts.includes(text)));
const realImages = float32(
  [real.length, 32, 32, 3],
  Float32Array.from(
    real.flatMap((row) => [...test.pixels.subarray(row * 3072, (row + 1) * 3072)]),
    (value) => value / 255,
  ),
);
console.log('real pictures:', await retrievalAccuracy(engine, matcher, realImages, [...heldOutCompositions]));
for (const [name, drawn] of Object.entries(tokens)) {
  const images = await decoder.decode(decoderWeights, drawn);
  console.log(`${name}:`, (await retrievalAccuracy(engine, matcher, images, prompts)).toFixed(3));
  const size = images.data.length / prompts.length;
  for (const [index, text] of heldOutCompositions.entries()) {
    const [first, last] = [index * samplesPerPrompt, (index + 1) * samplesPerPrompt];
    const some = float32([samplesPerPrompt, 32, 32, 3], images.data.slice(first * size, last * size));
    console.log(`  ${text}:`, (await retrievalAccuracy(engine, matcher, some, prompts.slice(first, last))).toFixed(2));
  }
}
await engine.dispose();
