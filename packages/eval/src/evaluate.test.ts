/** Reference, rows of the table and pictures, with a linear extractor whose features are known. */
import {
  eagerEngine,
  float32,
  int32,
  OptionError,
  randomStream,
  ShapeError,
  WeightError,
  type Dataset,
  type HostTensor,
} from '@dimo/core';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor2D } from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  arrangeByClass,
  createReference,
  evaluateSamples,
  evaluationNotes,
  featureStatistics,
  formatTable,
  frechetDistance,
  matrix,
  readReference,
  referenceKey,
  splitSource,
  writeReference,
  type EvaluationReference,
  type EvaluationRow,
  type FeatureExtractor,
} from './index.js';

/** 2 x 2 images; features: the first three pixels times 8; logits: pixels 0 and 3. */
const extractor: FeatureExtractor = {
  name: 'linear',
  imageShape: [2, 2, 1],
  featureLength: 3,
  numClasses: 2,
  weights: { scale: float32([], [8]) },
  extract(weights, images) {
    const flat = tf.reshape(images, [-1, 4]);
    return {
      features: tf.mul(tf.slice(flat, [0, 0], [-1, 3]), weights['scale']!) as Tensor2D,
      logits: tf.mul(tf.concat([tf.slice(flat, [0, 0], [-1, 1]), tf.slice(flat, [0, 3], [-1, 1])], 1), 10) as Tensor2D,
    };
  },
};

function split(count: number, seed: number): Dataset<Uint8Array>['train'] {
  const pixels = Uint8Array.from(randomStream(seed, 0, 'pixels').integers(count * 4, 256));
  const labels = Int32Array.from({ length: count }, (_, i) => (pixels[4 * i]! >= pixels[4 * i + 3]! ? 0 : 1));
  return { count, pixels, labels: int32([count], labels) };
}

const dataset: Dataset<Uint8Array> = {
  name: 'noise',
  imageShape: [2, 2, 1],
  classNames: ['a', 'b'],
  train: split(300, 0),
  test: split(50, 1),
};

