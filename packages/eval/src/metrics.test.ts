/**
 * Metrics against NumPy and SciPy (fixtures/make_metrics.py), against Gaussian cases with a known answer, and laws:
 * distance 0 to itself, symmetric, independent of the order of the samples; fractions in [0, 1]; more noise is worse.
 * Everything is float64, so tolerances are 1e-9 relative where not said otherwise.
 */
import { NonFiniteError, OptionError, randomStream, ShapeError } from '@dimo/core';
import fc from 'fast-check';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import {
  classConsistency,
  densityCoverage,
  featureStatistics,
  frechetDistance,
  inceptionScore,
  intraClassVariance,
  manifoldMetrics,
  matrix,
  precisionRecall,
  realManifold,
  softmaxRows,
  takeMatrixRows,
  type FeatureStatistics,
  type Matrix,
} from './index.js';

interface Fixture {
  columns: number;
  numClasses: number;
  real: number[];
  generated: number[];
  logits: number[];
  labels: number[];
  frechetDistance: number;
  covarianceTrace: number;
  manifold: {
    precisionNeighbors: number;
    densityNeighbors: number;
    precision: number;
    recall: number;
    density: number;
    coverage: number;
  }[];
  inceptionScores: { splits: number; mean: number; deviation: number }[];
  classConsistency: number;
  intraClassVariance: number;
}
const fixture = JSON.parse(readFileSync(new URL('../fixtures/metrics.json', import.meta.url), 'utf8')) as Fixture;
const real = matrix(Float32Array.from(fixture.real), fixture.columns);
const generated = matrix(Float32Array.from(fixture.generated), fixture.columns);
const logits = matrix(Float32Array.from(fixture.logits), fixture.numClasses);

/** Standard normal vectors, times `scale`, plus `shift`. */
function normal(rows: number, columns: number, seed: number, scale = 1, shift = 0): Matrix {
  const values = randomStream(seed, 0, 'features').normal(rows * columns);
  return matrix(
    values.map((value) => value * scale + shift),
    columns,
  );
}

function shuffled(source: Matrix, seed: number): Matrix {
  return takeMatrixRows(source, randomStream(seed, 0, 'order').permutation(source.rows));
}

function statistics(mean: number[], covariance: number[]): FeatureStatistics {
  return { count: 1000, mean: Float64Array.from(mean), covariance: Float64Array.from(covariance) };
}

const distanceOf = (a: Matrix, b: Matrix) => frechetDistance(featureStatistics(a), featureStatistics(b));

describe('Frechet distance', () => {
  it('equals SciPy on correlated features', () => {
    expect(distanceOf(real, generated)).toBeCloseTo(fixture.frechetDistance, 9);
    const { covariance } = featureStatistics(real);
    let trace = 0;
    for (let d = 0; d < 6; d++) trace += covariance[d * 7]!;
    expect(trace).toBeCloseTo(fixture.covarianceTrace, 9);
  });

  it('is |m1 - m2|^2 + sum (s1 - s2)^2 for independent components', () => {
    // (3, 4) apart: 25. Deviations 1, 2 against 3, 2: (1 - 3)^2 + 0 = 4.
    expect(frechetDistance(statistics([0, 0], [1, 0, 0, 4]), statistics([3, 4], [9, 0, 0, 4]))).toBeCloseTo(29, 12);
  });

  it('has the closed form of two correlated 2-d normals', () => {
    // tr (S1 S2)^1/2 = sqrt(tr S1 S2 + 2 sqrt(det S1 det S2)): S1 = [2 1; 1 2], S2 = [1 -0.5; -0.5 3]:
    // tr S1 S2 = 7, dets 3 and 2.75; traces 4 + 4.
    const expected = 8 - 2 * Math.sqrt(7 + 2 * Math.sqrt(3 * 2.75));
    expect(frechetDistance(statistics([1, 1], [2, 1, 1, 2]), statistics([1, 1], [1, -0.5, -0.5, 3]))).toBeCloseTo(
      expected,
      12,
    );
  });

  it('takes singular covariances', () => {
    // A point against a unit normal in 2-d: 0 + 0 + 2 - 0.
    expect(frechetDistance(statistics([0, 0], [0, 0, 0, 0]), statistics([0, 0], [1, 0, 0, 1]))).toBeCloseTo(2, 12);
    const line = statistics([0, 0], [1, 1, 1, 1]);
    expect(frechetDistance(line, line)).toBeCloseTo(0, 9);
  });

  it('keeps its digits far from 0', () => {
    // A shift of both sets changes nothing but float32 rounding of the features (ulp 0.0078 at 1e5).
    const [a, b] = [normal(500, 4, 0), normal(500, 4, 1, 1.5)];
    const far = (m: Matrix) =>
      matrix(
        Float64Array.from(m.data, (value) => value + 1e5),
        4,
      );
    expect(distanceOf(far(a), far(b))).toBeCloseTo(distanceOf(a, b), 8);
  });

  it('is 0 to itself, symmetric and independent of the order', () => {
    fc.assert(
      fc.property(
        fc.nat(1000),
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 2, max: 30 }),
        (seed, columns, rows) => {
          const a = normal(rows, columns, seed);
          const b = normal(rows + 3, columns, seed + 1, 2, 1);
          const distance = distanceOf(a, b);
          expect(distanceOf(a, a)).toBeLessThan(1e-7);
          expect(distanceOf(b, a)).toBeCloseTo(distance, 5);
          expect(distanceOf(shuffled(a, seed), shuffled(b, seed))).toBeCloseTo(distance, 5);
          expect(distance).toBeGreaterThan(0);
        },
      ),
      { numRuns: 50 },
    );
  });

  it('grows with the noise', () => {
    const clean = normal(400, 8, 0);
    const noisy = (scale: number) => {
      const noise = normal(400, 8, 1, scale);
      return matrix(clean.data.map((value: number, i: number) => value + noise.data[i]!) as Float32Array, 8);
    };
    const distances = [0, 0.5, 1, 2, 4].map((scale) => distanceOf(clean, noisy(scale)));
    expect([...distances].sort((a, b) => a - b)).toEqual(distances);
  });

  it('refuses what it cannot judge', () => {
    expect(() => distanceOf(real, normal(10, 5, 0))).toThrow(ShapeError);
    expect(() => featureStatistics(normal(1, 3, 0))).toThrow(OptionError);
    expect(() => featureStatistics(matrix(Float32Array.from([1, 2, 3, NaN]), 2))).toThrow(
      /sample 1 has the value NaN at position 1/,
    );
    expect(() => matrix(new Float32Array(7), 2)).toThrow(ShapeError);
  });
});

