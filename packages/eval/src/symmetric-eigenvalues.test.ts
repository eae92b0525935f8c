/** Eigenvalues: worked by hand, with known spectra, and the laws of the trace and of the sum of squares. */
import { randomStream } from '@dimo/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { symmetricEigenvalues } from './symmetric-eigenvalues.js';

const sorted = (values: Float64Array) => [...values].sort((a, b) => a - b);

describe('eigenvalues of symmetric matrices', () => {
  it('are those worked by hand', () => {
    expect(sorted(symmetricEigenvalues(Float64Array.of(), 0))).toEqual([]);
    expect(sorted(symmetricEigenvalues(Float64Array.of(7), 1))).toEqual([7]);
    // (2 - x)^2 - 1 = 0.
    const two = sorted(symmetricEigenvalues(Float64Array.of(2, 1, 1, 2), 2));
    expect(two[0]).toBeCloseTo(1, 12);
    expect(two[1]).toBeCloseTo(3, 12);
    // Already diagonal, with a zero and equal ones.
    const diagonal = Float64Array.of(3, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, -1);
    expect(sorted(symmetricEigenvalues(diagonal, 4))).toEqual([-1, 0, 3, 3]);
  });

  it('are those of the second difference, 2 - 2 cos (pi k / (n + 1))', () => {
    const n = 40;
    const matrix = Float64Array.from({ length: n * n }, (_, i) => {
      const apart = Math.abs(Math.floor(i / n) - (i % n));
      return apart === 0 ? 2 : apart === 1 ? -1 : 0;
    });
    const found = sorted(symmetricEigenvalues(matrix, n));
    for (let k = 1; k <= n; k++) expect(found[k - 1]).toBeCloseTo(2 - 2 * Math.cos((Math.PI * k) / (n + 1)), 12);
  });

  it('keep the trace and the sum of squares, and count the rank', () => {
    fc.assert(
      fc.property(fc.nat(1000), fc.integer({ min: 1, max: 24 }), fc.integer({ min: 1, max: 24 }), (seed, n, rank) => {
        const x = randomStream(seed, 0, 'matrix').normal(n * rank);
        const matrix = new Float64Array(n * n);
        for (let i = 0; i < n; i++)
          for (let j = 0; j < n; j++)
            for (let k = 0; k < rank; k++) matrix[i * n + j]! += x[i * rank + k]! * x[j * rank + k]!;
        const given = matrix.slice();
        const found = symmetricEigenvalues(matrix, n);
        expect(matrix).toEqual(given);
        const sum = (values: Float64Array) => values.reduce((total, value) => total + value, 0);
        const trace = sum(matrix.filter((_, i) => i % (n + 1) === 0));
        expect(sum(found)).toBeCloseTo(trace, 9);
        expect(sum(found.map((value) => value * value))).toBeCloseTo(sum(matrix.map((value) => value * value)), 7);
        const positive = found.filter((value) => value > 1e-9 * trace).length;
        expect(positive).toBe(Math.min(n, rank));
      }),
      { numRuns: 100 },
    );
  });
});
