/**
 * Fidelity and diversity by nearest neighbours: precision and recall (Kynkaanniemi et al. 2019, arXiv 1904.06991),
 * density and coverage (Naeem et al. 2020, arXiv 2002.09797). A sample's ball has the distance to its k-th nearest
 * neighbour in its own set as radius.
 */
import { parseOptions, pickOptions, type GivenOptions, type ResolvedOptions } from '@dimo/core';
import { z } from 'zod';
import { nearestDistances, packVectors, visitDistances, type PackedVectors } from './distances.js';
import { checkMatrix, checkSameColumns, type Matrix } from './matrix.js';
import { manifoldOptions } from './options.js';

const schema = z.strictObject(manifoldOptions);

/** Neighbours that define the balls. */
export type ManifoldOptions = GivenOptions<typeof manifoldOptions>;

/** Precision, recall, density and coverage. */
export interface ManifoldMetrics {
  /** Fraction of generated samples inside a ball of a real one, [0, 1]. */
  readonly precision: number;
  /** Fraction of real samples inside a ball of a generated one, [0, 1]. */
  readonly recall: number;
  /** Mean number of real balls around a generated sample, divided by k: >= 0, about 1 for a perfect generator. */
  readonly density: number;
  /** Fraction of real samples whose ball has a generated sample, [0, 1]. */
  readonly coverage: number;
}

/** Real samples prepared for comparison with several generated sets. */
export interface RealManifold {
  readonly vectors: PackedVectors;
  /** Mean of the real vectors, subtracted from all vectors before distances are taken. */
  readonly origin: Float64Array;
  /** Squared radii. */
  readonly precisionRadii: Float64Array;
  /** Squared radii. */
  readonly densityRadii: Float64Array;
  readonly options: ResolvedOptions<typeof manifoldOptions>;
}

/**
 * Prepares real samples; takes half of the time of the comparison itself.
 *
 * @throws OptionError if k is not less than the number of samples. @throws NonFiniteError
 */
export function realManifold(real: Matrix, options: ManifoldOptions = {}): RealManifold {
  const resolved = parseOptions(schema, pickOptions(manifoldOptions, options), 'evaluation');
  const { precisionNeighbors, densityNeighbors } = resolved;
  const most = Math.max(precisionNeighbors, densityNeighbors);
  checkMatrix('real samples', real, most + 1);
  const origin = new Float64Array(real.columns);
  for (let i = 0; i < real.data.length; i++) origin[i % real.columns]! += real.data[i]! / real.rows;
  const vectors = packVectors(real, origin);
  const nearest = nearestDistances(vectors, most);
  return {
    vectors,
    origin,
    precisionRadii: radii(nearest, most, precisionNeighbors),
    densityRadii: radii(nearest, most, densityNeighbors),
    options: resolved,
  };
}

function radii(nearest: Float64Array, stored: number, k: number): Float64Array {
  return Float64Array.from({ length: nearest.length / stored }, (_, i) => nearest[i * stored + k - 1]!);
}

/**
 * Precision, recall, density and coverage of generated samples. 5,000 against 5,000 vectors of 128 take about two
 * seconds. Compare equal numbers of samples only.
 *
 * As in the authors' code, a sample on the surface of a ball is inside for precision and recall and outside for density
 * and coverage.
 *
 * @throws OptionError, ShapeError, NonFiniteError
 */
export function manifoldMetrics(real: RealManifold, generated: Matrix): ManifoldMetrics {
  const { precisionNeighbors, densityNeighbors } = real.options;
  checkMatrix('generated samples', generated, precisionNeighbors + 1);
  checkSameColumns('generated samples', { rows: 0, columns: real.vectors.length, data: new Float64Array() }, generated);
  const vectors = packVectors(generated, real.origin);
  const generatedRadii = radii(nearestDistances(vectors, precisionNeighbors), precisionNeighbors, precisionNeighbors);
  const { precisionRadii, densityRadii } = real;
  const numReal = real.vectors.count;
  const isRecalled = new Uint8Array(numReal);
  const isCovered = new Uint8Array(numReal);
  let inside = 0;
  let numBalls = 0;
  visitDistances(vectors, real.vectors, false, (row, distances) => {
    const radius = generatedRadii[row]!;
    let isInside = false;
    for (let i = 0; i < numReal; i++) {
      const distance = distances[i]!;
      if (distance <= precisionRadii[i]!) isInside = true;
      if (distance <= radius) isRecalled[i] = 1;
      if (distance < densityRadii[i]!) {
        numBalls++;
        isCovered[i] = 1;
      }
    }
    if (isInside) inside++;
  });
  const fraction = (flags: Uint8Array) => flags.reduce((sum, flag) => sum + flag, 0) / numReal;
  return {
    precision: inside / generated.rows,
    recall: fraction(isRecalled),
    density: numBalls / (densityNeighbors * generated.rows),
    coverage: fraction(isCovered),
  };
}

/** Precision and recall of generated against real samples. @param k - neighbours. */
export function precisionRecall(
  real: Matrix,
  generated: Matrix,
  k?: number,
): Pick<ManifoldMetrics, 'precision' | 'recall'> {
  const { precision, recall } = manifoldMetrics(realManifold(real, manifoldOf(k)), generated);
  return { precision, recall };
}

/** Density and coverage of generated against real samples. @param k - neighbours. */
export function densityCoverage(
  real: Matrix,
  generated: Matrix,
  k?: number,
): Pick<ManifoldMetrics, 'density' | 'coverage'> {
  const { density, coverage } = manifoldMetrics(
    realManifold(real, { ...manifoldOf(k), precisionNeighbors: 1 }),
    generated,
  );
  return { density, coverage };
}

function manifoldOf(k: number | undefined): ManifoldOptions {
  return { precisionNeighbors: k, densityNeighbors: k };
}
