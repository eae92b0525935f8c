/**
 * What the host draws for the samplers, against a second implementation of the random numbers: which stream, which
 * distribution and sign, one row per sample; and that no two purposes share their numbers.
 */
import { describe, expect, it } from 'vitest';
import {
  randomMultiStepDraws,
  randomOneStepDraws,
  randomStream,
  type GeneratorTokenInit,
  type MaskedDiffusionModel,
  type SamplingOptions,
  type TokenSpace,
} from '../index.js';
import { referenceMask, referenceStream } from '../testing/reference-random.js';
import { tinyModel } from '../testing/tiny-model.js';
import { randomTokenDraws } from './drawing-tokens.js';

/** Codes, logits and the mask token all differ, so that none can stand for another. */
const tokenSpace: TokenSpace = { codebookSize: 6, numLogits: 8, maskTokenId: 11, grid: [2, 3] };
const model: MaskedDiffusionModel = { ...tinyModel(), tokenSpace, embeddingWidth: 5 };
const length = 6;

function close(actual: ArrayLike<number>, expected: readonly number[], digits = 6): void {
  expect(actual.length).toBe(expected.length);
  expected.forEach((value, i) => expect(actual[i]).toBeCloseTo(value, digits));
}

/** One row per sample: what the reference gives for sample `first + row`. */
function rows(count: number, first: number, draw: (sample: number) => readonly number[]): number[] {
  return Array.from({ length: count }, (_, row) => draw(first + row)).flat();
}

describe('draws of the multi-step sampler', () => {
  const seed = 2 ** 35 + 17;
  const draws = randomMultiStepDraws(seed, 4, { batchSize: 3, tokenSpace });
  const stream = (sample: number, name: string) => referenceStream(seed, sample, `multi-step/${name}`);

  it.each([0, 1, 7])('are those of each sample and of step %i', (step) => {
    expect([...draws.tokenDraws(step)]).toEqual(
      rows(3, 4, (sample) => stream(sample, `tokens/${step}`).uniform(length)),
    );
    expect([...(draws.uniform('confidence', step) as Float32Array)]).toEqual(
      rows(3, 4, (sample) => stream(sample, `confidence/${step}`).uniform(length)),
    );
    close(
      draws.gumbel(step),
      rows(3, 4, (sample) => stream(sample, `gumbel/${step}`).gumbel(length)),
      12,
    );
  });

  it.each([false, true])('are exponential, one per id, for the race (reference: %s)', (reference) => {
    const numIds = reference ? 8 : 6;
    const race = randomMultiStepDraws(seed, 4, {
      batchSize: 2,
      tokenSpace,
      sampling: { method: 'exponential-race', reference },
    });
    close(
      race.tokenDraws(2),
      rows(2, 4, (sample) => stream(sample, 'tokens/2').exponential(length * numIds)),
      5,
    );
  });

  it('the Gumbel numbers lean to the right: mean 0.5772, variance pi^2 / 6, P(g < 0) = 1 / e', () => {
    const space = { ...tokenSpace, grid: [100, 100] as const };
    const numbers = Array.from(randomMultiStepDraws(1, 0, { batchSize: 2, tokenSpace: space }).gumbel(0));
    const mean = numbers.reduce((sum, g) => sum + g, 0) / numbers.length;
    const variance = numbers.reduce((sum, g) => sum + (g - mean) ** 2, 0) / numbers.length;
    // Of 20,000: standard errors 0.009, 0.022 and 0.0034; four of each.
    expect(Math.abs(mean - 0.5772)).toBeLessThan(0.036);
    expect(Math.abs(variance - Math.PI ** 2 / 6)).toBeLessThan(0.1);
    expect(Math.abs(numbers.filter((g) => g < 0).length / numbers.length - 1 / Math.E)).toBeLessThan(0.014);
  });

  it('a uniform number of 0 is the middle of its cell, in the Gumbel noise and in the race', () => {
    // The first number of sample 11,567,758, the fourth of sample 201,972 and the second of 8,547,183 are exactly 0.
    const gumbel = randomMultiStepDraws(0, 11_567_758, { batchSize: 1, tokenSpace }).gumbel(0);
    expect(gumbel[0]).toBeCloseTo(-Math.log(25 * Math.LN2), 12);
    const tokens = { batchSize: 1, tokenSpace } as const;
    expect(randomMultiStepDraws(0, 201_972, tokens).tokenDraws(0)[3]).toBe(0);
    const race = randomMultiStepDraws(0, 201_972, { ...tokens, sampling: { method: 'exponential-race' } });
    expect(race.tokenDraws(0)[3]).toBeCloseTo(25 * Math.LN2, 5);
    const oneStep = randomTokenDraws(randomStream(0, 8_547_183, 'one-step/tokens'), 2, { method: 'exponential-race' });
    expect(oneStep[1]).toBeCloseTo(25 * Math.LN2, 5);
  });
});

