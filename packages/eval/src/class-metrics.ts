/** Metrics of class-conditional samples: do they belong to their class, and how different are they within it. */
import { OptionError, ShapeError } from '@dimo/core';
import { checkMatrix, rowOf, type Matrix } from './matrix.js';

/**
 * Fraction of samples whose largest logit (or probability) is that of the class they were asked for, [0, 1]. It is best
 * exactly when modes are lost: read it beside recall, coverage and the intra-class variance.
 *
 * @param logits - one row per sample.
 * @param labels - class of each sample.
 * @throws ShapeError if the numbers differ. @throws OptionError for a label that is no class.
 */
export function classConsistency(logits: Matrix, labels: ArrayLike<number>): number {
  checkMatrix('classConsistency', logits, 1);
  checkLabels('classConsistency', logits, labels);
  let right = 0;
  for (let i = 0; i < logits.rows; i++) {
    const row = rowOf(logits, i);
    const label = labels[i]!;
    if (!Number.isInteger(label) || label < 0 || label >= logits.columns)
      throw new OptionError(`classConsistency: label ${label} of sample ${i} is not in [0, ${logits.columns})`);
    let best = 0;
    for (let c = 1; c < logits.columns; c++) if (row[c]! > row[best]!) best = c;
    if (best === label) right++;
  }
  return right / logits.rows;
}

/**
 * Trace of the feature covariance (divisor count - 1) inside a class, averaged over the classes that have at least two
 * samples: the gauge of mode collapse.
 *
 * @param labels - class that each sample was asked for.
 * @throws ShapeError if the numbers differ. @throws OptionError if no class has two samples.
 */
export function intraClassVariance(features: Matrix, labels: ArrayLike<number>): number {
  checkMatrix('intraClassVariance', features, 2);
  checkLabels('intraClassVariance', features, labels);
  const { rows, columns } = features;
  const classes = new Map<number, { count: number; mean: Float64Array; squares: number }>();
  for (let i = 0; i < rows; i++) {
    const label = labels[i]!;
    let found = classes.get(label);
    if (!found) classes.set(label, (found = { count: 0, mean: new Float64Array(columns), squares: 0 }));
    found.count++;
    const row = rowOf(features, i);
    // Welford: exact to rounding for any offset of the features.
    for (let d = 0; d < columns; d++) {
      const difference = row[d]! - found.mean[d]!;
      found.mean[d]! += difference / found.count;
      found.squares += difference * (row[d]! - found.mean[d]!);
    }
  }
  const traces = [...classes.values()]
    .filter(({ count }) => count > 1)
    .map(({ count, squares }) => squares / (count - 1));
  if (traces.length === 0) throw new OptionError('intraClassVariance: no class has two samples; evaluate more samples');
  return traces.reduce((sum, trace) => sum + trace, 0) / traces.length;
}

function checkLabels(where: string, { rows }: Matrix, labels: ArrayLike<number>): void {
  if (labels.length !== rows) throw new ShapeError(`${where}: ${rows} samples but ${labels.length} labels`);
}
