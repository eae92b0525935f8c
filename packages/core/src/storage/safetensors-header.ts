/**
 * The header of a safetensors file: 8 bytes little-endian length, JSON with one entry per tensor, then the data.
 * Rejects what the reference implementation (Rust, safetensors 0.8) rejects, and also duplicate names, unknown keys,
 * white space before the first brace and everything beyond the limits below. Nothing is allocated by a number from the
 * file before that number was compared with the file's real length.
 */
import { WeightError } from '../errors.js';
import { escapeText } from '../text/escape-text.js';
import { describeForeignFile } from './foreign-file.js';
import {
  bitsPerElement,
  defaultSafetensorsLimits,
  type SafetensorsEntry,
  type SafetensorsLimits,
} from './safetensors-format.js';
import { parseHeaderJson, type RawEntry } from './safetensors-header-json.js';

/** What a header says. */
export interface SafetensorsHeader {
  readonly tensors: ReadonlyMap<string, SafetensorsEntry>;
  readonly metadata: ReadonlyMap<string, string>;
}

/** Options of `parseSafetensorsHeader`. */
export interface SafetensorsHeaderOptions {
  readonly limits?: Partial<SafetensorsLimits>;
  /** The file, for error messages. */
  readonly path?: string | undefined;
}

/**
 * Length of the part of a file that `parseSafetensorsHeader` needs: to read tensors one at a time from a large file,
 * read 8 bytes, then this many, parse, and read each tensor's range.
 *
 * @param start - at least the first 8 bytes; with more of them (4096) the message can say what another file is.
 * @param fileLength - bytes of the whole file.
 * @throws WeightError if the length is beyond the file or the limit.
 */
export function safetensorsHeaderLength(
  start: Uint8Array,
  fileLength: number,
  options: SafetensorsHeaderOptions = {},
): number {
  const limit = options.limits?.headerBytes ?? defaultSafetensorsLimits.headerBytes;
  const fail = (message: string): WeightError => {
    const foreign = describeForeignFile(start, fileLength);
    const isCutOff = start[8] === 0x7b && foreign?.what === 'a safetensors file';
    if (foreign && !isCutOff)
      return new WeightError(`safetensors: the file is ${foreign.what}`, { path: options.path, hint: foreign.hint });
    return new WeightError(`safetensors: ${message}`, {
      path: options.path,
      hint: isCutOff
        ? 'the download or copy is incomplete; fetch the file again'
        : 'the file is damaged or of another format',
    });
  };
  if (start.length < 8 || fileLength < 8) throw fail(`expected at least 8 bytes, got ${fileLength}`);
  const view = new DataView(start.buffer, start.byteOffset, start.byteLength);
  const length = view.getUint32(0, true) + view.getUint32(4, true) * 2 ** 32;
  if (length > limit) throw fail(`header of ${length} bytes, at most ${limit} are allowed`);
  if (length > fileLength - 8) throw fail(`header of ${length} bytes, but the file has ${fileLength}`);
  if (length < 2) throw fail(`header of ${length} bytes, expected at least {}`);
  return 8 + length;
}

/**
 * Parses and checks a header.
 *
 * @param start - the first `safetensorsHeaderLength` bytes of the file, or more.
 * @param fileLength - bytes of the whole file.
 * @throws WeightError naming the tensor and the rule that is broken.
 */
export function parseSafetensorsHeader(
  start: Uint8Array,
  fileLength: number,
  options: SafetensorsHeaderOptions = {},
): SafetensorsHeader {
  const limits = { ...defaultSafetensorsLimits, ...options.limits };
  const dataStart = safetensorsHeaderLength(start, fileLength, options);
  if (start.length < dataStart)
    throw new WeightError(`safetensors: header needs ${dataStart} bytes, got ${start.length}`, { path: options.path });
  const header = parseHeaderJson(start.subarray(8, dataStart), limits, options.path);
  return { metadata: header.metadata, tensors: placeTensors(header.tensors, dataStart, fileLength, options.path) };
}

/** Checks shape * dtype = end - begin for each tensor, and that the tensors cover the data once, without a hole. */
function placeTensors(
  raw: ReadonlyMap<string, RawEntry>,
  dataStart: number,
  fileLength: number,
  path: string | undefined,
): Map<string, SafetensorsEntry> {
  const fail = (message: string): WeightError =>
    new WeightError(`safetensors: ${message}`, { path, hint: 'the file is damaged; copy it again from its source' });
  const cutOff = (message: string): WeightError =>
    new WeightError(`safetensors: ${message}`, {
      path,
      hint: 'the download or copy is incomplete; fetch the file again',
    });
  const dataLength = fileLength - dataStart;
  for (const [name, { dtype, shape, offsets }] of raw) {
    const label = `tensor "${escapeText(name)}"`;
    const [begin, end] = offsets;
    if (begin > end) throw fail(`${label} begins at ${begin}, after its end ${end}`);
    if (end > dataLength) throw cutOff(`${label} ends at ${end}, but the file holds ${dataLength} bytes of data`);
    const bits = checkedProduct([...shape, bitsPerElement[dtype]]);
    if (bits === undefined) throw fail(`${label}: shape [${shape.join(', ')}] is too large`);
    if (bits % 8 !== 0 || bits / 8 !== end - begin)
      throw fail(`${label}: ${dtype} [${shape.join(', ')}] needs ${bits / 8} bytes, its range has ${end - begin}`);
  }
  const ordered = [...raw].sort(([, a], [, b]) => a.offsets[0] - b.offsets[0] || a.offsets[1] - b.offsets[1]);
  let position = 0;
  for (const [name, { offsets }] of ordered) {
    if (offsets[0] !== position)
      throw fail(
        `tensor "${escapeText(name)}" begins at ${offsets[0]}, expected ${position}: ` +
          (offsets[0] < position ? 'it overlaps another' : 'there is a hole before it'),
      );
    position = offsets[1];
  }
  if (position !== dataLength) throw fail(`${dataLength - position} bytes after the last tensor belong to none`);
  const placed = new Map<string, SafetensorsEntry>();
  for (const [name, { dtype, shape, offsets }] of raw)
    placed.set(name, { dtype, shape, begin: dataStart + offsets[0], end: dataStart + offsets[1] });
  return placed;
}

/** Product of non-negative integers; undefined beyond 2^53 - 1 at any point, even if a later factor is 0. */
function checkedProduct(factors: readonly number[]): number | undefined {
  let product = 1;
  for (const factor of factors) {
    product *= factor;
    if (product > Number.MAX_SAFE_INTEGER) return undefined;
  }
  return product;
}
