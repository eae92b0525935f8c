/** Row-major matrices of features or probabilities, in host memory, and the checks that every metric begins with. */
import { NonFiniteError, OptionError, ShapeError } from '@dimo/core';

/** `rows` vectors of length `columns`, row-major. */
export interface Matrix {
  readonly rows: number;
  readonly columns: number;
  readonly data: Float32Array | Float64Array;
}

/**
 * A matrix over existing numbers.
 *
 * @throws ShapeError if the length is no multiple of `columns`.
 */
export function matrix(data: Float32Array | Float64Array, columns: number): Matrix {
  const rows = data.length / columns;
  if (!Number.isInteger(columns) || columns < 1 || !Number.isInteger(rows))
    throw new ShapeError(`matrix: ${data.length} numbers do not make rows of ${columns}`);
  return { rows, columns, data };
}

/** Row `index`, a view. @throws OptionError if there is none */
export function rowOf({ data, columns }: Matrix, index: number): Float32Array | Float64Array {
  if (!Number.isInteger(index) || index < 0 || (index + 1) * columns > data.length)
    throw new OptionError(`matrix: row must be an integer in [0, ${data.length / columns}), got ${index}`);
  return data.subarray(index * columns, (index + 1) * columns);
}

/** The rows that `indices` names, copied. @throws OptionError if there is none of an index */
export function takeMatrixRows(source: Matrix, indices: ArrayLike<number>): Matrix {
  const data = new Float32Array(indices.length * source.columns);
  for (let i = 0; i < indices.length; i++) data.set(rowOf(source, indices[i]!), i * source.columns);
  return { rows: indices.length, columns: source.columns, data };
}

/**
 * Checks what a metric is given.
 *
 * @throws OptionError for fewer than `minRows` rows. @throws NonFiniteError naming the row that has NaN or infinity.
 */
export function checkMatrix(where: string, { rows, columns, data }: Matrix, minRows: number): void {
  if (data.length !== rows * columns)
    throw new ShapeError(`${where}: ${rows} x ${columns} needs ${rows * columns} numbers, got ${data.length}`);
  if (rows < minRows) throw new OptionError(`${where}: needs at least ${minRows} samples, got ${rows}`);
  const wrong = data.findIndex((value: number) => !Number.isFinite(value));
  if (wrong >= 0)
    throw new NonFiniteError(
      `${where}: sample ${Math.floor(wrong / columns)} has the value ${data[wrong]} at position ${wrong % columns}; all must be finite`,
    );
}

/** Checks that two matrices have vectors of one length. @throws ShapeError */
export function checkSameColumns(where: string, a: Matrix, b: Matrix): void {
  if (a.columns !== b.columns)
    throw new ShapeError(
      `${where}: both sets must have features of one length, got ${a.columns} and ${b.columns}; use one extractor for both`,
    );
}

/** Row-wise softmax, in float64. @throws NonFiniteError */
export function softmaxRows(logits: Matrix): Matrix {
  const { rows, columns } = logits;
  checkMatrix('softmaxRows', logits, 0);
  const data = new Float64Array(rows * columns);
  for (let i = 0; i < rows; i++) {
    const row = rowOf(logits, i);
    let largest = -Infinity;
    for (const value of row) largest = Math.max(largest, value);
    let sum = 0;
    for (let c = 0; c < columns; c++) sum += data[i * columns + c] = Math.exp(row[c]! - largest);
    for (let c = 0; c < columns; c++) data[i * columns + c]! /= sum;
  }
  return { rows, columns, data };
}