describe('draws of the one-step sampler', () => {
  const seed = 5;
  const tokenInit: GeneratorTokenInit = { maskRatio: [0.2, 0.9], embeddingNoise: 0.3, noiseDeviation: 0.5 };
  const drawn = (first: number, batchSize: number, sampling: SamplingOptions = {}, init = tokenInit) =>
    randomOneStepDraws(seed, first, { batchSize, model, tokenInit: init, sampling });
  const stream = (sample: number, name: string) => referenceStream(seed, sample, `one-step/${name}`);

  it('are those of each sample', () => {
    const draws = drawn(9, 3);
    const ratios = rows(3, 9, (sample) => [0.2 + (0.9 - 0.2) * stream(sample, 'mask-ratio').uniform(1)[0]!]);
    close(draws.initialMaskRatio.data, ratios);
    expect([...draws.initialTokens.data]).toEqual(
      rows(3, 9, (sample) => {
        const codes = stream(sample, 'codes').integers(length, 6);
        const count = Math.max(1, Math.round(length * ratios[sample - 9]!));
        const isMasked = referenceMask(stream(sample, 'mask').uniform(length), count);
        return codes.map((code, i) => (isMasked[i] ? 11 : code));
      }),
    );
    close(
      draws.embeddingNoise!.data,
      rows(3, 9, (sample) => stream(sample, 'embedding-noise').normal(length * 5)),
    );
    expect(draws.embeddingNoise!.shape).toEqual([3, 6, 5]);
    expect([...draws.tokenDraws.data]).toEqual(rows(3, 9, (sample) => stream(sample, 'tokens').uniform(length)));
  });

  it('are exponential for the race, and without noise where its scale is 0', () => {
    const draws = drawn(2, 2, { method: 'exponential-race' }, { ...tokenInit, embeddingNoise: 0 });
    expect(draws.embeddingNoise).toBeUndefined();
    expect(draws.tokenDraws.shape).toEqual([2, 6, 6]);
    close(
      draws.tokenDraws.data,
      rows(2, 2, (sample) => stream(sample, 'tokens').exponential(36)),
      5,
    );
  });

  it('draw every code, and the mask token only where masked', () => {
    const codes = new Set<number>();
    const counts = new Set<number>();
    for (let first = 0; first < 400; first += 100) {
      const { initialTokens } = drawn(first, 100);
      for (let row = 0; row < 100; row++) {
        const tokens = initialTokens.data.subarray(row * length, (row + 1) * length);
        counts.add(tokens.filter((token) => token === 11).length);
        tokens.forEach((token) => token !== 11 && codes.add(token));
      }
    }
    expect([...codes].sort()).toEqual([0, 1, 2, 3, 4, 5]);
    // round(6 ratio) for ratios in [0.2, 0.9).
    expect([...counts].sort()).toEqual([1, 2, 3, 4, 5]);
  });
});

describe('streams', () => {
  it('of all purposes of the samplers differ, in every sample and step', () => {
    const names = ['tokens', 'gumbel', 'confidence'].flatMap((name) =>
      [0, 1, 2].map((step) => `multi-step/${name}/${step}`),
    );
    const oneStep = ['mask-ratio', 'codes', 'mask', 'embedding-noise', 'tokens'].map((name) => `one-step/${name}`);
    const firsts = [...names, ...oneStep].flatMap((name) =>
      [0, 1].map((sample) => randomStream(3, sample, name).uniform(2).join()),
    );
    expect(new Set(firsts).size).toBe(firsts.length);
  });

  it('follow the second implementation: uniform, normal, integers, permutation, forks and large seeds', () => {
    for (const [seed, step, name] of [
      [0, 0, 'a'],
      [2 ** 53 - 1, 2 ** 32 - 1, 'teacher/epoch'],
      [7 * 2 ** 32 + 3, 12, ''],
    ] as const) {
      const reference = referenceStream(seed, step, name);
      expect([...randomStream(seed, step, name).uniform(9)]).toEqual(reference.uniform(9));
      close(randomStream(seed, step, name).normal(7), reference.normal(7));
      for (const below of [1, 6, 7, 1000, 2 ** 31])
        expect([...randomStream(seed, step, name).integers(9, below)]).toEqual(
          reference.integers(9, below).map((x) => x | 0),
        );
      for (const count of [0, 1, 2, 5, 30])
        expect([...randomStream(seed, step, name).permutation(count)]).toEqual(reference.permutation(count));
      // A fork follows from the key, wherever its parent stands.
      const parent = randomStream(seed, step, name);
      parent.uniform(3);
      expect([...parent.fork('child').uniform(5)]).toEqual(referenceStream(seed, step, `${name}/child`).uniform(5));
    }
  });
});
