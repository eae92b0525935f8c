import { int32, type ConditionSource, type Dataset } from '@dimo/core';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { evaluationConditions, readPagePrompts } from './conditions.js';

/** Prompts as their lengths. */
const prompts: ConditionSource = {
  parse: (texts) => ({
    length: int32(
      [texts.length],
      texts.map((text) => text.length),
    ),
  }),
  sample: () => Promise.reject(new Error('nothing to draw from')),
};

const split = {
  count: 3,
  pixels: new Uint8Array(3 * 64),
  labels: int32([3], [2, 0, 1]),
  texts: [['a', 'aa'], ['bbb'], ['cccc', 'cccc']],
};
const described: Dataset = {
  name: 'letters',
  imageShape: [8, 8, 1],
  classNames: ['b', 'c', 'a'],
  train: split,
  test: { ...split, count: 0 },
};

describe('conditions of an evaluation', () => {
  it('are texts of the training images, with the classes of those images', async () => {
    const { condition, texts, ids, images } = await evaluationConditions(prompts, 60, described);
    expect(texts).toHaveLength(60);
    images!.forEach((image, i) => {
      expect(split.texts[image]).toContain(texts![i]);
      expect(ids!.data[i]).toBe(split.labels.data[image]);
      expect(condition['length']!.data[i]).toBe(texts![i]!.length);
    });
    // Every image as often as the others, and both texts of the first.
    expect([0, 1, 2].map((image) => images!.filter((other) => other === image).length)).toEqual([20, 20, 20]);
    expect(new Set(texts)).toEqual(new Set(['a', 'aa', 'bbb', 'cccc']));
  });
});

describe('prompts of a page', () => {
  it('are lines, with remarks after " # "', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'dimo-page-'));
    try {
      const path = join(folder, 'prompts.txt');
      await writeFile(path, 'blue heart # held out\n\n  keycap #\ncat\r\n');
      expect(await readPagePrompts(path)).toEqual([
        { line: 1, prompt: 'blue heart', remark: 'held out' },
        { line: 3, prompt: 'keycap #', remark: undefined },
        { line: 4, prompt: 'cat', remark: undefined },
      ]);
      await writeFile(path, '\n');
      await expect(readPagePrompts(path)).rejects.toThrow('expected 1 to 64 prompts');
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
