/** Frechet distance of two sets of features (Heusel et al. 2017, arXiv 1706.08500): FID where the features are Inception's. */
import { NonFiniteError, ShapeError } from '@dimo/core';
import { EigenvalueDecomposition, Matrix as Dense } from 'ml-matrix';
import { checkMatrix, rowOf, type Matrix } from './matrix.js';

/** Mean and covariance of a set of features. */
export interface FeatureStatistics {
  /** Number of samples that they were computed from. */
  readonly count: number;
  /** [D]. */
  readonly mean: Float64Array;
  /** [D, D], row-major, symmetric, with the unbiased divisor count - 1. */
  readonly covariance: Float64Array;
}

/**
 * Mean and covariance in two passes, float64 throughout: no difference of large squares.
 *
 * @throws OptionError for fewer than 2 samples. @throws NonFiniteError
 */
export function featureStatistics(features: Matrix): FeatureStatistics {
  checkMatrix('featureStatistics', features, 2);
  const { rows, columns } = features;
  const mean = new Float64Array(columns);
  for (let i = 0; i < rows; i++) {
    const row = rowOf(features, i);
    for (let d = 0; d < columns; d++) mean[d]! += row[d]!;
  }
  for (let d = 0; d < columns; d++) mean[d]! /= rows;
  const covariance = new Float64Array(columns * columns);
  const centred = new Float64Array(columns);
  for (let i = 0; i < rows; i++) {
    const row = rowOf(features, i);
    for (let d = 0; d < columns; d++) centred[d] = row[d]! - mean[d]!;
    for (let d = 0; d < columns; d++) {
      const value = centred[d]!;
      if (value === 0) continue;
      const start = d * columns;
      for (let e = d; e < columns; e++) covariance[start + e]! += value * centred[e]!;
    }
  }
  for (let d = 0; d < columns; d++)
    for (let e = d; e < columns; e++) {
      const value = covariance[d * columns + e]! / (rows - 1);
      covariance[d * columns + e] = value;
      covariance[e * columns + d] = value;
    }
  return { count: rows, mean, covariance };
}

/**
 * Squared Frechet distance of the normal distributions with the given statistics.
 *
 *   |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1^1/2 S2 S1^1/2)^1/2
 *
 * The square roots come from symmetric eigendecompositions, with negative eigenvalues (rounding) taken as 0, so
 * singular covariances need no correction term. The value depends on the number of samples: compare equal numbers only.
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
  const root = squareRoot(dense(a.covariance, length));
  const product = root.mmul(dense(b.covariance, length)).mmul(root);
  const { realEigenvalues } = eigen(product.add(product.transpose()).mul(0.5));
  let trace = 0;
  for (const value of realEigenvalues) trace += Math.sqrt(Math.max(0, value));
  return Math.max(0, distance - 2 * trace);
}

function dense(values: Float64Array, length: number): Dense {
  return Dense.from1DArray(length, length, values);
}

function eigen(symmetric: Dense): EigenvalueDecomposition {
  return new EigenvalueDecomposition(symmetric, { assumeSymmetric: true });
}

/** The positive semidefinite root of a symmetric matrix. */
function squareRoot(symmetric: Dense): Dense {
  const { realEigenvalues, eigenvectorMatrix } = eigen(symmetric);
  const roots = realEigenvalues.map((value) => Math.sqrt(Math.max(0, value)));
  const scaled = eigenvectorMatrix.clone();
  for (let c = 0; c < roots.length; c++) scaled.mulColumn(c, roots[c]!);
  return scaled.mmul(eigenvectorMatrix.transpose());
}
