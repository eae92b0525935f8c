/**
 * Matrix products for real GPUs. A workgroup computes a tile of the result; slices of both operands, 16 deep, pass
 * through workgroup memory, where k is the slow axis, so that a lane multiplies 8 rows by 8 columns out of four vector
 * loads per k. Operands are read four numbers at a time along whichever axis is contiguous, and transposed in registers
 * where that axis is k. Where a result has few tiles and k is long, the work is split along k as well and added up in a
 * fixed order.
 */
import type { TensorInfo } from '@tensorflow/tfjs-core';
import { productSizes, type MatrixProduct, type ProductAndSums } from './matrix-product.js';
import { programs, runProgram, sizeOf, type OutputSpec } from './program.js';
import { vectorOf, type VectorType } from './rows.js';
import type { WebgpuBackend } from './webgpu-backend.js';

/** k of a slice. */
const depth = 16;
/** Workgroups that keep a large GPU busy. */
const wantedGroups = 1024;
/** Shorter parts of k are not worth adding up. */
const leastDepth = 256;

/** Rows and columns of a tile, multiples of 32. */
interface Tile {
  readonly rows: number;
  readonly columns: number;
}

const largeTile: Tile = { rows: 128, columns: 64 };
const smallTile: Tile = { rows: 64, columns: 64 };

interface Variant {
  readonly tile: Tile;
  readonly transposeA: boolean;
  readonly transposeB: boolean;
  readonly bias: boolean;
  readonly sumOfA: boolean;
  /** Whether a, b and the result are read and written as vectors of four. */
  readonly isVectorA: boolean;
  readonly isVectorB: boolean;
  readonly isVectorC: boolean;
}

/** [product], or [product, sums of a]. */
export function tiledMatrixProduct(backend: WebgpuBackend, product: MatrixProduct): ProductAndSums {
  const { a, b, transposeA = false, transposeB = false, bias, sumOfA = false } = product;
  const { leading, numRows, numColumns, numInner } = productSizes(product);
  const numMatrices = sizeOf(leading);
  const tilesOf = ({ rows, columns }: Tile) => Math.ceil(numRows / rows) * Math.ceil(numColumns / columns);
  const tile = numMatrices * tilesOf(largeTile) >= wantedGroups / 2 ? largeTile : smallTile;
  const numTiles = numMatrices * tilesOf(tile);
  const mostParts = Math.min(Math.floor(wantedGroups / numTiles), Math.floor(numInner / leastDepth));
  // Whole slices, so that the parts of k do not overlap.
  const partDepth = Math.ceil(numInner / Math.max(1, mostParts) / depth) * depth;
  const numParts = Math.ceil(numInner / partDepth);
  const isSplit = numParts > 1;
  const parts = isSplit ? [numParts] : [];
  const result: OutputSpec = { shape: [...parts, ...leading, numRows, numColumns] };
  const addsBias = bias !== undefined && !isSplit;
  const variant: Variant = {
    tile,
    transposeA,
    transposeB,
    bias: addsBias,
    sumOfA,
    isVectorA: (transposeA ? numRows : numInner) % 4 === 0,
    isVectorB: (transposeB ? numInner : numColumns) % 4 === 0,
    isVectorC: numColumns % 4 === 0,
  };
  const results = runProgram(backend, tiledProgram(variant), {
    inputs: addsBias ? [a, b, bias] : [a, b],
    outputs: sumOfA ? [result, { shape: [...parts, numRows] }] : [result],
    uniforms: {
      numRows,
      numColumns,
      depth: numInner,
      rowTiles: Math.ceil(numRows / tile.rows),
      columnTiles: Math.ceil(numColumns / tile.columns),
      numMatrices,
      partDepth,
    },
    numGroups: numTiles * numParts,
  });
  if (!isSplit) return results;
  const [partial, partialSums] = results;
  const total = addParts(backend, partial, { shape: partial.shape.slice(1), ...(bias ? { bias } : {}) });
  const added: ProductAndSums = partialSums
    ? [total, addParts(backend, partialSums, { shape: partialSums.shape.slice(1) })]
    : [total];
  for (const { dataId } of results) backend.disposeData(dataId);
  return added;
}

/** The sum over the first axis, plus a bias along the last. */
function addParts(
  backend: WebgpuBackend,
  partial: TensorInfo,
  { shape, bias }: { readonly shape: number[]; readonly bias?: TensorInfo },
): TensorInfo {
  const numColumns = shape[shape.length - 1]!;
  const size = sizeOf(shape);
  const { type, width: step } = vectorOf(numColumns);
  const [total] = runProgram(backend, addingProgram({ type, hasBias: bias !== undefined }), {
    inputs: bias ? [partial, bias] : [partial],
    outputs: [{ shape }],
    uniforms: { length: size / step, numParts: partial.shape[0]!, columns: numColumns / step },
    numGroups: Math.ceil(size / step / 64),
  });
  return total;
}

