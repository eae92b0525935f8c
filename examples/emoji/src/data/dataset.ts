/** The dataset `emoji`: Google's Noto emoji from the npm package `emoji-datasource-google`. */
import { DimoError, int32, randomStream, type DatasetPlugin, type DatasetSplit } from '@dimo/core';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { describeImages, type DescribedImage } from './described-images.js';
import { readNames } from './names.js';
import { imageBytes, imageSide, readPicture } from './pictures.js';

/** Categories, the classes of the dataset. */
export const categories = [
  'Smileys',
  'People & Body',
  'Animals & Nature',
  'Food & Drink',
  'Travel & Places',
  'Activities',
  'Objects',
  'Symbols',
  'Flags',
] as const;

/** About 6,000 training images of 32 x 32 RGB pixels with several prompts each, always the same ones. */
export const emojiDataset: DatasetPlugin<Uint8Array> = {
  name: 'emoji',
  description: 'Noto emoji, 32 x 32 RGB on white, with prompts (npm package emoji-datasource-google)',
  async load() {
    const folder = packageFolder();
    const list = join(folder, 'emoji.json');
    const emoji = readNames(await readText(list), list);
    const { train, test } = await describeImages(emoji, (file) =>
      readPicture(join(folder, 'img', 'google', '64', file)),
    );
    return {
      name: 'emoji',
      imageShape: [imageSide, imageSide, 3],
      classNames: categories,
      train: splitOf(train, 'train'),
      test: splitOf(test, 'test'),
    };
  },
};

function packageFolder(): string {
  try {
    return dirname(createRequire(import.meta.url).resolve('emoji-datasource-google/package.json'));
  } catch (cause) {
    throw new DimoError('io', 'dataset "emoji": the npm package emoji-datasource-google is not installed', {
      hint: 'run: npm install emoji-datasource-google@16.0.0',
      cause,
    });
  }
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new DimoError('io', 'emoji: cannot read the list', { path, cause });
  }
}

/** The images in a fixed random order, so that kinds are mixed. */
function splitOf(images: readonly DescribedImage[], name: string): DatasetSplit<Uint8Array> {
  const order = randomStream(0, 0, `emoji/${name}`).permutation(images.length);
  const pixels = new Uint8Array(images.length * imageBytes);
  const texts: (readonly string[])[] = [];
  const labels = Array.from(order, (source, target) => {
    const image = images[source]!;
    pixels.set(image.pixels, target * imageBytes);
    texts.push(image.texts);
    return (categories as readonly string[]).indexOf(image.category);
  });
  return { count: images.length, pixels, labels: int32([images.length], labels), texts };
}
