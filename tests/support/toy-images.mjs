/**
 * Datasets of images for tests of evaluations, of the size that the toy teacher makes.
 *
 * Environment: `TOY_IMAGES` the seed of the pictures of `toy-images`, so that they can change under the same name.
 */
import { definePlugin, int32, randomStream } from '@dimo/core';

const shape = [2, 3, 1];

/** Images of six pixels whose brightness follows the class. */
function split(count, seed, labels) {
  const noise = randomStream(seed, 0, 'toy-images').integers(count * 6, 60);
  return {
    count,
    pixels: Uint8Array.from(noise, (value, i) => value + 60 * labels[Math.floor(i / 6)]),
    labels: int32([count], labels),
  };
}

const dataset = (name, classNames, labelOf, seed = () => 0) => ({
  name,
  description: 'for tests',
  load: async () => ({
    name,
    imageShape: shape,
    classNames,
    train: split(
      200,
      seed(),
      Array.from({ length: 200 }, (_, i) => labelOf(i)),
    ),
    test: split(
      50,
      seed() + 1000,
      Array.from({ length: 50 }, (_, i) => labelOf(i)),
    ),
  }),
});

export default definePlugin({
  contract: 2,
  name: 'toy-images',
  datasets: [
    dataset(
      'toy-images',
      ['low', 'middle', 'high'],
      (i) => i % 3,
      () => Number(process.env.TOY_IMAGES ?? 0),
    ),
    dataset('one-class', ['thing'], () => 0),
    dataset('two-classes', ['a', 'b'], (i) => i % 2),
  ],
});
