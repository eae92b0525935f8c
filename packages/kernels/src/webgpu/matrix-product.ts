/**
 * Matrix products without workgroup memory: a workgroup takes a few rows of the result, a lane a few columns. The
 * factor from the left is the same for all lanes, a scalar load on software adapters, for which this is made.
 */
import type { TensorInfo } from '@tensorflow/tfjs-core';
import { programs, runProgram, sizeOf, type BufferBinding, type OutputSpec } from './program.js';
import type { WebgpuBackend } from './webgpu-backend.js';

/** A product a b, or with transposed operands, plus what else the same pass computes. */
export interface MatrixProduct {
  /** [..., M, K], or [..., K, M] if transposed. */
  readonly a: TensorInfo;
  /** [..., K, N], or [..., N, K] if transposed; the leading axes of `a`. */
  readonly b: TensorInfo;
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
  /** [N], added to every row. */
  readonly bias?: TensorInfo;
  /** Whether to return the sums of `a` over K as well, [M]; for one matrix. */
  readonly sumOfA?: boolean;
}

/** The product, and the sums of `a` if they were asked for. */
export type ProductAndSums = readonly [product: TensorInfo] | readonly [product: TensorInfo, sumsOfA: TensorInfo];

/** Rows and columns of the result that a lane computes: what fits registers and reuses every load. */
const tile = 8;
/** Software adapters compute with vectors of eight. */
const lanes = 8;

interface Variant {
  readonly transposeA: boolean;
  readonly transposeB: boolean;
  readonly bias: boolean;
  readonly sumOfA: boolean;
  /** `b` is read four numbers at a time along its rows. */
  readonly isVector: boolean;
}

/** Sizes of a product: leading axes, M, N and K. */
export function productSizes({ a, b, transposeA = false, transposeB = false }: MatrixProduct) {
  const [first, second] = a.shape.slice(-2) as [number, number];
  const [numRows, numInner] = transposeA ? [second, first] : [first, second];
  const numColumns = b.shape[b.shape.length - (transposeB ? 2 : 1)]!;
  return { leading: a.shape.slice(0, -2), numRows, numColumns, numInner };
}

/** [product], or [product, sums of a]. */
export function directMatrixProduct(backend: WebgpuBackend, product: MatrixProduct): ProductAndSums {
  const { a, b, transposeA = false, transposeB = false, bias, sumOfA = false } = product;
  const { leading, numRows, numColumns, numInner: depth } = productSizes(product);
  const isVector = (transposeB ? depth : numColumns) % 4 === 0;
  const result: OutputSpec = { shape: [...leading, numRows, numColumns] };
  const rowTiles = Math.ceil(numRows / tile);
  const columnTiles = Math.ceil(numColumns / (tile * lanes));
  return runProgram(backend, productProgram({ transposeA, transposeB, bias: bias !== undefined, sumOfA, isVector }), {
    inputs: bias ? [a, b, bias] : [a, b],
    outputs: sumOfA ? [result, { shape: [numRows] }] : [result],
    uniforms: { numRows, numColumns, depth, rowTiles, columnTiles },
    numGroups: sizeOf(leading) * rowTiles * columnTiles,
  });
}

const indices = Array.from({ length: tile }, (_, i) => i);

