/**
 * Laws: exactly max(1, round(L ratio)) positions of each row are masked; exactly those change; every position is masked
 * equally often; a row depends on its own numbers alone.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { embeddingRms, float32, initialTokens, int32, maskTokens, randomStream, scheduledMask } from '../index.js';
import { chooseMasked } from './masking.js';
import { tinyModel } from '../testing/tiny-model.js';
import { initialMaskRatio, resolveTokenInit } from '../sampling/token-init.js';
import { numMasked } from './masking.js';

const sizes = fc.record({
  batch: fc.integer({ min: 1, max: 5 }),
  length: fc.integer({ min: 1, max: 40 }),
  seed: fc.nat(),
});

function uniforms(shape: number[], seed: number, name = 'u') {
  return float32(shape, randomStream(seed, 0, name).uniform(shape.reduce((a, b) => a * b, 1)));
}

function sumOfRow(data: ArrayLike<number>, row: number, length: number): number {
  return Array.from(data)
    .slice(row * length, (row + 1) * length)
    .reduce((a, b) => a + b, 0);
}

describe('masking', () => {
  it('counts exactly, at least one', () => {
    expect(numMasked(16, 0.6)).toBe(10); // 9.6
    expect(numMasked(5, 0.5)).toBe(2); // 2.5, half to even
    expect(numMasked(49, 0)).toBe(1);
    expect(numMasked(49, 1)).toBe(49);
  });

  it('masks exactly the number that the schedule says, and changes nothing else', () => {
    fc.assert(
      fc.property(sizes, ({ batch, length, seed }) => {
        const { isMasked, maskRatio } = scheduledMask(
          'arccos',
          uniforms([batch], seed, 'ratio'),
          uniforms([batch, length], seed),
        );
        const tokens = int32([batch, length], randomStream(seed, 1, 'tokens').integers(batch * length, 9));
        const masked = maskTokens(tokens, isMasked, 9);
        for (let b = 0; b < batch; b++)
          expect(sumOfRow(isMasked.data, b, length)).toBe(numMasked(length, maskRatio.data[b]!));
        masked.data.forEach((token, i) => expect(token).toBe(isMasked.data[i] ? 9 : tokens.data[i]));
      }),
    );
  });

  it('decides each row from its own numbers', () => {
    fc.assert(
      fc.property(sizes, ({ batch, length, seed }) => {
        const numbers = uniforms([batch, length], seed);
        const counts = Array.from({ length: batch }, (_, b) => 1 + (b % length));
        const together = chooseMasked(numbers, counts);
        for (let b = 0; b < batch; b++) {
          const alone = chooseMasked(float32([1, length], numbers.data.slice(b * length, (b + 1) * length)), [
            counts[b]!,
          ]);
          expect(together.data.slice(b * length, (b + 1) * length)).toEqual(alone.data);
        }
      }),
    );
  });

  it('masks every position equally often', () => {
    const [rows, length, count] = [20_000, 6, 2];
    const { data } = chooseMasked(uniforms([rows, length], 3), new Array<number>(rows).fill(count));
    // Each count is binomial(20000, 1/3): sd 67, so 300 is 4.5 sd.
    for (let i = 0; i < length; i++) {
      let masked = 0;
      for (let row = 0; row < rows; row++) masked += data[row * length + i]!;
      expect(Math.abs(masked - rows / 3)).toBeLessThan(300);
    }
  });

  it('refuses rows without a count', () => {
    expect(() => chooseMasked(uniforms([2, 3], 0), [1])).toThrow('uniforms must be [1, L] for 1 counts, got [2, 3]');
  });
});

describe('token initialization', () => {
  it('masks a fraction of random codes', () => {
    const { tokenSpace } = tinyModel();
    const codes = int32([4, 6], randomStream(0, 0, 'codes').integers(24, 6));
    const tokens = initialTokens({ codes, maskUniforms: uniforms([4, 6], 1) }, 0.6, tokenSpace);
    for (let b = 0; b < 4; b++)
      expect(
        sumOfRow(
          tokens.data.map((token) => (token === 6 ? 1 : 0)),
          b,
          6,
        ),
      ).toBe(4); // 3.6
    tokens.data.forEach((token, i) => expect([6, codes.data[i]]).toContain(token));
  });

  it('draws a ratio from a range', () => {
    expect(initialMaskRatio([0.2, 0.8], 0.5)).toBeCloseTo(0.5, 12);
    expect(initialMaskRatio(0.6, 0.9)).toBe(0.6);
  });

  it('measures embeddings', () => {
    const model = tinyModel({ codebookSize: 1, width: 2 });
    const weights = { 'tokens.weight': float32([2, 2], [3, 4, 0, 0]) };
    expect(embeddingRms(model, weights)).toBe(2.5); // sqrt(25 / 4)
    expect(() => embeddingRms({ ...model, embeddingParameters: [] }, weights)).toThrow('use "unit"');
  });

  it('refuses wrong settings', () => {
    expect(() => resolveTokenInit({ maskRatio: 1.2 })).toThrow('tokenInit.maskRatio');
    expect(() => resolveTokenInit({ maskRatio: [0.8, 0.2] })).toThrow('tokenInit.maskRatio');
    expect(() => resolveTokenInit({ embeddingNoise: -0.1 })).toThrow('tokenInit.embeddingNoise');
    expect(() => resolveTokenInit({ embeddingNoise: { kind: 'linear', scale: 0.1 } })).toThrow('warmupSteps');
  });
});
