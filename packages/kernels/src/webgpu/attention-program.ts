/**
 * What the attention programs share. A lane owns one position (a query, or in the key gradient a key) with its vectors
 * in registers, and walks over the positions of the other side, which the workgroup copies tile by tile into its own
 * memory. Nothing of size S x T exists.
 */
import type { TensorInfo } from '@tensorflow/tfjs-core';
import type { BufferBinding } from './program.js';
import type { RowTuning } from './rows.js';

/** Sizes of one attention. */
export interface AttentionSizes {
  readonly batch: number;
  readonly numQueries: number;
  readonly numKeys: number;
  readonly width: number;
}

/** Sizes from the tensors of the kernel. */
export function attentionSizes(query: TensorInfo, key: TensorInfo): AttentionSizes {
  const [batch, numQueries, width] = query.shape as [number, number, number];
  return { batch, numQueries, numKeys: key.shape[1]!, width };
}

/** The shape of the attention programs for a head width. */
export interface AttentionLayout {
  /** Element type of the [batch, positions, width] buffers. */
  readonly type: 'f32' | 'vec4<f32>';
  /** Vectors per head. */
  readonly length: number;
  readonly step: 1 | 4;
  readonly workgroupSize: number;
  /** Positions of the other side in a tile of workgroup memory. */
  readonly tile: number;
  /** How many of them are computed together, written out in the code: 0, 1, ... */
  readonly together: readonly number[];
}

/** Bytes of workgroup memory for a tile; half of what every adapter has (16 KiB), so that groups fit side by side. */
const tileBytes = 8192;

/** What the attention programs depend on. */
export interface AttentionParameters extends RowTuning {
  readonly headWidth: number;
  readonly causal: boolean;
}

/** The layout for heads of this width. */
export function attentionLayout({ lanesPerRow, headWidth }: Omit<AttentionParameters, 'causal'>): AttentionLayout {
  // Software adapters gain nothing from more code, and compile it for a long time.
  const [workgroupSize, numTogether] = lanesPerRow > 1 ? [64, 4] : [16, 1];
  const step = headWidth % 4 === 0 ? 4 : 1;
  const type = step === 4 ? 'vec4<f32>' : 'f32';
  const fitting = Math.floor(tileBytes / (8 * headWidth) / numTogether) * numTogether;
  return {
    type,
    step,
    length: headWidth / step,
    workgroupSize,
    tile: Math.max(numTogether, Math.min(64, fitting)),
    together: Array.from({ length: numTogether }, (_, j) => j),
  };
}

/** Uniforms of all attention programs. */
export const attentionUniforms = {
  numQueries: 'u32',
  numKeys: 'u32',
  numHeads: 'u32',
  scale: 'f32',
} as const;

/** Bindings of the type of the [batch, positions, width] buffers. */
export function vectors(layout: AttentionLayout, ...names: string[]): BufferBinding[] {
  return names.map((name) => ({ name, type: layout.type }));
}

/** `text(i)` for each vector of a head, joined. */
export function perVector({ length }: AttentionLayout, text: (i: number) => string): string {
  return Array.from({ length }, (_, i) => text(i)).join(' ');
}

/** WGSL expression: scalar product of two vectors of a head, in four partial sums. */
export function scalarProduct(layout: AttentionLayout, a: (i: number) => string, b: (i: number) => string): string {
  const { type, length } = layout;
  const product = (i: number) => (type === 'f32' ? `${a(i)} * ${b(i)}` : `dot(${a(i)}, ${b(i)})`);
  const partial = Array.from({ length: Math.min(4, length) }, (_, first) =>
    Array.from({ length: Math.ceil((length - first) / 4) }, (_, n) => product(first + 4 * n)).join(' + '),
  );
  return partial.map((sum) => `(${sum})`).join(' + ');
}

/** How a program reads the other side. */
export interface Walk {
  /** Buffers that are walked over: two of [batch, positions, width]. */
  readonly buffers: readonly [string, string];
  /** WGSL expression of the number of positions. */
  readonly count: string;
  /** WGSL expressions: first position, and the one after the last, uniform in the workgroup. */
  readonly from: string;
  readonly to: string;
  /** Statements for positions `other0`, `other1`, ... of which `isReal0`, ... tell whether they exist. */
  readonly body: (at: (buffer: 0 | 1, position: number) => (i: number) => string) => string;
}

/** Declarations outside `run` for a walk. */
export function walkDeclarations({ tile, length, type }: AttentionLayout): string {
  return [0, 1].map((side) => `var<workgroup> tile${side}: array<${type}, ${tile * length}>;`).join('\n');
}

/** The walk. Expects `head`, `batch` and `rowLength` (vectors in a row of the buffers) to be defined. */
export function walk(layout: AttentionLayout, { buffers, count, from, to, body }: Walk): string {
  const { tile, length, together } = layout;
  return `
  let otherStart = batch * ${count} * rowLength + head * ${length}u;
  for (var tileStart = ${from}; tileStart < ${to}; tileStart += ${tile}u) {
    workgroupBarrier(); // the tile before has been read
    for (var i = lane; i < ${tile * length}u; i += workgroupSize) {
      let source = otherStart + min(tileStart + i / ${length}u, ${count} - 1u) * rowLength + i % ${length}u;
      tile0[i] = ${buffers[0]}[source];
      tile1[i] = ${buffers[1]}[source];
    }
    workgroupBarrier();
    let tileEnd = min(${tile}u, ${to} - tileStart);
    for (var first = 0u; first < tileEnd; first += ${together.length}u) {
      ${together
        .map(
          (j) => `let other${j} = tileStart + first + ${j}u; let isReal${j} = other${j} < ${count};
      let row${j} = (first + ${j}u) * ${length}u;`,
        )
        .join('\n      ')}
      ${body((buffer, j) => (i) => `tile${buffer}[row${j} + ${i}u]`)}
    }
  }`;
}

/** WGSL that defines `block`, `head`, `batch`, `position`, `row` (clamped), `exists` and the vectors' start `own`. */
export function ownPosition({ length }: AttentionLayout, count: string): string {
  return `
  let numBlocks = (${count} + workgroupSize - 1u) / workgroupSize;
  let block = group % numBlocks;
  let head = (group / numBlocks) % uniforms.numHeads;
  let batch = group / (numBlocks * uniforms.numHeads);
  let rowLength = uniforms.numHeads * ${length}u;
  let position = block * workgroupSize + lane;
  let exists = position < ${count};
  let row = min(position, ${count} - 1u);
  let own = (batch * ${count} + row) * rowLength + head * ${length}u;
  let statistic = (batch * uniforms.numHeads + head) * ${count} + row; // in [batch, heads, positions]`;
}