const addingProgram = programs(({ type, hasBias }: { readonly type: VectorType; readonly hasBias: boolean }) => {
  return {
    name: 'DimoAddParts',
    workgroupSize: 64,
    outputs: [{ name: 'total', type }],
    inputs: [{ name: 'partial', type }, ...(hasBias ? [{ name: 'bias', type }] : [])],
    uniforms: { length: 'u32', numParts: 'u32', columns: 'u32' },
    code: () => `
fn run(group: u32, lane: u32) {
  let i = group * workgroupSize + lane;
  if (i >= uniforms.length) { return; }
  var sum = partial[i];
  for (var part = 1u; part < uniforms.numParts; part++) { sum += partial[part * uniforms.length + i]; }
  total[i] = sum${hasBias ? ' + bias[i % uniforms.columns]' : ''};
}`,
  };
});

const quad = [0, 1, 2, 3];
const components = 'xyzw';

const tiledProgram = programs((variant: Variant) => {
  const { tile, bias, sumOfA, isVectorA, isVectorB, isVectorC } = variant;
  const vector = (isVector: boolean) => (isVector ? 'vec4<f32>' : 'f32');
  return {
    name: 'DimoTiledMatMul',
    workgroupSize: (tile.rows * tile.columns) / 64,
    outputs: [
      { name: 'product', type: vector(isVectorC) },
      ...(sumOfA ? [{ name: 'sums', type: 'f32' as const }] : []),
    ],
    inputs: [
      { name: 'a', type: vector(isVectorA) },
      { name: 'b', type: vector(isVectorB) },
      ...(bias ? [{ name: 'bias', type: 'f32' as const }] : []),
    ],
    uniforms: {
      numRows: 'u32',
      numColumns: 'u32',
      depth: 'u32',
      rowTiles: 'u32',
      columnTiles: 'u32',
      numMatrices: 'u32',
      partDepth: 'u32',
    },
    code: () => tiledCode(variant),
  };
});

function tiledCode(variant: Variant): string {
  const { tile, transposeA, transposeB, bias, sumOfA, isVectorA, isVectorB } = variant;
  const [lanesX, lanesY] = [tile.columns / 8, tile.rows / 8];
  // One vector more than a row has: lanes that store neighbouring k do not meet in one memory bank.
  const [strideA, strideB] = [tile.rows / 4 + 1, tile.columns / 4 + 1];
  const rows = Array.from({ length: 8 }, (_, r) => r);
  const a = { name: 'a', size: 'uniforms.numRows', isAlongK: !transposeA, isVector: isVectorA };
  const b = { name: 'b', size: 'uniforms.numColumns', isAlongK: transposeB, isVector: isVectorB };
  return `
var<workgroup> tileA: array<vec4<f32>, ${depth * strideA}>;
var<workgroup> tileB: array<vec4<f32>, ${depth * strideB}>;
${operandReader(a)}
${operandReader(b)}
fn run(group: u32, lane: u32) {
  // Neighbouring workgroups share columns of b.
  let rowTile = group % uniforms.rowTiles;
  let columnTile = (group / uniforms.rowTiles) % uniforms.columnTiles;
  let matrixAndPart = group / (uniforms.rowTiles * uniforms.columnTiles);
  let matrix = matrixAndPart % uniforms.numMatrices;
  let part = matrixAndPart / uniforms.numMatrices;
  let startA = matrix * uniforms.numRows * uniforms.depth;
  let startB = matrix * uniforms.numColumns * uniforms.depth;
  let firstRow = rowTile * ${tile.rows}u;
  let firstColumn = columnTile * ${tile.columns}u;
  let endK = min(uniforms.depth, (part + 1u) * uniforms.partDepth);
  let x = lane % ${lanesX}u;
  let y = lane / ${lanesX}u;
  ${rows.map((r) => `var low${r} = vec4<f32>(0.0); var high${r} = vec4<f32>(0.0);`).join(' ')}
  ${sumOfA ? 'var sumLow = vec4<f32>(0.0); var sumHigh = vec4<f32>(0.0);' : ''}
  for (var firstK = part * uniforms.partDepth; firstK < endK; firstK += ${depth}u) {
    ${tileLoad(a, { first: 'firstRow', start: 'startA', length: tile.rows, stride: strideA })}
    ${tileLoad(b, { first: 'firstColumn', start: 'startB', length: tile.columns, stride: strideB })}
    workgroupBarrier();
    for (var k = 0u; k < ${depth}u; k++) {
      let a0 = tileA[k * ${strideA}u + y];
      let a1 = tileA[k * ${strideA}u + ${lanesY}u + y];
      let b0 = tileB[k * ${strideB}u + x];
      let b1 = tileB[k * ${strideB}u + ${lanesX}u + x];
      ${sumOfA ? 'sumLow += a0; sumHigh += a1;' : ''}
      ${rows
        .map((r) => {
          const factor = `a${r >> 2}.${components[r & 3]!}`;
          return `low${r} += ${factor} * b0; high${r} += ${factor} * b1;`;
        })
        .join('\n      ')}
    }
    workgroupBarrier(); // before the next slice is written
  }
  let stored = matrixAndPart * uniforms.numRows;
  ${[0, 1]
    .map(
      (half) => `let column${half} = firstColumn + ${half ? `${tile.columns / 2}u + ` : ''}x * 4u;
  let offset${half} = ${bias ? `biasAt(column${half})` : 'vec4<f32>(0.0)'};`,
    )
    .join('\n  ')}
  ${rows
    .map((r) => {
      const row = `firstRow + ${r >> 2 ? `${tile.rows / 2}u + ` : ''}y * 4u + ${r & 3}u`;
      const sum = `${r >> 2 ? 'sumHigh' : 'sumLow'}.${components[r & 3]!}`;
      return `if (${row} < uniforms.numRows) {
    let destination = (stored + ${row}) * uniforms.numColumns;
    store(destination, column0, low${r} + offset0); store(destination, column1, high${r} + offset1);
    ${sumOfA ? `if (columnTile == 0u && x == 0u) { sums[part * uniforms.numRows + ${row}] = ${sum}; }` : ''}
  }`;
    })
    .join('\n  ')}
}
${storeFunction(variant)}`;
}

