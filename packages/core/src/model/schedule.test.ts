/**
 * Laws: training schedules stay in [0, 1]; those named after a curve are monotone and hit their ends; the sampler's
 * counts are positive up to the last and sum to L; learning rates start at 0 when there is a warm-up and never exceed
 * the peak.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { embeddingNoiseScale, learningRateFactor, maskRatioAt, movingAverageDecay, tokensPerStep } from '../index.js';
import { maskRatioSchedules } from './schedule.js';
import { roundHalfEven, unmaskingSchedules } from './schedule.js';
import { standardNormalDistribution, truncatedNormalQuantile } from '../random/truncated-normal.js';

const unit = fc.float({ min: 0, max: 1, noNaN: true });

describe('mask ratio schedules', () => {
  it.each(maskRatioSchedules)('%s stays in [0, 1] and is monotone', (schedule) => {
    const isFalling = schedule === 'cosine' || schedule === 'arccos';
    fc.assert(
      fc.property(unit, unit, (a, b) => {
        const [low, high] = [maskRatioAt(schedule, Math.min(a, b)), maskRatioAt(schedule, Math.max(a, b))];
        expect(Math.min(low, high)).toBeGreaterThanOrEqual(0);
        expect(Math.max(low, high)).toBeLessThanOrEqual(1);
        if (isFalling) expect(low).toBeGreaterThanOrEqual(high);
        else expect(low).toBeLessThanOrEqual(high);
      }),
    );
  });

  it('hit their ends', () => {
    for (const schedule of ['linear', 'square'] as const) {
      expect(maskRatioAt(schedule, 0)).toBe(0);
      expect(maskRatioAt(schedule, 1)).toBe(1);
    }
    for (const schedule of ['cosine', 'arccos'] as const) {
      expect(maskRatioAt(schedule, 0)).toBe(1);
      expect(maskRatioAt(schedule, 1)).toBeCloseTo(0, 7);
    }
    expect(maskRatioAt('mage', 0)).toBeCloseTo(0.5, 6);
    expect(maskRatioAt('mage', 1)).toBeCloseTo(1, 6);
    // acos(1/2) = pi/3, two thirds of pi/2.
    expect(maskRatioAt('arccos', 0.5)).toBeCloseTo(2 / 3, 6);
  });

  it('mage has the mean of the truncated normal', () => {
    // mean + sd (phi(a) - phi(b)) / (Phi(b) - Phi(a)), a = -0.2, b = 1.8
    const density = (z: number) => Math.exp(-0.5 * z * z) / Math.sqrt(2 * Math.PI);
    const [a, b] = [-0.2, 1.8];
    const mass = standardNormalDistribution(b) - standardNormalDistribution(a);
    const expected = 0.55 + (0.25 * (density(a) - density(b))) / mass;
    const n = 10_000;
    let mean = 0;
    for (let i = 0; i < n; i++) mean += maskRatioAt('mage', (i + 0.5) / n) / n;
    expect(mean).toBeCloseTo(expected, 5);
  });

  it('knows the normal distribution', () => {
    // Table values: Phi(1) = 0.8413447460685429, Phi(-1.96) = 0.024997895148220435.
    expect(standardNormalDistribution(1)).toBeCloseTo(0.8413447460685429, 14);
    expect(standardNormalDistribution(-1.96)).toBeCloseTo(0.024997895148220435, 14);
    expect(standardNormalDistribution(0)).toBe(0.5);
    const wide = { mean: 0, deviation: 1, lower: -7, upper: 7 };
    expect(truncatedNormalQuantile(0.8413447460685429, wide)).toBeCloseTo(1, 9);
  });

  it('refuses an unknown name', () => {
    expect(() => maskRatioAt('sine' as never, 0.5)).toThrow('linear, square, cosine, arccos, mage');
  });
});

describe('tokens per step', () => {
  it('sum to the sequence length, and are positive before the last', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...unmaskingSchedules),
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 1, max: 300 }),
        (schedule, numSteps, numTokens) => {
          const counts = tokensPerStep(schedule, numSteps, numTokens);
          expect(counts).toHaveLength(numSteps);
          expect(counts.reduce((a, b) => a + b, 0)).toBe(numTokens);
          // The last masked token waits for the last step of `cosine-remaining`.
          const least = schedule === 'cosine-remaining' && numSteps > numTokens ? 0 : 1;
          expect(counts.slice(0, -1).every((count) => count >= least)).toBe(true);
        },
      ),
    );
  });

  it('leave floor(L cos(pi/2 (i + 1) / T)) masked with cosine-remaining', () => {
    // 64 cos(pi/8) = 59.1, 64 cos(pi/4) = 45.3, 64 cos(3 pi/8) = 24.5
    expect(tokensPerStep('cosine-remaining', 4, 64)).toEqual([64 - 59, 59 - 45, 45 - 24, 24]);
    expect(tokensPerStep('cosine-remaining', 4, 2)).toEqual([1, 0, 0, 1]);
  });

  it('decides everything in a single step', () => {
    expect(tokensPerStep('arccos', 1, 49)).toEqual([49]);
  });
});

describe('rounding', () => {
  it('rounds halves to even', () => {
    expect([0.5, 1.5, 2.5, 2.4999, 2.5001, -1.5].map(roundHalfEven)).toEqual([0, 2, 2, 2, 3, -2]);
  });
});

describe('learning rates', () => {
  it('warm up from exactly 0 and never exceed the peak', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('constant', 'cosine', 'linear', 'constant-then-linear' as const),
        fc.integer({ min: 1, max: 50 }),
        fc.integer({ min: 0, max: 200 }),
        (kind, warmupSteps, step) => {
          const schedule = { kind, warmupSteps, finalFraction: 0.05 } as const;
          expect(learningRateFactor(schedule, 0, 200)).toBe(0);
          const factor = learningRateFactor(schedule, step, 200);
          expect(factor).toBeGreaterThanOrEqual(0);
          expect(factor).toBeLessThanOrEqual(1);
          expect(learningRateFactor(schedule, warmupSteps, 200)).toBe(1);
        },
      ),
    );
  });

  it('reach the final fraction', () => {
    for (const kind of ['cosine', 'linear', 'constant-then-linear'] as const)
      expect(learningRateFactor({ kind, finalFraction: 0.05 }, 100, 100)).toBeCloseTo(0.05, 12);
    // Half of the way from step 60 to step 100: the middle of 1 and 0.05.
    const recipe = { kind: 'constant-then-linear', finalFraction: 0.05, warmupSteps: 20 } as const;
    expect(learningRateFactor(recipe, 59, 100)).toBe(1);
    expect(learningRateFactor(recipe, 80, 100)).toBeCloseTo(0.525, 12);
    expect(learningRateFactor({ kind: 'cosine' }, 50, 100)).toBeCloseTo(0.5, 12);
  });
});

describe('embedding noise and average', () => {
  it('scale the warm-ups to their final value', () => {
    for (const kind of ['linear', 'cosine'] as const) {
      expect(embeddingNoiseScale({ kind, scale: 0.3, warmupSteps: 10 }, 0)).toBe(0);
      expect(embeddingNoiseScale({ kind, scale: 0.3, warmupSteps: 10 }, 5)).toBeCloseTo(0.15, 12);
      expect(embeddingNoiseScale({ kind, scale: 0.3, warmupSteps: 10 }, 99)).toBeCloseTo(0.3, 12);
    }
    expect(embeddingNoiseScale({ scale: 0.1 }, 7)).toBe(0.1);
  });

  it('ramps the decay of the average', () => {
    expect(movingAverageDecay(0.9999, 0)).toBe(0.1);
    expect(movingAverageDecay(0.9999, 100)).toBeCloseTo(101 / 110, 12);
    expect(movingAverageDecay(0.9999, 89_990)).toBe(0.9999);
  });
});
