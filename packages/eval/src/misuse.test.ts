/** Public functions called with wrong numbers and arrays: each refuses with a DimoError and none returns NaN in silence. */
import { DimoError, eagerEngine, float32, int32, randomStream, type DatasetSplit } from '@dimo/core';
import '@tensorflow/tfjs-backend-cpu';
import { describe, expect, it } from 'vitest';
import * as metrics from './index.js';
import type { Matrix } from './index.js';

const any = (value: unknown): never => value as never;
const random = (rows: number, columns = 3, seed = 0): Matrix =>
  metrics.matrix(randomStream(seed, 0, 'x').uniform(rows * columns), columns);
const spoilt = (source: Matrix, value: number): Matrix => {
  const data = source.data.slice();
  data[4] = value;
  return { ...source, data };
};
const images = (shape: readonly number[], value = 0.5) => {
  const tensor = float32(shape);
  tensor.data.fill(value);
  return tensor;
};
const good = random(12);
const statistics = metrics.featureStatistics(good);
const split: DatasetSplit = { count: 2, pixels: new Uint8Array(8), labels: int32([2]) };

const extractor = (weights = metrics.initializeClassifier(randomStream(0, 0, 'x'))) =>
  metrics.classifierExtractor(weights);
const extract = (options: object) =>
  metrics.extractFeatures({
    engine: eagerEngine('cpu'),
    extractor: extractor(),
    images: metrics.imageSource(images([2, 28, 28, 1])),
    ...options,
  });

const refused: [string, () => unknown][] = [
  ...[NaN, 0, -1, 1.5, 5].map((n): [string, () => unknown] => [
    `matrix of ${n} columns`,
    () => metrics.matrix(new Float32Array(12), n),
  ]),
  ...[-1, 12, NaN, 0.5].flatMap((i): [string, () => unknown][] => [
    [`row ${i}`, () => metrics.rowOf(good, i)],
    [`rows ${i}`, () => metrics.takeMatrixRows(good, [0, i])],
  ]),
  ...[NaN, Infinity, -Infinity].flatMap((value): [string, () => unknown][] => [
    [`statistics of ${value}`, () => metrics.featureStatistics(spoilt(good, value))],
    [`softmax of ${value}`, () => metrics.softmaxRows(spoilt(good, value))],
    [`inception score of ${value}`, () => metrics.inceptionScore(spoilt(good, value))],
    [`real samples with ${value}`, () => metrics.realManifold(spoilt(good, value))],
    [`generated samples with ${value}`, () => metrics.manifoldMetrics(metrics.realManifold(good), spoilt(good, value))],
    [`class consistency of ${value}`, () => metrics.classConsistency(spoilt(good, value), new Int32Array(12))],
    [`intra-class variance of ${value}`, () => metrics.intraClassVariance(spoilt(good, value), new Int32Array(12))],
    [
      `distance of a mean of ${value}`,
      () => metrics.frechetDistance(statistics, { ...statistics, mean: Float64Array.of(0, value, 0) }),
    ],
    [
      `distance of a covariance of ${value}`,
      () => metrics.frechetDistance({ ...statistics, covariance: new Float64Array(9).fill(value) }, statistics),
    ],
    [`features of images of ${value}`, () => extract({ images: metrics.imageSource(images([2, 28, 28, 1], value)) })],
  ]),
  ['statistics of one sample', () => metrics.featureStatistics(random(1))],
  ['statistics of numbers that do not make the matrix', () => metrics.featureStatistics({ ...good, rows: 13 })],
  ['distance of other lengths', () => metrics.frechetDistance(statistics, metrics.featureStatistics(random(12, 4)))],
  ['manifold of other lengths', () => metrics.manifoldMetrics(metrics.realManifold(good), random(12, 4))],
  ...[0, -1, NaN, 1.5, 12].map((k): [string, () => unknown] => [
    `${k} neighbours`,
    () => metrics.precisionRecall(good, good, k),
  ]),
  ...[0, -1, NaN, 1.5, 13].map((n): [string, () => unknown] => [
    `${n} splits`,
    () => metrics.inceptionScore(metrics.softmaxRows(good), n),
  ]),
  ...[-1, 3, NaN, 0.5].map((label): [string, () => unknown] => [
    `label ${label}`,
    () => metrics.classConsistency(good, new Array(12).fill(label) as number[]),
  ]),
  ['too few labels', () => metrics.classConsistency(good, [0])],
  ['variance of too few labels', () => metrics.intraClassVariance(good, [0])],
  ...[-1, NaN, 1.5, 1e9].flatMap((n): [string, () => unknown][] => [
    [`${n} classes in a grid`, () => metrics.arrangeByClass(images([2, 4, 4, 1]), [0, 1], { numClasses: n, rows: 1 })],
    [`${n} rows in a grid`, () => metrics.arrangeByClass(images([2, 4, 4, 1]), [0, 1], { numClasses: 2, rows: n })],
  ]),
  ['images of another rank', () => metrics.imageSource(images([4, 4, 1]))],
  [
    'images of less data than their shape',
    () => metrics.imageSource({ dtype: 'float32', shape: [9, 4, 4, 1], data: new Float32Array(3) }),
  ],
  ['images of another size', () => extract({ images: metrics.imageSource(images([2, 8, 8, 1])) })],
  ...[-1, 0, NaN, 1.5, Infinity].map((batchSize): [string, () => unknown] => [
    `batches of ${batchSize}`,
    () => extract({ batchSize }),
  ]),
  ...[-1, 2, NaN].map((index): [string, () => unknown] => [
    `index ${index} of a split`,
    () => metrics.splitSource([2, 2, 1], split, [0, index]).read(0, 2),
  ]),
  ['images of a split larger than its pixels', () => metrics.splitSource([4, 4, 1], split).read(0, 2)],
  ['weights of another model', () => extractor({ x: float32([1]) })],
  ['a classifier of no images', () => metrics.classifierParametersOf({ imageShape: [0, 4, 1], numClasses: 2 })],
  ...[-1, NaN, 1.5].map((numClasses): [string, () => unknown] => [
    `a classifier of ${numClasses} classes`,
    () => metrics.classifierParametersOf({ imageShape: [8, 8, 1], numClasses }),
  ]),
  ...[NaN, 1.5, -8].map((size): [string, () => unknown] => [
    `a classifier of ${size} pixels`,
    () => metrics.classifierParametersOf({ imageShape: [size, 8, 1], numClasses: 2 }),
  ]),
  ['a file that is no classifier', () => metrics.readClassifier(new Uint8Array(4))],
  ['a file that is no reference', () => metrics.readReference(new Uint8Array(4))],
  ...[1, 3, NaN, -1].map((sampleCount): [string, () => unknown] => [
    `a reference of ${sampleCount} images`,
    () =>
      metrics.referenceKey({
        extractor: extractor(),
        dataset: any({ name: 'x', imageShape: [2, 2, 1], train: split }),
        sampleCount,
      }),
  ]),
];

describe('wrong numbers and arrays', () => {
  it.each(refused)('%s', async (_name, call) => {
    const outcome = await (async () => call())().then(
      (value: unknown) => ({ value }),
      (error: unknown) => ({ error }),
    );
    expect(outcome, 'it must be refused').toHaveProperty('error');
    const { error } = outcome as { error: unknown };
    expect(DimoError.isInstance(error), `must be a DimoError: ${String((error as Error).stack)}`).toBe(true);
  });

  it('no images are no features, and no error', async () => {
    expect((await extract({ images: metrics.imageSource(float32([0, 28, 28, 1])) })).features.rows).toBe(0);
  });
});
