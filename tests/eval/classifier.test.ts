/** The classifier learns: on made-up images whose class is the height of a bar, with the onnx engine. */
import { createOnnxEngine } from '@dimo/backend-node';
import { int32, randomStream, type Dataset, type DatasetSplit, type Engine } from '@dimo/core';
import { trainClassifier } from '@dimo/eval';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

/** `count` images of ten kinds: a bar at a height that depends on the label, plus noise. */
function bars(count: number, seed: number): DatasetSplit {
  const labels = randomStream(seed, 0, 'labels').integers(count, 10);
  const pixels = Uint8Array.from(randomStream(seed, 0, 'pixels').integers(count * 784, 60));
  labels.forEach((label, i) => pixels.fill(200, i * 784 + label * 56 + 28, i * 784 + label * 56 + 84));
  return { count, pixels, labels: int32([count], labels) };
}

describe('classifier training', () => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await createOnnxEngine();
  });
  afterAll(() => engine.dispose());

  it('learns ten kinds of images and gives the same weights each time', async () => {
    const dataset: Dataset = {
      name: 'bars',
      imageShape: [28, 28, 1],
      classNames: Array.from({ length: 10 }, (_, i) => String(i)),
      train: bars(512, 0),
      test: bars(200, 1),
    };
    const options = { engine, dataset, epochs: 4, batchSize: 32, seed: 1 };
    const losses: number[] = [];
    const first = await trainClassifier({ ...options, onProgress: ({ metrics }) => losses.push(metrics['loss']!) });
    expect(losses).toHaveLength(64);
    expect(losses[0]).toBeGreaterThan(1.5);
    expect(first.testAccuracy).toBeGreaterThan(0.95);
    const second = await trainClassifier(options);
    expect(second.weights['output.weight']!.data).toEqual(first.weights['output.weight']!.data);
  });
});