const productProgram = programs((variant: Variant) => {
  const { transposeA, transposeB, bias, sumOfA, isVector } = variant;
  const scalar = (name: string): BufferBinding => ({ name, type: 'f32' });
  return {
    name: 'DimoMatMul',
    workgroupSize: lanes,
    outputs: [scalar('product'), ...(sumOfA ? [scalar('sums')] : [])],
    inputs: [
      { name: 'a', type: isVectorA(variant) ? 'vec4<f32>' : 'f32' },
      { name: 'b', type: isVector ? 'vec4<f32>' : 'f32' },
      ...(bias ? [scalar('bias')] : []),
    ],
    uniforms: { numRows: 'u32', numColumns: 'u32', depth: 'u32', rowTiles: 'u32', columnTiles: 'u32' },
    code: () => `
fn run(group: u32, lane: u32) {
  let matrix = group / (uniforms.rowTiles * uniforms.columnTiles);
  let rowTile = (group / uniforms.columnTiles) % uniforms.rowTiles;
  let columnTile = group % uniforms.columnTiles;
  let firstColumn = (columnTile * workgroupSize + lane) * ${tile}u;
  if (firstColumn >= uniforms.numColumns) { return; }
  let aStart = matrix * uniforms.numRows * uniforms.depth;
  let bStart = matrix * uniforms.numColumns * uniforms.depth;
  // Rows and columns beyond the end repeat the last one and are not stored.
  ${indices
    .map((r) => {
      const row = `min(rowTile * ${tile}u + ${r}u, uniforms.numRows - 1u)`;
      return `let a${r} = aStart + ${transposeA ? row : `${row} * uniforms.depth`};`;
    })
    .join('\n  ')}
  ${columnAddresses(variant)}
  ${indices.map((r) => indices.map((c) => `var s${r}_${c} = 0.0;`).join(' ')).join('\n  ')}
  ${sumOfA ? indices.map((r) => `var total${r} = 0.0;`).join(' ') : ''}
  for (var k = 0u; k < uniforms.depth; k += ${isVector && transposeB ? 4 : 1}u) {
    ${innerLoop(variant)}
  }
  let stored = matrix * uniforms.numRows;
  ${indices.map((c) => `let offset${c} = ${bias ? `bias[min(firstColumn + ${c}u, uniforms.numColumns - 1u)]` : '0.0'};`).join(' ')}
  ${indices
    .map(
      (r) => `if (rowTile * ${tile}u + ${r}u < uniforms.numRows) {
    let destination = (stored + rowTile * ${tile}u + ${r}u) * uniforms.numColumns + firstColumn;
    ${indices.map((c) => `if (firstColumn + ${c}u < uniforms.numColumns) { product[destination + ${c}u] = s${r}_${c}${bias ? ` + offset${c}` : ''}; }`).join('\n    ')}
    ${sumOfA ? `if (columnTile == 0u && lane == 0u) { sums[rowTile * ${tile}u + ${r}u] = total${r}; }` : ''}
  }`,
    )
    .join('\n  ')}
}`,
  };
});

/** `a` and `b` both lie along k. */
function isVectorA({ transposeA, transposeB, isVector }: Variant): boolean {
  return isVector && transposeB && !transposeA;
}

/** Addresses of this lane's columns of b at k = 0, in elements of its binding. */
function columnAddresses({ transposeB, isVector }: Variant): string {
  if (transposeB)
    return indices
      .map(
        (c) =>
          `let b${c} = (bStart + min(firstColumn + ${c}u, uniforms.numColumns - 1u) * uniforms.depth)${isVector ? ' / 4u' : ''};`,
      )
      .join('\n  ');
  if (isVector)
    return [0, 1]
      .map((v) => `let b${v} = bStart / 4u + min(firstColumn / 4u + ${v}u, uniforms.numColumns / 4u - 1u);`)
      .join('\n  ');
  return indices.map((c) => `let b${c} = bStart + min(firstColumn + ${c}u, uniforms.numColumns - 1u);`).join('\n  ');
}

function innerLoop(variant: Variant): string {
  const { transposeA, transposeB, sumOfA, isVector } = variant;
  const loadA = (r: number, k: string) => (transposeA ? `a[a${r} + ${k} * uniforms.numRows]` : `a[a${r} + ${k}]`);
  /** Multiplies and adds for one k, with the columns of b as given. */
  const update = (k: string, column: (c: number) => string) =>
    indices
      .map(
        (r) =>
          `{ let x = ${loadA(r, k)}; ${sumOfA ? `total${r} += x; ` : ''}${indices
            .map((c) => `s${r}_${c} += x * ${column(c)};`)
            .join(' ')} }`,
      )
      .join('\n    ');
  if (isVectorA(variant))
    return `${indices.map((c) => `let y${c} = b[b${c} + k / 4u];`).join(' ')}
    ${indices
      .map(
        (r) =>
          `{ let x = a[(a${r} + k) / 4u]; ${indices.map((c) => `s${r}_${c} += dot(x, y${c});`).join(' ')} ${sumOfA ? `total${r} += dot(x, vec4<f32>(1.0));` : ''} }`,
      )
      .join('\n    ')}`;
  if (transposeB && isVector)
    return `${indices.map((c) => `let y${c} = b[b${c} + k / 4u];`).join(' ')}
    ${['x', 'y', 'z', 'w'].map((component, n) => update(`(k + ${n}u)`, (c) => `y${c}.${component}`)).join('\n    ')}`;
  if (isVector)
    return `${[0, 1].map((v) => `let y${v} = b[b${v} + k * (uniforms.numColumns / 4u)];`).join(' ')}
    ${update('k', (c) => `y${Math.floor(c / 4)}.${'xyzw'[c % 4]!}`)}`;
  return `${indices.map((c) => `let y${c} = b[b${c} + ${transposeB ? 'k' : 'k * uniforms.numColumns'}];`).join(' ')}
    ${update('k', (c) => `y${c}`)}`;
}
