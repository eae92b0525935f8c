/** How sums over the rows of a matrix are spread: each column, or four of them, is added up in a fixed order. */
import type { TensorInfo } from '@tensorflow/tfjs-core';
import { runProgram, sizeOf, type Program } from './program.js';
import { rowReduction, vectorOf, type Tuning } from './rows.js';
import type { WebgpuBackend } from './webgpu-backend.js';

/** The shape of a program over columns. */
export interface ColumnLayout {
  readonly type: 'f32' | 'vec4<f32>';
  readonly workgroupSize: number;
  readonly numGroups: number;
  /**
   * WGSL that defines `length` (vectors in a row), `column` (in vectors), `firstRow` and `rowStep`, and skips columns
   * that do not exist.
   */
  readonly prologue: (width: string) => string;
  /** WGSL function of this name that adds up the lanes of a column. */
  readonly reduction: (name: string) => string;
  readonly variant: string;
}

/** The layout of a program over the columns of a matrix of this width. */
export function columnLayout(tuning: Tuning, width: number): ColumnLayout {
  const { type, width: step } = vectorOf(width);
  const length = width / step;
  const isShared = tuning.lanesPerRow > 1;
  // Many lanes per column: there are few columns and thousands of rows.
  const sharing: Tuning = isShared ? { ...tuning, lanesPerRow: 4 * tuning.lanesPerRow } : tuning;
  const workgroupSize = isShared ? sharing.lanesPerRow : 8;
  return {
    type,
    workgroupSize,
    numGroups: isShared ? length : Math.ceil(length / workgroupSize),
    prologue: (expression) => `let length = ${expression} / ${step}u;
  ${
    isShared
      ? 'let column = group; let firstRow = lane; let rowStep = workgroupSize;'
      : 'let column = group * workgroupSize + lane; let firstRow = 0u; let rowStep = 1u; if (column >= length) { return; }'
  }`,
    reduction: (name) => rowReduction(sharing, name, 'a + b', type),
    variant: `${isShared ? `shared${workgroupSize}` : 'alone'} ${type}`,
  };
}

/** Sums over the rows of a matrix [M, N]: [N]. */
export function columnSums(backend: WebgpuBackend, tuning: Tuning, x: TensorInfo): TensorInfo {
  const width = x.shape[1]!;
  const layout = columnLayout(tuning, width);
  const { type } = layout;
  const program: Program = {
    name: 'DimoColumnSums',
    variant: layout.variant,
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
  const [sums] = runProgram(backend, program, {
    inputs: [x],
    outputs: [{ shape: [width] }],
    uniforms: { width, numRows: sizeOf(x.shape) / Math.max(1, width) },
    numGroups: layout.numGroups,
  });
  return sums;
}
