import { beforeAll, describe, expect, it } from 'vitest';
import type { Dataset } from '@dimo/core';
import { emojiDataset } from './dataset.js';
import { heldOutCompositions } from './described-images.js';

describe('dataset emoji', () => {
  let dataset: Dataset<Uint8Array>;
  beforeAll(async () => {
    dataset = await emojiDataset.load();
  });

  it('has pictures with prompts in every category', () => {
    const { train, classNames } = dataset;
    expect(train.count).toBeGreaterThan(5000);
    expect(train.pixels.length).toBe(train.count * 32 * 32 * 3);
    expect(train.texts).toHaveLength(train.count);
    expect(new Set(train.labels.data).size).toBe(classNames.length);
  });

  it('shows what the prompt says: hearts have their colour in the middle', () => {
    const middle = (name: string) => {
      const image = dataset.train.texts!.findIndex((texts) => texts[0] === name);
      const at = (image * 32 * 32 + 16 * 32 + 16) * 3;
      return [...dataset.train.pixels.subarray(at, at + 3)];
    };
    const [red, green] = [middle('red heart'), middle('green heart')];
    expect(red[0]!).toBeGreaterThan(red[1]! + 80);
    expect(green[1]!).toBeGreaterThan(green[0]! + 40);
  });

  it('keeps the held-out compositions for testing', () => {
    const trained = new Set(dataset.train.texts!.flat());
    const tested = new Set(dataset.test.texts!.flat());
    expect(heldOutCompositions.filter((text) => trained.has(text))).toEqual([]);
    expect(heldOutCompositions.filter((text) => !tested.has(text))).toEqual([]);
  });
});
