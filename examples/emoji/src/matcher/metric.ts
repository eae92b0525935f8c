/** The metric `name-retrieval`. */
import { OptionError, type MetricPlugin } from '@dimo/core';
import { readFile } from 'node:fs/promises';
import { presetsLocation } from '../presets.js';
import { readMatcher, retrievalAccuracy, type Matcher } from './retrieval.js';

/** Folder of the committed matcher. */
const folder = new URL('matcher/', presetsLocation);

/** Reads the committed matcher. */
export async function loadMatcher(): Promise<Matcher> {
  return readMatcher({
    weights: await readFile(new URL('matcher.safetensors', folder)),
    words: await readFile(new URL('words.json', folder), 'utf8'),
    names: await readFile(new URL('names.json', folder), 'utf8'),
  });
}

/**
 * Retrieval accuracy of the asked name among 100. Prompts that are no name of a single picture, as `cat face`, are left
 * out.
 */
export const nameRetrieval: MetricPlugin = {
  name: 'name-retrieval',
  description: 'Part of the pictures that match their own prompt better than 99 other names; 0.01 is chance',
  higherIsBetter: true,
  async compute({ images, texts, engine }) {
    if (!images || !texts || !engine)
      throw new OptionError('name-retrieval: needs images, their prompts and an engine', {
        hint: 'evaluate a text-to-image teacher on the dataset emoji',
      });
    const matcher = await loadMatcher();
    const names = new Set(matcher.names);
    const rows = texts.flatMap((text, row) => (names.has(text) ? [row] : []));
    if (rows.length === 0) throw new OptionError('name-retrieval: none of the prompts is the name of a picture');
    const size = images.data.length / images.shape[0]!;
    const data = new Float32Array(rows.length * size);
    rows.forEach((row, i) => data.set(images.data.subarray(row * size, (row + 1) * size), i * size));
    const chosen = { ...images, shape: [rows.length, ...images.shape.slice(1)], data };
    return retrievalAccuracy(
      engine,
      matcher,
      chosen,
      rows.map((row) => texts[row]!),
    );
  },
};