interface Operand {
  readonly name: string;
  /** WGSL expression of its length along the other axis than k. */
  readonly size: string;
  /** Whether neighbouring numbers in memory are neighbours along k. */
  readonly isAlongK: boolean;
  readonly isVector: boolean;
}

/** WGSL function `<name>At(start, row, k)`: four numbers of the contiguous axis, zeros beyond the ends. */
function operandReader({ name, size, isAlongK, isVector }: Operand): string {
  const length = isAlongK ? 'uniforms.depth' : size;
  const [slow, fast] = isAlongK ? ['row', 'k'] : ['k', 'row'];
  const address = `start + ${slow} * ${length} + ${fast}`;
  // With parts of k, what lies beyond the part's end belongs to no one: parts are whole slices.
  const inside = `row < ${size} && k < uniforms.depth`;
  if (isVector)
    return `fn ${name}At(start: u32, row: u32, k: u32) -> vec4<f32> {
  if (${inside}) { return ${name}[(${address}) / 4u]; }
  return vec4<f32>(0.0);
}`;
  return `fn ${name}At(start: u32, row: u32, k: u32) -> vec4<f32> {
  var values = vec4<f32>(0.0);
  if (!(${inside})) { return values; }
  let at = ${address};
  ${quad.map((i) => `if (${fast} + ${i}u < ${length}) { values.${components[i]!} = ${name}[at + ${i}u]; }`).join(' ')}
  return values;
}`;
}

interface TileLoad {
  readonly first: string;
  readonly start: string;
  readonly length: number;
  readonly stride: number;
}

/** WGSL: the lanes copy a slice of an operand into its tile, a block of four by four numbers each. */
function tileLoad({ name, isAlongK }: Operand, { first, start, length, stride }: TileLoad): string {
  const numBlocks = (length / 4) * (depth / 4);
  const tileName = `tile${name.toUpperCase()}`;
  // Lanes that follow each other read on along the contiguous axis.
  const blocks = isAlongK
    ? `let kBlock = block % ${depth / 4}u; let rowBlock = block / ${depth / 4}u;`
    : `let rowBlock = block % ${length / 4}u; let kBlock = block / ${length / 4}u;`;
  const read = quad.map((i) => {
    const [row, k] = isAlongK ? [`${first} + rowBlock * 4u + ${i}u`, 'k'] : [`${first} + rowBlock * 4u`, `k + ${i}u`];
    return `let v${i} = ${name}At(${start}, ${row}, ${k});`;
  });
  const write = quad.map((i) => {
    const c = components[i]!;
    const value = isAlongK ? `vec4<f32>(v0.${c}, v1.${c}, v2.${c}, v3.${c})` : `v${i}`;
    return `${tileName}[(kBlock * 4u + ${i}u) * ${stride}u + rowBlock] = ${value};`;
  });
  return `for (var block = lane; block < ${numBlocks}u; block += workgroupSize) {
      ${blocks}
      let k = firstK + kBlock * 4u;
      ${read.join(' ')}
      ${write.join(' ')}
    }`;
}

function storeFunction({ bias, isVectorC }: Variant): string {
  const each = (text: (i: number) => string) => quad.map(text).join(' ');
  const biasAt = `fn biasAt(column: u32) -> vec4<f32> {
  let last = uniforms.numColumns - 1u;
  return vec4<f32>(${quad.map((i) => `bias[min(column + ${i}u, last)]`).join(', ')});
}`;
  const body = isVectorC
    ? 'if (column < uniforms.numColumns) { product[(row + column) / 4u] = values; }'
    : each((i) => `if (column + ${i}u < uniforms.numColumns) { product[row + column + ${i}u] = values[${i}]; }`);
  return `${bias ? biasAt : ''}
fn store(row: u32, column: u32, values: vec4<f32>) { ${body} }`;
}
