/** Mean and covariance of features, of a set in memory or of one that passes by in parts. */
import { OptionError } from '@dimo/core';
import { multiplyPanels } from './distances.js';
import { checkMatrix, checkSameColumns, type Matrix } from './matrix.js';

/** Mean and covariance of a set of features. */
export interface FeatureStatistics {
  /** Number of samples that they were computed from; absent in files that do not say it. */
  readonly count?: number;
  /** [D]. */
  readonly mean: Float64Array;
  /** [D, D], row-major, symmetric, with the unbiased divisor count - 1. */
  readonly covariance: Float64Array;
}

/** Statistics of samples that come in parts. */
export interface RunningStatistics {
  /** Adds samples [count, D]. @throws ShapeError for another width. @throws NonFiniteError */
  add(features: Matrix): void;
  /** Of all samples so far. @throws OptionError for fewer than 2 of them. */
  finish(): FeatureStatistics & { readonly count: number };
}

/** Samples that are added at once. */
const chunkRows = 256;
/** Columns per panel. */
const width = 4;

/**
 * Mean and covariance in float64. Each part is centred on its own mean and the parts are put together as Chan, Golub and
 * LeVeque do (1983), so no large squares are subtracted however many samples there are and however far from 0 they lie.
 *
 * @param columns - D.
 */
export function runningStatistics(columns: number): RunningStatistics {
  const mean = new Float64Array(columns);
  // Upper triangle of the sum of products of differences from the mean.
  const products = new Float64Array(columns * columns);
  const panels = new Float64Array(Math.ceil(columns / width) * width * chunkRows);
  const difference = new Float64Array(columns);
  const block = new Float64Array(width * width);
  let count = 0;

  function addChunk({ data }: Matrix, from: number, rows: number): void {
    difference.fill(0);
    for (let i = 0; i < rows; i++)
      for (let d = 0; d < columns; d++) difference[d]! += data[(from + i) * columns + d]! / rows;
    for (let i = 0; i < rows; i++)
      for (let d = 0; d < columns; d++)
        panels[(d - (d % width)) * rows + i * width + (d % width)] = data[(from + i) * columns + d]! - difference[d]!;
    for (let d = 0; d < columns; d++) difference[d]! -= mean[d]!;
    const share = (count * rows) / (count + rows);
    for (let d = 0; d < columns; d += width)
      for (let e = d; e < columns; e += width) {
        multiplyPanels(panels, d * rows, panels, e * rows, rows, block, 0, width);
        for (let r = 0; r < Math.min(width, columns - d); r++) {
          const scaled = share * difference[d + r]!;
          const row = (d + r) * columns;
          for (let c = 0; c < Math.min(width, columns - e); c++)
            products[row + e + c]! += block[r * width + c]! + scaled * difference[e + c]!;
        }
      }
    for (let d = 0; d < columns; d++) mean[d]! += (difference[d]! * rows) / (count + rows);
    count += rows;
  }

  return {
    add(features) {
      checkMatrix('featureStatistics', features, 0);
      checkSameColumns('featureStatistics', { rows: 0, columns, data: new Float64Array() }, features);
      for (let from = 0; from < features.rows; from += chunkRows)
        addChunk(features, from, Math.min(chunkRows, features.rows - from));
    },
    finish() {
      if (count < 2) throw new OptionError(`featureStatistics: needs at least 2 samples, got ${count}`);
      const covariance = new Float64Array(columns * columns);
      for (let d = 0; d < columns; d++)
        for (let e = d; e < columns; e++)
          covariance[d * columns + e] = covariance[e * columns + d] = products[d * columns + e]! / (count - 1);
      return { count, mean: mean.slice(), covariance };
    },
  };
}

/**
 * Mean and covariance of a set in memory.
 *
 * @throws OptionError for fewer than 2 samples. @throws NonFiniteError
 */
export function featureStatistics(features: Matrix): FeatureStatistics & { readonly count: number } {
  const running = runningStatistics(features.columns);
  running.add(features);
  return running.finish();
}
