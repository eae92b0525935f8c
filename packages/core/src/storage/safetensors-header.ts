/**
 * The header of a safetensors file: 8 bytes little-endian length, JSON with one entry per tensor, then the data.
 * Rejects what the reference implementation (Rust, safetensors 0.8) rejects, and also duplicate names, unknown keys,
 * white space before the first brace and everything beyond the limits below. Nothing is allocated by a number from the
 * file before that number was compared with the file's real length.
 */
import { WeightError } from '../errors.js';
import { escapeText } from './escape-text.js';

/** Bits per element of every dtype that the format knows. */
const bitsPerElement = {
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  BOOL: 8,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  F64: 64,
  I64: 64,
  U64: 64,
  C64: 64,
} as const;

/** Element types of safetensors files. */
export type SafetensorsDType = keyof typeof bitsPerElement;

/** Upper bounds of what is read; each may be lowered, and raised explicitly. */
export interface SafetensorsLimits {
  /** Bytes of the JSON header. @default 100_000_000 */
  readonly headerBytes: number;
  /** @default 100_000 */
  readonly tensors: number;
  /** Axes of one tensor. @default 8 */
  readonly rank: number;
  /** UTF-8 bytes of one name. @default 512 */
  readonly nameBytes: number;
}

/** The limits in use where none are given. */
export const defaultSafetensorsLimits: SafetensorsLimits = {
  headerBytes: 100_000_000,
  tensors: 100_000,
  rank: 8,
  nameBytes: 512,
};

/** One tensor as the header describes it. */
export interface SafetensorsEntry {
  readonly dtype: SafetensorsDType;
  readonly shape: readonly number[];
  /** First byte, counted from the start of the file. */
  readonly begin: number;
  /** One past the last byte. */
  readonly end: number;
}

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

/** Bytes per element; a fraction for the packed types (F4, F6). */
export function bytesPerElement(dtype: SafetensorsDType): number {
  return bitsPerElement[dtype] / 8;
}

/**
 * Length of the part of a file that `parseSafetensorsHeader` needs: to read tensors one at a time from a large file,
 * read 8 bytes, then this many, parse, and read each tensor's range.
 *
 * @param start - at least the first 8 bytes.
 * @param fileLength - bytes of the whole file.
 * @throws WeightError if the length is beyond the file or the limit.
 */
export function safetensorsHeaderLength(
  start: Uint8Array,
  fileLength: number,
  options: SafetensorsHeaderOptions = {},
): number {
  const limit = options.limits?.headerBytes ?? defaultSafetensorsLimits.headerBytes;
  const fail = (message: string): WeightError =>
    new WeightError(`safetensors: ${message}`, {
      path: options.path,
      hint: 'the file is damaged or of another format',
    });
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
  const parser = new HeaderParser(start.subarray(8, dataStart), limits, options.path);
  const header = parser.parse();
  return { metadata: header.metadata, tensors: placeTensors(header.tensors, dataStart, fileLength, options.path) };
}

