/** Which judge a dataset has: by its content, never by its name; and a judge for images of any size. */
import { eagerEngine, float32, int32, randomStream, type Dataset } from '@dimo/core';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor4D } from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  classify,
  classifierParametersOf,
  createReference,
  datasetKey,
  defaultJudgeSettings,
  evaluateSamples,
  formatTable,
  initializeClassifier,
  planJudge,
  randomJudge,
  readJudge,
  referenceKey,
  trainJudge,
} from './index.js';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

type Shape = Dataset['imageShape'];

/** Images of noise, the class in their brightness. */
function noisy(shape: Shape, labels: readonly number[], numClasses: number, seed = 0): Dataset<Uint8Array> {
  const size = shape[0] * shape[1] * shape[2];
  const pixels = Uint8Array.from(
    randomStream(seed, 0, 'pixels').integers(labels.length * size, 100),
    (value, i) => value + 50 * labels[Math.floor(i / size)]!,
  );
  const split = { count: labels.length, pixels, labels: int32([labels.length], labels) };
  const classNames = Array.from({ length: numClasses }, (_, i) => `class ${i}`);
  return { name: 'noisy', imageShape: shape, classNames, train: split, test: split };
}

const labels = [0, 1, 2, 0, 1, 2, 0, 1];
const base = noisy([5, 4, 3], labels, 3);
const plan = (dataset: Dataset, settings = {}) => planJudge(dataset, { ...defaultJudgeSettings, ...settings });

describe('the classifier', () => {
  it.each<[Shape]>([
    [[1, 1, 1]],
    [[2, 3, 1]],
    [[4, 4, 3]],
    [[5, 7, 4]],
    [[1, 200, 1]],
    [[28, 28, 1]],
    [[64, 64, 3]],
    [[65, 30, 3]],
    [[100, 80, 4]],
    [[129, 131, 1]],
  ])('is there for images of %j, and every pixel counts', (shape) => {
    const weights = initializeClassifier(randomStream(0, 0, 'w'), { imageShape: shape, numClasses: 2 });
    const tensors = Object.fromEntries(
      Object.entries(weights).map(([name, { data, shape: of }]) => [name, tf.tensor(data, [...of])]),
    );
    const size = shape[0] * shape[1] * shape[2];
    const data = randomStream(1, 0, 'x').uniform(size);
    const featuresOf = (pixels: Float32Array) =>
      tf.tidy(() => [...classify(tensors, tf.tensor4d(pixels, [1, ...shape]) as Tensor4D).features.dataSync()]);
    const before = featuresOf(data);
    expect(before).toHaveLength(128);
    expect(before.every(Number.isFinite)).toBe(true);
    // A corner and the middle; pooling leaves out odd last rows, as it always did, so not the last pixel.
    for (const index of [0, Math.floor(size / 2)]) {
      const changed = Float32Array.from(data);
      changed[index] = 5;
      expect(featuresOf(changed), `pixel ${index}`).not.toEqual(before);
    }
  });

  it('keeps the shapes of the bundled one, and cuts larger images into at most 64 x 64 blocks', () => {
    const shapes = (imageShape: Shape) => {
      const parameters = classifierParametersOf({ imageShape, numClasses: 10 });
      return [parameters['convolution1.weight']!.shape, parameters['hidden.weight']!.shape];
    };
    expect(shapes([28, 28, 1])).toEqual([
      [3, 3, 1, 32],
      [128, 3 * 3 * 64],
    ]);
    // 256 / 4 = 64 blocks of 4 x 4 pixels; halved three times: 8 x 8 cells.
    expect(shapes([256, 256, 3])).toEqual([
      [3, 3, 48, 32],
      [128, 8 * 8 * 64],
    ]);
    expect(() => shapes([0, 4, 1])).toThrow(/imageShape must be/);
  });
});