describe('inception score', () => {
  it.each(fixture.inceptionScores)('equals SciPy with $splits splits', ({ splits, mean, deviation }) => {
    const score = inceptionScore(softmaxRows(logits), splits);
    expect(score.mean).toBeCloseTo(mean, 10);
    expect(score.deviation).toBeCloseTo(deviation, 10);
  });

  it('is the number of classes for certain and even predictions, 1 for equal ones', () => {
    const certain = matrix(Float64Array.from([1, 0, 0, 0, 1, 0, 0, 0, 1]), 3);
    expect(inceptionScore(certain).mean).toBeCloseTo(3, 12);
    const equal = matrix(Float64Array.from([0.2, 0.8, 0.2, 0.8]), 2);
    expect(inceptionScore(equal).mean).toBeCloseTo(1, 12);
  });

  it('falls as predictions get less certain', () => {
    const scores = [8, 4, 2, 1, 0].map(
      (sharpness) =>
        inceptionScore(softmaxRows(matrix(logits.data.map((v: number) => v * sharpness) as Float32Array, 4))).mean,
    );
    expect([...scores].sort((a, b) => b - a)).toEqual(scores);
    expect(scores.at(-1)).toBeCloseTo(1, 12);
  });

  it('refuses logits, empty splits and NaN', () => {
    expect(() => inceptionScore(logits)).toThrow(/softmaxRows/);
    expect(() => inceptionScore(softmaxRows(logits), 55)).toThrow(OptionError);
    expect(() => inceptionScore(softmaxRows(logits), 0)).toThrow(OptionError);
    expect(() => inceptionScore(matrix(Float32Array.from([NaN, 1]), 2))).toThrow(NonFiniteError);
  });
});

