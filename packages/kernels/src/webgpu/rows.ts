/**
 * How work on rows is spread: on a GPU a workgroup shares one row, so that neighbouring lanes read neighbouring numbers
 * and enough of them are in flight; a software adapter runs each lane of a workgroup in a loop, where waiting at
 * barriers costs more than anything else, so there a lane takes a row of its own.
 */

/** How programs are shaped for an adapter. */
export interface Tuning {
  /** Lanes that share a row; a power of two. 1: each lane takes a row of its own, without barriers. */
  readonly lanesPerRow: number;
  /**
   * Who multiplies matrices: a program without workgroup memory (`direct`), one whose tiles pass through it (`tiled`), or
   * tfjs' own (`stock`).
   */
  readonly matrixProduct: 'direct' | 'tiled' | 'stock';
  /**
   * Whether large random inputs are made on the device. It takes thousands of integer operations a number to give the
   * host's bits, nothing for a GPU and more than the host's own work where the GPU is emulated.
   */
  readonly drawsOnDevice: boolean;
}

/** What programs over rows depend on. */
export type RowTuning = Pick<Tuning, 'lanesPerRow'>;

/** Elements that a program reads at once. */
export type VectorType = 'f32' | 'vec4<f32>';

/** For real GPUs. */
export const gpuTuning: Tuning = { lanesPerRow: 64, matrixProduct: 'tiled', drawsOnDevice: true };

/** For adapters that emulate a GPU on the CPU: Mesa's lavapipe, SwiftShader, WARP. */
export const softwareTuning: Tuning = { lanesPerRow: 1, matrixProduct: 'direct', drawsOnDevice: false };

/** Rows of a workgroup whose lanes take a row each: the width of the vectors that software adapters compute with. */
const softwareRows = 8;

/** The shape of a program over rows. */
export interface RowLayout {
  readonly workgroupSize: number;
  readonly rowsPerGroup: number;
  /** WGSL that defines `row`, `part` (this lane's share of the row) and `parts`, and skips rows that do not exist. */
  readonly prologue: string;
}

/**
 * The layout of a program over rows.
 *
 * @param numRows - WGSL expression of the number of rows.
 */
export function rowLayout({ lanesPerRow }: RowTuning, numRows: string): RowLayout {
  if (lanesPerRow > 1)
    return {
      workgroupSize: lanesPerRow,
      rowsPerGroup: 1,
      prologue: 'let row = group; let part = lane; let parts = workgroupSize;',
    };
  return {
    workgroupSize: softwareRows,
    rowsPerGroup: softwareRows,
    prologue: `let row = group * workgroupSize + lane; let part = 0u; let parts = 1u; if (row >= ${numRows}) { return; }`,
  };
}

/** Workgroups for this many rows. */
export function groupsFor(numRows: number, layout: RowLayout): number {
  return Math.ceil(numRows / layout.rowsPerGroup);
}

/**
 * WGSL function `name(lane, value)`: the combination of the values of all lanes that share the row, known to all of
 * them. Uses `workgroupSize`; must be called by all lanes.
 *
 * @param combine - WGSL expression of `a` and `b`.
 */
export function rowReduction(
  { lanesPerRow }: RowTuning,
  name: string,
  combine: string,
  type: 'f32' | 'vec2<f32>' | 'vec4<f32>' = 'f32',
): string {
  if (lanesPerRow === 1) return `fn ${name}(lane: u32, value: ${type}) -> ${type} { return value; }`;
  return `
var<workgroup> scratch_${name}: array<${type}, ${lanesPerRow}>;
fn ${name}(lane: u32, value: ${type}) -> ${type} {
  scratch_${name}[lane] = value;
  workgroupBarrier();
  for (var reach = ${lanesPerRow / 2}u; reach > 0u; reach = reach / 2u) {
    if (lane < reach) {
      let a = scratch_${name}[lane];
      let b = scratch_${name}[lane + reach];
      scratch_${name}[lane] = ${combine};
    }
    workgroupBarrier();
  }
  let total = scratch_${name}[0];
  workgroupBarrier(); // before the next call writes again
  return total;
}`;
}

/** Type and factor of elements read four at a time where the length allows it. */
export function vectorOf(length: number): { readonly type: VectorType; readonly width: 1 | 4 } {
  const type = length % 4 === 0 ? 'vec4<f32>' : 'f32';
  return { type, width: widthOf(type) };
}

/** Numbers in an element. */
export function widthOf(type: VectorType): 1 | 4 {
  return type === 'f32' ? 1 : 4;
}

/** WGSL sum of a value's components. */
export function horizontalSum(type: 'f32' | 'vec4<f32>', value: string): string {
  return type === 'f32' ? value : `dot(${value}, vec4<f32>(1.0))`;
}