describe('the key of a judge', () => {
  it('follows pixels, labels, shape, number of classes and settings, and not the name', async () => {
    const { key } = await plan(base);
    const split = (change: Partial<Dataset['train']>): Dataset => ({ ...base, train: { ...base.train, ...change } });
    const pixels = base.train.pixels.slice();
    pixels[7]! ^= 1;
    const others = await Promise.all([
      plan(split({ pixels })),
      plan(split({ labels: int32([8], [0, 1, 2, 0, 1, 2, 0, 2]) })),
      plan({ ...base, imageShape: [4, 5, 3] }),
      plan({ ...base, imageShape: [4, 3, 5] }),
      plan({ ...base, classNames: ['a', 'b', 'c', 'd'] }),
      plan(base, { numSteps: 7 }),
      plan(base, { batchSize: 4 }),
      plan(base, { learningRate: 1e-3 }),
      plan(base, { dropout: 0.1 }),
      plan(base, { featureLength: 16 }),
      plan(base, { seed: 1 }),
      plan(base, { kind: 'random' }),
    ]);
    expect(new Set([key, ...others.map((other) => other.key)]).size).toBe(others.length + 1);
    expect((await plan({ ...base, name: 'another' })).key).toBe(key);
    expect(await datasetKey({ ...base, name: 'another', classNames: ['x', 'y', 'z'] })).toBe(await datasetKey(base));
  });

  it('a reference follows images and labels too', async () => {
    const judged = await plan(base, { kind: 'random', featureLength: 4 });
    const extractor = randomJudge(judged, 0);
    const keyOf = (dataset: Dataset) => referenceKey({ extractor, dataset, sampleCount: 4 });
    const pixels = base.train.pixels.slice();
    pixels[0]! ^= 1;
    const keys = await Promise.all(
      [
        base,
        { ...base, train: { ...base.train, pixels } },
        { ...base, train: { ...base.train, labels: int32([8], [1, 1, 2, 0, 1, 2, 0, 1]) } },
      ].map(keyOf),
    );
    expect(new Set(keys).size).toBe(3);
    expect(await keyOf({ ...base, name: 'another' })).toBe(keys[0]);
  });
});

describe('datasets without classes', () => {
  const unlabelled = { ...base.train, labels: undefined } as unknown as Dataset<Uint8Array>['train'];
  it.each<[string, Dataset<Uint8Array>]>([
    ['one class', noisy([5, 4, 3], Array<number>(8).fill(0), 1)],
    ['no classes', noisy([5, 4, 3], Array<number>(8).fill(0), 0)],
    ['three classes of which one occurs', noisy([5, 4, 3], Array<number>(8).fill(1), 3)],
    ['labels of -1', noisy([5, 4, 3], Array<number>(8).fill(-1), 3)],
    ['no labels', { ...base, train: unlabelled, test: unlabelled }],
  ])('%s: random features, without what needs a classifier, and the table says so', async (_name, dataset) => {
    const judged = await plan(dataset, { featureLength: 4 });
    expect(judged).toMatchObject({ kind: 'random' });
    expect(judged.remark).toContain('random network, because noisy has no two classes');
    const extractor = randomJudge(judged, 0);
    const engine = eagerEngine('cpu');
    const { count, pixels } = dataset.train;
    const reference = await createReference({ engine, extractor, dataset, sampleCount: count });
    const images = float32(
      [count, ...dataset.imageShape],
      Float32Array.from(pixels, (value) => value / 255),
    );
    const given = int32([count], new Int32Array(count));
    const row = await evaluateSamples({ engine, extractor, reference, images, labels: given, method: 'same' });
    expect(row.fid).toBeLessThan(1e-4);
    expect(row.intraClassVariance).toBeGreaterThan(0);
    expect('inceptionScore' in row || 'classConsistency' in row).toBe(false);
    expect(formatTable([row])).toMatch(/same +– +0\.00 +– /);
    await expect(plan(dataset, { kind: 'trained' })).rejects.toThrow(/no two classes/);
  });

  it('refuses labels that are no class, and labels for some images only', async () => {
    await expect(plan(noisy([5, 4, 3], [0, 1, 3], 3))).rejects.toThrow(/label 3 of training image 2 is none of the 3/);
    const train = { ...base.train, labels: int32([2], [0, 1]) };
    await expect(plan({ ...base, train })).rejects.toThrow(/8 images but 2 labels/);
  });
});

describe('a trained judge', () => {
  it('of few images comes back from its file; a signal stops it', async () => {
    const settings = { ...defaultJudgeSettings, numSteps: 2, featureLength: 8 };
    const judged = await planJudge(base, settings);
    expect(judged).toMatchObject({ kind: 'trained', batchSize: 8, numSteps: 2 });
    const options = { engine: eagerEngine('cpu'), dataset: base, settings };
    const steps: number[] = [];
    const bytes = await trainJudge(judged, { ...options, onProgress: ({ step }) => steps.push(step) });
    expect(steps).toEqual([1, 2]);
    expect(readJudge(judged, bytes)).toMatchObject({ featureLength: 8, numClasses: 3 });
    const withoutTest = { ...base, test: { ...base.test, count: 0, pixels: new Uint8Array(), labels: int32([0]) } };
    await trainJudge(judged, { ...options, dataset: withoutTest });
    await expect(trainJudge(judged, { ...options, signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'cancelled',
    });
  });
});
