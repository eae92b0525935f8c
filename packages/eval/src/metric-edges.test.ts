/**
 * The edges of the metrics, worked by hand: samples on the surface of a ball, repeated samples, a k for fidelity and
 * another for density, sets of different sizes, splits that do not divide, equal logits, divisors.
 */
import { describe, expect, it } from 'vitest';
import {
  classConsistency,
  featureStatistics,
  frechetDistance,
  inceptionScore,
  intraClassVariance,
  manifoldMetrics,
  matrix,
  realManifold,
} from './index.js';

const line = (...values: number[]) => matrix(Float64Array.from(values), 1);

describe('precision, recall, density and coverage', () => {
  it('count the surface of a ball as inside for precision and recall, as outside for density and coverage', () => {
    // Real 0, 2, 4, 6 with radius 2; generated 8, 10, 12 with radius 2: 8 is on the ball of 6, and 6 on that of 8.
    const metrics = manifoldMetrics(
      realManifold(line(0, 2, 4, 6), { precisionNeighbors: 1, densityNeighbors: 1 }),
      line(8, 10, 12),
    );
    expect(metrics).toEqual({ precision: 1 / 3, recall: 1 / 4, density: 0, coverage: 0 });
  });

  it('do not count a sample as its own neighbour, but an equal one', () => {
    // Radii of 0, 0, 1, 5 with k = 1: 0, 0, 1, 4. 0.5 is in the ball of 1 alone, -1 in none, 0 in those of all but 5.
    const real = realManifold(line(0, 0, 1, 5), { precisionNeighbors: 1, densityNeighbors: 1 });
    expect([...real.precisionRadii]).toEqual([0, 0, 1, 16]);
    const metrics = manifoldMetrics(real, line(0.5, -1, 0));
    // 0.5 and 0 in a ball (0 on three surfaces or centres); generated radii 0.5, 1, 0.5.
    expect(metrics.precision).toBeCloseTo(2 / 3, 12);
    // Both zeros lie in the ball of 0.5, 1 on its surface; 5 in none.
    expect(metrics.recall).toBeCloseTo(3 / 4, 12);
    // Strictly inside: 0.5 in the ball of 1; 0.5, and nothing else, is 4.5 from 5, outside of 4.
    expect(metrics.density).toBeCloseTo(1 / 3, 12);
    expect(metrics.coverage).toBeCloseTo(1 / 4, 12);
  });

  it('use a k of their own, and the sizes of their own sets', () => {
    // Real 0, 1, 3, 7: nearest 1, 1, 2, 4; second 3, 2, 3, 6; third 7, 6, 4, 7.
    const real = realManifold(line(0, 1, 3, 7), { precisionNeighbors: 1, densityNeighbors: 2 });
    expect([...real.precisionRadii]).toEqual([1, 1, 4, 16]);
    expect([...real.densityRadii]).toEqual([9, 4, 9, 36]);
    const metrics = manifoldMetrics(real, line(2.5, 13.5));
    // Within 1, 1, 2, 4: 2.5 of 3 alone. Within 3, 2, 3, 6: of 0, 1, 3 and 7; 13.5 is 6.5 from 7.
    expect(metrics.precision).toBe(1 / 2);
    expect(metrics.density).toBe(4 / (2 * 2));
    expect(metrics.coverage).toBe(1);
    // Both generated balls have radius 11.
    expect(metrics.recall).toBe(1);
    const three = realManifold(line(0, 1, 3, 7), { precisionNeighbors: 3, densityNeighbors: 1 });
    expect([...three.precisionRadii]).toEqual([49, 36, 16, 49]);
  });

  it('are those of vectors far from 0, and of any number of them', () => {
    const at = (offset: number) => {
      const real = realManifold(line(...[0, 1, 3, 7].map((x) => x + offset)), {
        precisionNeighbors: 1,
        densityNeighbors: 1,
      });
      return manifoldMetrics(real, line(...[0.5, 4, 100].map((x) => x + offset)));
    };
    expect(at(2 ** 30)).toEqual(at(0));
  });
});

describe('Frechet distance', () => {
  it('divides the covariance by the number of samples less one', () => {
    // 0 and 2: variance 2. Against a normal of mean 1 and variance 8: (sqrt 2 - sqrt 8)^2 = 2.
    const { mean, covariance } = featureStatistics(line(0, 2));
    expect([mean[0], covariance[0]]).toEqual([1, 2]);
    const other = { count: 9, mean: Float64Array.of(1), covariance: Float64Array.of(8) };
    expect(frechetDistance(featureStatistics(line(0, 2)), other)).toBeCloseTo(2, 12);
  });
});

describe('inception score', () => {
  const certain = (...classes: number[]) =>
    matrix(Float64Array.from(classes.flatMap((c) => [0, 1].map((other) => Number(other === c)))), 2);

  it('splits into contiguous parts that differ by one, each with a marginal of its own', () => {
    // 5 samples in 2 parts: 0, 1 and 0, 0, 1. Scores 2 and exp(entropy of (2/3, 1/3)).
    const second = Math.exp(-(2 / 3) * Math.log(2 / 3) - (1 / 3) * Math.log(1 / 3));
    const { mean, deviation } = inceptionScore(certain(0, 1, 0, 0, 1), 2);
    expect(mean).toBeCloseTo((2 + second) / 2, 12);
    // Of the population: half of the difference.
    expect(deviation).toBeCloseTo((2 - second) / 2, 12);
    expect(inceptionScore(certain(0, 0, 1, 1), 2)).toEqual({ mean: 1, deviation: 0 });
    expect(inceptionScore(certain(0, 0, 1, 1), 1).mean).toBeCloseTo(2, 12);
  });
});

describe('class metrics', () => {
  it('take the first of equal logits', () => {
    const logits = matrix(Float64Array.from([1, 1, 0, 2, 2, 2]), 3);
    expect(classConsistency(logits, [0, 0])).toBe(1);
    expect(classConsistency(logits, [1, 2])).toBe(0);
  });

  it('divide the variance of a class by its samples less one, and average classes alike', () => {
    // Class 0: 0, 2, 4: variance 4. Class 1: 0, 6: 18. A class of one sample does not count.
    expect(intraClassVariance(line(0, 2, 4, 0, 6, 99), [0, 0, 0, 1, 1, 2])).toBeCloseTo(11, 12);
  });
});
