/** The bundled classifier on the whole MNIST test split, and real images judged by it as real. */
import { createOnnxEngine } from '@dimo/backend-node';
import { readImages, readPixels, type Dataset, type Engine } from '@dimo/core';
import { labelsAt, mnistDataset, shuffledSubset } from '@dimo/datasets';
import {
  classifierAccuracy,
  createReference,
  evaluateSamples,
  mnistClassifierLocation,
  readClassifier,
} from '@dimo/eval';
import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

describe('the bundled MNIST classifier', () => {
  let engine: Engine;
  let dataset: Dataset;
  beforeAll(async () => {
    engine = await createOnnxEngine();
    dataset = await mnistDataset.load();
  });
  afterAll(() => engine.dispose());
  const load = async () => readClassifier(await readFile(new URL(mnistClassifierLocation)));

  it('is right on at least 99 % of the test images', async () => {
    expect(await classifierAccuracy({ engine, dataset, weights: (await load()).weights })).toBeGreaterThanOrEqual(0.99);
  });

  it('finds test images alike to training images, and noisy ones less so', async () => {
    const extractor = await load();
    // A part of the training split keeps this short; it is drawn, because files may be sorted.
    const rows = shuffledSubset(dataset.train.count, 4000, 1);
    const pixels = await readPixels(dataset.imageShape, dataset.train, rows);
    const part: Dataset = {
      ...dataset,
      train: { count: rows.length, pixels, labels: labelsAt(dataset.train, rows) },
    };
    const reference = await createReference({ engine, extractor, dataset: part, sampleCount: 1000 });
    const indices = shuffledSubset(dataset.test.count, 1000, 0);
    const images = await readImages(dataset.imageShape, dataset.test, indices);
    const labels = labelsAt(dataset.test, indices);
    const base = { engine, extractor, reference, labels };
    const real = await evaluateSamples({ ...base, images, method: 'test images' });
    const noise = images.data.map((value, i) => Math.min(1, Math.max(0, value + 0.6 * Math.sin(12.9898 * i))));
    const noisy = await evaluateSamples({ ...base, images: { ...images, data: noise }, method: 'noisy' });
    expect(real.classConsistency).toBeGreaterThan(0.98);
    expect(real.precision).toBeGreaterThan(0.9);
    // Fewer samples, smaller recall: 0.89 at 1,000, about 0.95 at 5,000.
    expect(real.recall).toBeGreaterThan(0.85);
    expect(Math.abs(real.density - 1)).toBeLessThan(0.15);
    expect(real.inceptionScore).toBeGreaterThan(9);
    expect(noisy.fid).toBeGreaterThan(3 * real.fid);
    expect(noisy.density).toBeLessThan(real.density);
    expect(noisy.coverage).toBeLessThan(real.coverage);
  });
});
