/**
 * Trains the MNIST classifier whose features the evaluation uses, and writes it to packages/eval/presets.
 *
 *   node scripts/train-mnist-classifier.mjs [seed]     (after `npm run build`)
 */
import { writeFileSync } from 'node:fs';
import { createOnnxEngine } from '@dimo/backend-node';
import { writeSafetensors } from '@dimo/core';
import { mnistDataset } from '@dimo/datasets';
import { trainClassifier } from '@dimo/eval';

const seed = Number(process.argv[2] ?? 0);
const engine = await createOnnxEngine();
const dataset = await mnistDataset.load();
const start = performance.now();
const { weights, testAccuracy } = await trainClassifier({
  engine,
  dataset,
  seed,
  onProgress({ step, numSteps, metrics }) {
    if (step % 100 === 0) console.log(`step ${step} of ${numSteps}, loss ${metrics.loss.toFixed(3)}`);
  },
});
const seconds = Math.round((performance.now() - start) / 1000);
await engine.dispose();
const folder = new URL('../packages/eval/presets/', import.meta.url);
writeFileSync(new URL('mnist-classifier.safetensors', folder), writeSafetensors(weights, { float: 'F16' }));
const record = {
  command: `node scripts/train-mnist-classifier.mjs ${seed}`,
  seed,
  testAccuracy,
  seconds,
  storedAs: 'F16',
};
writeFileSync(new URL('mnist-classifier.json', folder), `${JSON.stringify(record, null, 2)}\n`);
console.log(`test accuracy ${testAccuracy}, ${seconds} s`);
