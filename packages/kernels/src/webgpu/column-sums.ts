/** How sums over the rows of a matrix are spread: each column, or four of them, is added up in a fixed order. */
import type { TensorInfo } from '@tensorflow/tfjs-core';
import { programs, runProgram, sizeOf } from './program.js';
import { rowReduction, vectorOf, widthOf, type RowTuning, type VectorType } from './rows.js';
import type { WebgpuBackend } from './webgpu-backend.js';

/** The shape of a program over columns. */
export interface ColumnLayout {
  readonly workgroupSize: number;
  /**
   * WGSL that defines `length` (vectors in a row), `column` (in vectors), `firstRow` and `rowStep`, and skips columns
   * that do not exist.
   */
  readonly prologue: (width: string) => string;
  /** WGSL function of this name that adds up the lanes of a column. */
  readonly reduction: (name: string) => string;
}

/** What programs over columns depend on. */
export interface ColumnParameters extends RowTuning {
  readonly type: VectorType;
}

/** The parameters for a matrix of this width. */
export function columnParameters({ lanesPerRow }: RowTuning, width: number): ColumnParameters {
  return { lanesPerRow, type: vectorOf(width).type };
}

/** Workgroups for a matrix of this width. */
export function columnGroups(parameters: ColumnParameters, width: number): number {
  const length = width / widthOf(parameters.type);
  return parameters.lanesPerRow > 1 ? length : Math.ceil(length / columnLayout(parameters).workgroupSize);
}

/** The layout of a program over columns. */
export function columnLayout({ lanesPerRow, type }: ColumnParameters): ColumnLayout {
  const isShared = lanesPerRow > 1;
  // Many lanes per column: there are few columns and thousands of rows.
  const sharing = { lanesPerRow: isShared ? 4 * lanesPerRow : lanesPerRow };
  const workgroupSize = isShared ? sharing.lanesPerRow : 8;
  return {
    workgroupSize,
    prologue: (expression) => `let length = ${expression} / ${widthOf(type)}u;
  ${
    isShared
      ? 'let column = group; let firstRow = lane; let rowStep = workgroupSize;'
      : 'let column = group * workgroupSize + lane; let firstRow = 0u; let rowStep = 1u; if (column >= length) { return; }'
  }`,
    reduction: (name) => rowReduction(sharing, name, 'a + b', type),
  };
}

/** Sums over the rows of a matrix [M, N]: [N]. */
export function columnSums(backend: WebgpuBackend, tuning: RowTuning, x: TensorInfo): TensorInfo {
  const width = x.shape[1]!;
  const parameters = columnParameters(tuning, width);
  const [sums] = runProgram(backend, sumsProgram(parameters), {
    inputs: [x],
    outputs: [{ shape: [width] }],
    uniforms: { width, numRows: sizeOf(x.shape) / Math.max(1, width) },
    numGroups: columnGroups(parameters, width),
  });
  return sums;
}

const sumsProgram = programs((parameters: ColumnParameters) => {
  const { type } = parameters;
  const layout = columnLayout(parameters);
  return {
    name: 'DimoColumnSums',
    workgroupSize: layout.workgroupSize,
    outputs: [{ name: 'sums', type }],
    inputs: [{ name: 'x', type }],
    uniforms: { width: 'u32', numRows: 'u32' },
    code: () => `
${layout.reduction('columnSum')}
fn run(group: u32, lane: u32) {
  ${layout.prologue('uniforms.width')}
  var sum = ${type}(0.0);
  for (var row = firstRow; row < uniforms.numRows; row += rowStep) { sum += x[row * length + column]; }
  let total = columnSum(lane, sum);
  if (firstRow == 0u) { sums[column] = total; }
}`,
  };
});
