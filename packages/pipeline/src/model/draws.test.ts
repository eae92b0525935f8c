import { randomMultiStepDraws, randomOneStepDraws, type OneStepSampler } from '@dimo/core';
import { describe, expect, it } from 'vitest';
import { multiStepDraws, oneStepDraws } from './draws.js';

const tokenSpace = { codebookSize: 6, numLogits: 7, maskTokenId: 6, grid: [2, 3] } as const;
const sampler = {
  batchSize: 4,
  model: { tokenSpace, embeddingWidth: 5 },
  tokenInit: { maskRatio: 0.5, embeddingNoise: 0.1, noiseDeviation: 1 },
  sampling: {},
} as unknown as OneStepSampler;

/** Samples 3 and 4 of seed 1 and sample 0 of seed 2; the fourth row fills the batch up. */
const samples = [
  { seed: 1, index: 3 },
  { seed: 1, index: 4 },
  { seed: 2, index: 0 },
];

describe('draws of a batch of several requests', () => {
  it('of a generator are those of each sample alone', () => {
    const draws = oneStepDraws(samples, sampler);
    for (const name of ['initialTokens', 'tokenDraws', 'initialMaskRatio', 'embeddingNoise'] as const) {
      const { shape, data } = draws[name]!;
      expect(shape[0]).toBe(4);
      const width = data.length / 4;
      samples.forEach(({ seed, index }, row) => {
        const alone = randomOneStepDraws(seed, index, { ...sampler, batchSize: 1 })[name]!;
        expect([...data.subarray(row * width, (row + 1) * width)]).toEqual([...alone.data]);
      });
    }
  });

  it('of a teacher are those of each sample alone, at every step', () => {
    const draws = multiStepDraws(samples, { batchSize: 4, tokenSpace });
    // Lists of numbers take several times the memory.
    expect([draws.tokenDraws(0), draws.uniform('confidence', 0), draws.gumbel(0)].every(ArrayBuffer.isView)).toBe(true);
    const rowOf = (numbers: ArrayLike<number>, row: number) => Array.from(numbers).slice(row * 6, (row + 1) * 6);
    for (const step of [0, 2])
      samples.forEach(({ seed, index }, row) => {
        const alone = randomMultiStepDraws(seed, index, { batchSize: 1, tokenSpace });
        expect(rowOf(draws.tokenDraws(step), row)).toEqual([...alone.tokenDraws(step)]);
        expect(rowOf(draws.uniform('confidence', step), row)).toEqual(Array.from(alone.uniform('confidence', step)));
        expect(rowOf(draws.gumbel(step), row)).toEqual(Array.from(alone.gumbel(step)));
      });
  });
});
