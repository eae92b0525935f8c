/** Frechet distance of two sets of features (Heusel et al. 2017, arXiv 1706.08500): FID where the features are Inception's. */
import { NonFiniteError, ShapeError } from '@dimo/core';
import { innerProducts, packVectors } from './distances.js';
import type { FeatureStatistics } from './feature-statistics.js';
import { symmetricEigenvalues } from './symmetric-eigenvalues.js';

/**
 * Squared Frechet distance of the normal distributions with the given statistics.
 *
 *   |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^1/2
 *
 * With S1 = R^T R, the eigenvalues of S1 S2 are those of the symmetric R S2 R^T, whose square roots are summed; negative
 * ones (rounding) are taken as 0, so singular covariances need no correction term. Covariances of 2048 features take
 * about half a minute. The value depends on the number of samples: compare equal numbers only.
 *
 * @throws ShapeError if the features are of different lengths. @throws NonFiniteError
 */
export function frechetDistance(a: FeatureStatistics, b: FeatureStatistics): number {
  const length = a.mean.length;
  for (const { mean, covariance } of [a, b])
    if (mean.length !== length || covariance.length !== length * length)
      throw new ShapeError(
        `frechetDistance: statistics must be of features of one length, got means of ${a.mean.length} and ${b.mean.length}`,
      );
  if ([a, b].some(({ mean, covariance }) => !mean.every(Number.isFinite) || !covariance.every(Number.isFinite)))
    throw new NonFiniteError('frechetDistance: means and covariances must be finite numbers');
  let distance = 0;
  for (let d = 0; d < length; d++) {
    const difference = a.mean[d]! - b.mean[d]!;
    distance += difference * difference + a.covariance[d * length + d]! + b.covariance[d * length + d]!;
  }
  const factor = choleskyRows(a.covariance, length);
  const rank = factor.length / length;
  const packed = (data: Float64Array, rows: number) => packVectors({ rows, columns: length, data });
  const rows = packed(factor, rank);
  const half = innerProducts(rows, packed(b.covariance, length));
  const product = innerProducts(packed(half, rank), rows);
  for (let i = 0; i < rank; i++)
    for (let j = 0; j < i; j++) product[i * rank + j] = (product[i * rank + j]! + product[j * rank + i]!) / 2;
  let trace = 0;
  for (const value of symmetricEigenvalues(product, rank)) trace += Math.sqrt(Math.max(0, value));
  return Math.max(0, distance - 2 * trace);
}

/**
 * R [rank, n] with S = R^T R: Cholesky decomposition with pivots, which ends where nothing but rounding is left.
 *
 * @param symmetric - [n, n], positive semidefinite.
 */
function choleskyRows(symmetric: Float64Array, n: number): Float64Array {
  const rest = Float64Array.from({ length: n }, (_, i) => symmetric[i * (n + 1)]!);
  const smallest = Number.EPSILON * rest.reduce((most, value) => Math.max(most, value), 0);
  const rows = new Float64Array(n * n);
  for (let rank = 0; rank < n; rank++) {
    let pivot = 0;
    for (let i = 1; i < n; i++) if (rest[i]! > rest[pivot]!) pivot = i;
    if (!(rest[pivot]! > smallest)) return rows.slice(0, rank * n);
    const row = rows.subarray(rank * n, (rank + 1) * n);
    row.set(symmetric.subarray(pivot * n, (pivot + 1) * n));
    for (let k = 0; k < rank; k++) {
      const known = k * n;
      const factor = rows[known + pivot]!;
      for (let i = 0; i < n; i++) row[i]! -= factor * rows[known + i]!;
    }
    const root = Math.sqrt(rest[pivot]!);
    for (let i = 0; i < n; i++) {
      // Of earlier pivots nothing is left.
      if (rest[i] === -Infinity) row[i] = 0;
      row[i]! /= root;
      rest[i]! -= row[i]! * row[i]!;
    }
    row[pivot] = root;
    rest[pivot] = -Infinity;
  }
  return rows;
}