describe('precision, recall, density, coverage', () => {
  it.each(fixture.manifold)('equal NumPy with k = $precisionNeighbors, $densityNeighbors', (expected) => {
    const metrics = manifoldMetrics(realManifold(real, expected), generated);
    for (const name of ['precision', 'recall', 'density', 'coverage'] as const)
      expect(metrics[name], name).toBeCloseTo(expected[name], 12);
    const { precision, recall } = precisionRecall(real, generated, expected.precisionNeighbors);
    expect([precision, recall]).toEqual([metrics.precision, metrics.recall]);
    const { density, coverage } = densityCoverage(real, generated, expected.densityNeighbors);
    expect([density, coverage]).toEqual([metrics.density, metrics.coverage]);
  });

  it('are right by hand on a line', () => {
    // Real 0, 1, 3, 7; k = 1: radii 1, 1, 2, 4. Generated 0.5, 4, 100; radii 3.5, 3.5, 96.
    const a = matrix(Float32Array.from([0, 1, 3, 7]), 1);
    const b = matrix(Float32Array.from([0.5, 4, 100]), 1);
    const metrics = manifoldMetrics(realManifold(a, { precisionNeighbors: 1, densityNeighbors: 1 }), b);
    // 0.5 is in the balls of 0 and 1; 4 in those of 3 and 7; 100 in none. Every real one is in a generated ball.
    expect(metrics.precision).toBeCloseTo(2 / 3, 12);
    expect(metrics.recall).toBe(1);
    expect(metrics.density).toBeCloseTo(4 / 3, 12);
    expect(metrics.coverage).toBe(1);
  });

  it('stay in range, ignore the order, and are 1 for the same set', () => {
    fc.assert(
      fc.property(
        fc.nat(1000),
        fc.integer({ min: 1, max: 7 }),
        fc.integer({ min: 6, max: 40 }),
        (seed, columns, rows) => {
          const a = normal(rows, columns, seed);
          const b = normal(rows + 5, columns, seed + 1, 1.2);
          const metrics = manifoldMetrics(realManifold(a), b);
          for (const name of ['precision', 'recall', 'coverage'] as const) {
            expect(metrics[name]).toBeGreaterThanOrEqual(0);
            expect(metrics[name]).toBeLessThanOrEqual(1);
          }
          expect(metrics.density).toBeGreaterThanOrEqual(0);
          const again = manifoldMetrics(realManifold(shuffled(a, seed)), shuffled(b, seed));
          for (const name of ['precision', 'recall', 'density', 'coverage'] as const)
            expect(again[name]).toBeCloseTo(metrics[name], 12);
          const same = manifoldMetrics(realManifold(a), a);
          expect([same.precision, same.recall, same.coverage]).toEqual([1, 1, 1]);
        },
      ),
      { numRuns: 50 },
    );
  });

  it('move in the right direction', () => {
    const reference = realManifold(normal(300, 6, 0));
    const alike = manifoldMetrics(reference, normal(300, 6, 1));
    const noisy = manifoldMetrics(reference, normal(300, 6, 1, 3));
    const collapsed = manifoldMetrics(reference, normal(300, 6, 1, 0.2));
    expect(noisy.precision).toBeLessThan(alike.precision - 0.2);
    expect(noisy.density).toBeLessThan(alike.density - 0.2);
    expect(collapsed.precision).toBeGreaterThan(alike.precision);
    expect(collapsed.recall).toBeLessThan(alike.recall - 0.2);
    expect(collapsed.coverage).toBeLessThan(alike.coverage - 0.2);
    // Density is about 1 for samples of the same distribution.
    expect(Math.abs(alike.density - 1)).toBeLessThan(0.15);
  });

  it('refuse what they cannot judge', () => {
    expect(() => realManifold(normal(5, 2, 0))).toThrow(OptionError);
    expect(() => realManifold(real, { precisionNeighbors: 0 })).toThrow(OptionError);
    expect(() => manifoldMetrics(realManifold(real), normal(10, 5, 0))).toThrow(ShapeError);
    expect(() => manifoldMetrics(realManifold(real), normal(3, 6, 0))).toThrow(OptionError);
  });
});

describe('class metrics', () => {
  it('equal NumPy', () => {
    expect(classConsistency(logits, fixture.labels)).toBeCloseTo(fixture.classConsistency, 12);
    expect(intraClassVariance(generated, fixture.labels)).toBeCloseTo(fixture.intraClassVariance, 9);
  });

  it('see a collapse that the consistency does not', () => {
    // Class 0 at (0, 0) and (2, 0): variance 2. Class 1 at (5, 5) three times: 0.
    const features = matrix(Float32Array.from([0, 0, 2, 0, 5, 5, 5, 5, 5, 5]), 2);
    expect(intraClassVariance(features, [0, 0, 1, 1, 1])).toBeCloseTo(1, 12);
    expect(intraClassVariance(features, [0, 0, 1, 2, 3])).toBeCloseTo(2, 12);
  });

  it('refuse labels that do not fit', () => {
    expect(() => classConsistency(logits, [0])).toThrow(ShapeError);
    expect(() =>
      classConsistency(
        logits,
        fixture.labels.map(() => 4),
      ),
    ).toThrow(OptionError);
    expect(() =>
      intraClassVariance(
        generated,
        fixture.labels.map((_, i) => i),
      ),
    ).toThrow(OptionError);
  });
});