interface RawEntry {
  readonly dtype: SafetensorsDType;
  readonly shape: readonly number[];
  readonly offsets: readonly [begin: number, end: number];
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
  const dataLength = fileLength - dataStart;
  for (const [name, { dtype, shape, offsets }] of raw) {
    const label = `tensor "${escapeText(name)}"`;
    const [begin, end] = offsets;
    if (begin > end) throw fail(`${label} begins at ${begin}, after its end ${end}`);
    if (end > dataLength) throw fail(`${label} ends at ${end}, but the file holds ${dataLength} bytes of data`);
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

/** Parser of the one JSON grammar that a header may have; depth is bounded by the grammar itself. */
class HeaderParser {
  private readonly text: string;
  private position = 0;

  constructor(
    bytes: Uint8Array,
    private readonly limits: SafetensorsLimits,
    private readonly path: string | undefined,
  ) {
    try {
      this.text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch (cause) {
      throw new WeightError('safetensors: the header is not UTF-8', { path, cause });
    }
  }

  parse(): { tensors: Map<string, RawEntry>; metadata: Map<string, string> } {
    const tensors = new Map<string, RawEntry>();
    let metadata: Map<string, string> | undefined;
    if (!this.text.startsWith('{')) throw this.fail('expected {');
    this.object('header', (name) => {
      if (name === '__metadata__') {
        if (metadata !== undefined) throw this.fail('__metadata__ occurs twice');
        metadata = this.metadata();
        return;
      }
      if (tensors.has(name)) throw this.fail(`tensor "${escapeText(name)}" occurs twice`);
      if (tensors.size >= this.limits.tensors) throw this.fail(`more than ${this.limits.tensors} tensors`);
      if (name.length * 3 > this.limits.nameBytes && utf8Length(name) > this.limits.nameBytes)
        throw this.fail(`a name is longer than ${this.limits.nameBytes} bytes`);
      tensors.set(name, this.entry(name));
    });
    this.space();
    if (this.position !== this.text.length) throw this.fail('text after the last brace');
    return { tensors, metadata: metadata ?? new Map<string, string>() };
  }

  private metadata(): Map<string, string> {
    const found = new Map<string, string>();
    this.space();
    if (this.text.startsWith('null', this.position)) {
      this.position += 4;
      return found;
    }
    this.object('__metadata__', (key) => {
      if (found.has(key)) throw this.fail(`metadata "${escapeText(key)}" occurs twice`);
      found.set(key, this.string());
    });
    return found;
  }

  private entry(name: string): RawEntry {
    let dtype: SafetensorsDType | undefined;
    let shape: number[] | undefined;
    let offsets: number[] | undefined;
    const label = `tensor "${escapeText(name)}"`;
    this.object(label, (key) => {
      if (key === 'dtype' && dtype === undefined) {
        const found = this.string();
        if (!Object.hasOwn(bitsPerElement, found))
          throw this.fail(`${label}: unknown dtype "${escapeText(found, 32)}"`);
        dtype = found as SafetensorsDType;
      } else if (key === 'shape' && shape === undefined) shape = this.integers(this.limits.rank, `${label}: shape`);
      else if (key === 'data_offsets' && offsets === undefined) offsets = this.integers(2, `${label}: data_offsets`);
      else throw this.fail(`${label}: key "${escapeText(key, 64)}" is unknown or occurs twice`);
    });
    if (dtype === undefined || shape === undefined || offsets === undefined)
      throw this.fail(`${label} needs dtype, shape and data_offsets`);
    const [begin, end] = offsets as number[];
    if (begin === undefined || end === undefined) throw this.fail(`${label}: data_offsets needs two numbers`);
    return { dtype, shape, offsets: [begin, end] };
  }

  /** `{ "key": value, ... }`; `value` is called with the position at the value. */
  private object(what: string, value: (key: string) => void): void {
    this.expect('{', what);
    if (this.accept('}')) return;
    do {
      const key = this.string();
      this.expect(':', what);
      value(key);
    } while (this.accept(','));
    this.expect('}', what);
  }

  private integers(maximum: number, what: string): number[] {
    const found: number[] = [];
    this.expect('[', what);
    if (this.accept(']')) return found;
    do {
      if (found.length >= maximum) throw this.fail(`${what} has more than ${maximum} numbers`);
      found.push(this.integer(what));
    } while (this.accept(','));
    this.expect(']', what);
    return found;
  }

  /** A JSON number that is an integer in [0, 2^53): no sign, fraction, exponent or leading zero. */
  private integer(what: string): number {
    this.space();
    const pattern = /(?:0|[1-9][0-9]{0,15})(?![0-9.eE])/y;
    pattern.lastIndex = this.position;
    const digits = pattern.exec(this.text)?.[0];
    const value = Number(digits);
    if (digits === undefined || !Number.isSafeInteger(value))
      throw this.fail(`${what}: expected an integer from 0 to 2^53 - 1`);
    this.position += digits.length;
    return value;
  }

  private string(): string {
    this.expect('"', 'a string');
    const start = this.position - 1;
    for (;;) {
      const quote = this.text.indexOf('"', this.position);
      if (quote < 0) throw this.fail('a string does not end');
      this.position = quote + 1;
      let backslashes = 0;
      while (this.text.charCodeAt(quote - 1 - backslashes) === 0x5c) backslashes++;
      if (backslashes % 2 === 0) break;
    }
    let value: unknown;
    try {
      value = JSON.parse(this.text.slice(start, this.position));
    } catch {
      throw this.fail('a string holds a raw control character or a wrong escape');
    }
    if (typeof value !== 'string' || /[\ud800-\udfff]/u.test(value)) throw this.fail('a string holds half a character');
    return value;
  }

  private accept(character: string): boolean {
    this.space();
    if (this.text[this.position] !== character) return false;
    this.position++;
    return true;
  }

  private expect(character: string, what: string): void {
    if (!this.accept(character)) throw this.fail(`${what}: expected ${character}`);
  }

  private space(): void {
    for (;;) {
      const code = this.text.charCodeAt(this.position);
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return;
      this.position++;
    }
  }

  private fail(message: string): WeightError {
    return new WeightError(`safetensors header, character ${this.position}: ${message}`, {
      path: this.path,
      hint: 'the file is damaged or of another format',
    });
  }
}

function utf8Length(text: string): number {
  return new TextEncoder().encode(text).length;
}
