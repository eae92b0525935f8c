/** What a dataset holds, whatever it is called: a key of its content, and the classes that its labels tell apart. */
import { OptionError, sha256Hex, type Dataset, type DatasetSplit } from '@dimo/core';

/**
 * Key of the training images with their labels and shapes: 64 hexadecimal digits. Names have no part in it, so that
 * pictures that changed under the same name have another key, and the same pictures under two names have one.
 */
export async function datasetKey({ imageShape, classNames, train }: Dataset): Promise<string> {
  const parts = [
    JSON.stringify([1, imageShape, classNames.length, train.count]),
    train.pixels instanceof Uint8Array ? await sha256Hex(train.pixels) : train.pixels.key,
    await sha256Hex(new Uint8Array(Int32Array.from(givenLabels(train) ?? []).buffer)),
  ];
  return sha256Hex(new TextEncoder().encode(parts.join('\n')));
}

/** Labels of a split; undefined where there are none. @throws OptionError if there is not one for each image. */
export function givenLabels({ labels, count }: DatasetSplit): Int32Array | undefined {
  // Plugins in JavaScript leave out what they have not.
  const data = (labels as DatasetSplit['labels'] | undefined)?.data;
  if (data === undefined || data.length === 0) return undefined;
  if (data.length === count) return data;
  throw new OptionError(`dataset: ${count} images but ${data.length} labels`);
}

/**
 * Number of classes that the labels of the training images tell apart: that of the class names where two of them occur;
 * 0 where there are no labels or all images are of one class.
 *
 * @throws OptionError for a label that is no class.
 */
export function labelledClasses({ name, classNames, train }: Dataset): number {
  const labels = givenLabels(train);
  if (!labels || labels.every((label) => label === labels[0])) return 0;
  const wrong = labels.findIndex((label) => !(label >= 0 && label < classNames.length));
  if (wrong >= 0)
    throw new OptionError(
      `dataset ${name}: label ${labels[wrong]} of training image ${wrong} is none of the ${classNames.length} classes`,
      { hint: 'labels count from 0; give every image the same label, or none, where there are no classes' },
    );
  return classNames.length;
}