describe('evaluation', () => {
  const engine = eagerEngine('cpu');
  const options = { engine, extractor, dataset, sampleCount: 50, seed: 3 };
  let reference: EvaluationReference;
  let test: HostTensor<'float32'>;
  beforeAll(async () => {
    reference = await createReference(options);
    test = await splitSource([2, 2, 1], dataset.test).read(0, 50);
  });

  it('has the statistics of all training images and a subset of their features', () => {
    const features = new Float32Array(900);
    for (let i = 0; i < 300; i++)
      for (let d = 0; d < 3; d++) features[3 * i + d] = (dataset.train.pixels[4 * i + d]! / 255) * 8;
    // Mean and covariance are rounded to float32.
    expect(frechetDistance(featureStatistics(matrix(features, 3)), reference.statistics)).toBeLessThan(1e-5);
    expect(reference.statistics.count).toBe(300);
    expect(reference.subset).toMatchObject({ rows: 50, columns: 3 });
    const rows = new Set(Array.from({ length: 300 }, (_, i) => features.slice(3 * i, 3 * i + 3).join()));
    for (let i = 0; i < 50; i++) expect(rows).toContain(reference.subset.data.slice(3 * i, 3 * i + 3).join());
  });

  it('comes back from its file with the same metrics', async () => {
    const back = readReference(writeReference(reference));
    expect(back).toEqual(reference);
    const row = { engine, extractor, images: test, method: 'test' };
    expect(await evaluateSamples({ ...row, reference: back })).toEqual(await evaluateSamples({ ...row, reference }));
    const cut = writeReference(reference).slice(0, -4);
    expect(() => readReference(cut)).toThrow(WeightError);
  });

  it('has another key for other weights, data, number or seed', async () => {
    const keys = await Promise.all(
      [
        options,
        { ...options, seed: 4 },
        { ...options, sampleCount: 51 },
        { ...options, extractor: { ...extractor, weights: { scale: float32([], [9]) } } },
        { ...options, dataset: { ...dataset, train: split(300, 5) } },
      ].map(referenceKey),
    );
    expect(new Set(keys).size).toBe(5);
    expect(keys[0]).toBe(reference.key);
  });

  it('measures a set of images, and worse ones as worse', async () => {
    const labels = dataset.test.labels;
    const row = await evaluateSamples({
      engine,
      extractor,
      reference,
      images: test,
      labels,
      method: 'real',
      steps: 1,
      imagesPerSecond: 12,
      inceptionSplits: 1,
    });
    expect(row).toMatchObject({ method: 'real', steps: 1, count: 50, imagesPerSecond: 12, classConsistency: 1 });
    expect(row.intraClassVariance! / reference.intraClassVariance).toBeGreaterThan(0.8);
    expect(row.intraClassVariance! / reference.intraClassVariance).toBeLessThan(1.2);
    const gray = float32(
      test.shape,
      test.data.map((value) => 0.5 + 0.1 * (value - 0.5)),
    );
    const collapsed = await evaluateSamples({ engine, extractor, reference, images: gray, labels, method: 'gray' });
    expect(collapsed.fid).toBeGreaterThan(5 * row.fid);
    expect(collapsed.recall).toBeLessThan(row.recall);
    expect(collapsed.intraClassVariance!).toBeLessThan(0.1 * row.intraClassVariance!);
    expect(collapsed.steps).toBeUndefined();
  });

  it('says what the numbers depend on', () => {
    const notes = evaluationNotes(extractor, reference, { precisionNeighbors: 4 }).join(' ');
    for (const fact of ['3 numbers of "linear"', 'all 300', 'k = 4', 'k = 5', '50 images', '10 splits'])
      expect(notes).toContain(fact);
  });

  it('refuses other numbers of images, wrong labels and too small datasets', async () => {
    const base = { engine, extractor, reference, method: 'x' };
    const few = float32([49, 2, 2, 1], test.data.slice(0, 49 * 4));
    await expect(evaluateSamples({ ...base, images: few })).rejects.toThrow(/reference has 50 images, got 49/);
    await expect(evaluateSamples({ ...base, images: test, labels: int32([2]) })).rejects.toThrow(ShapeError);
    await expect(createReference({ ...options, sampleCount: 301 })).rejects.toThrow(OptionError);
  });
});

describe('formatTable', () => {
  const rows: EvaluationRow[] = [
    {
      method: 'teacher|16',
      steps: 16,
      count: 5000,
      fid: 7.128,
      inceptionScore: 9.654,
      precision: 0.94,
      recall: 0.8131,
      density: 1.0561,
      coverage: 0.884,
      classConsistency: 0.986,
      intraClassVariance: 126.04,
      imagesPerSecond: 60.81,
    },
    {
      method: 'a\u001b[31m',
      count: 1,
      fid: 304.26,
      inceptionScore: 1,
      precision: 0,
      recall: 0,
      density: 0,
      coverage: 0,
    },
  ];

  it('aligns columns and shows what is missing', () => {
    expect(formatTable(rows).split('\n')).toEqual([
      'method      steps    FID    IS  precision  recall  density  coverage  images/s  class consistency  intra-class variance',
      'teacher|16     16   7.13  9.65      0.940   0.813    1.056     0.884      60.8              0.986                 126.0',
      'a\\x1b[31m       –  304.3  1.00      0.000   0.000    0.000     0.000         –                  –                     –',
    ]);
  });

  it('makes a Markdown table whose cells cannot break it', () => {
    const lines = formatTable(rows, 'markdown').split('\n');
    expect(lines).toHaveLength(4);
    expect(lines[1]).toMatch(/^\| -+ (\| -+: )+\|$/);
    expect(lines[2]).toContain('teacher\\|16');
  });
});

describe('arrangeByClass', () => {
  it('arranges one class per column', () => {
    const images = float32([4, 1, 1, 1], [0.1, 0.2, 0.3, 0.4]);
    const arranged = arrangeByClass(images, [1, 0, 1, 1], { numClasses: 2, rows: 2 });
    expect([...arranged.data].map((v) => Math.round(v * 10) / 10)).toEqual([0.2, 0.1, 0, 0.3]);
  });
});
