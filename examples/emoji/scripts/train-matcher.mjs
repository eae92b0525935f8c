/**
 * Trains the image-text matcher that `name-retrieval` measures by, and says how good it is on real pictures:
 *
 *   node scripts/train-matcher.mjs WORDS OUT [STEPS]
 */
import { createOnnxEngine } from '@dimo/backend-node';
import { float32, readSafetensors, runTraining, subtree, writeSafetensors } from '@dimo/core';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { vocabularyOf } from '@dimo/teacher-words';
import { emojiDataset, matcherTrainingProgram, retrievalAccuracy } from '../dist/index.js';

const [words = 'words', out = 'presets/matcher', steps = '1500'] = process.argv.slice(2);
const vocabulary = vocabularyOf(JSON.parse(await readFile(join(words, 'words.json'), 'utf8')));
const { tensors } = readSafetensors(await readFile(join(words, 'word-vectors.safetensors')));
const { train, test } = await emojiDataset.load();
const engine = await createOnnxEngine();
const started = performance.now();
const program = matcherTrainingProgram(train, vocabulary, {
  numSteps: Number(steps),
  wordVectors: tensors['vectors'].data,
});
const { state } = await runTraining(program, {
  engine,
  onStep: ({ step, metrics }) => {
    if (step % 50 === 0)
      console.log(
        step,
        metrics.loss.toFixed(3),
        metrics.accuracy.toFixed(3),
        Math.round((performance.now() - started) / 1000),
        's',
      );
  },
});
const weights = subtree('matcher', state);
const names = [...new Set(train.texts.map((texts) => texts[0]))];
await mkdir(out, { recursive: true });
await writeFile(join(out, 'matcher.safetensors'), writeSafetensors(weights, { float: 'F16' }));
await writeFile(join(out, 'words.json'), `${JSON.stringify(vocabulary.words)}\n`);
await writeFile(join(out, 'names.json'), `${JSON.stringify(names)}\n`);

for (const [name, split] of [
  ['training', train],
  ['test', test],
]) {
  const count = Math.min(1000, split.count);
  const images = float32(
    [count, 32, 32, 3],
    Float32Array.from(split.pixels.subarray(0, count * 3072), (v) => v / 255),
  );
  const prompts = split.texts.slice(0, count).map((texts) => texts[0]);
  console.log(
    `${name} pictures: right name among 100 for`,
    await retrievalAccuracy(engine, { vocabulary, names, weights }, images, prompts),
  );
}
await engine.dispose();
