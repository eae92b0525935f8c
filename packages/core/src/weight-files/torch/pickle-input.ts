/** The bytes of a pickle, taken from the front with every length checked. */
import { WeightError } from '../../errors.js';
import { escapeText } from '../../text/escape-text.js';

/** The bytes at hand end before the pickle does: it is cut off, or more of the file has to be read. */
export class PickleCutOff extends WeightError {}

/** Bytes of one integer. Weight files have no longer ones than 10. */
const maximumIntegerBytes = 1024;
/** Bytes or digits of all long integers together: to make them numbers takes a thousand times as long as to skip them. */
const maximumIntegersBytes = 2 ** 20;
/** Characters of a floating-point number; Python writes at most 25. */
const maximumFloatCharacters = 64;

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Makes the error for a message and a hint. */
export type Refuse = (message: string, hint?: string) => WeightError;

/** A position in a pickle. */
export class PickleInput {
  private readonly view: DataView;
  private readonly limit: number;
  position: number;
  private integersBytes = 0;

  /**
   * @param bytes - contain the pickle. Borrowed.
   * @param start - where it begins.
   * @param maximumBytes - a longer pickle is refused.
   */
  constructor(
    private readonly bytes: Uint8Array,
    private readonly start: number,
    private readonly maximumBytes: number,
    private readonly path: string | undefined,
  ) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.limit = Math.min(bytes.length, start + maximumBytes);
    this.position = start;
  }

  readonly refuse: Refuse = (message, hint) =>
    new WeightError(`pickle, byte ${this.position - this.start}: ${message}`, { path: this.path, hint });

  private cutOff(): WeightError {
    if (this.bytes.length > this.limit) return this.refuse(`is longer than ${this.maximumBytes} bytes`);
    return new PickleCutOff(`pickle, byte ${this.position - this.start}: is cut off`, {
      path: this.path,
      hint: 'the file is damaged or incomplete; fetch it again',
    });
  }

  /** Advances by `length` bytes; returns where they begin. */
  take(length: number): number {
    if (length > this.limit - this.position) throw this.cutOff();
    this.position += length;
    return this.position - length;
  }
  uint8(): number {
    if (this.position >= this.limit) throw this.cutOff();
    return this.bytes[this.position++]!;
  }
  uint16(): number {
    return this.view.getUint16(this.take(2), true);
  }
  uint32(): number {
    return this.view.getUint32(this.take(4), true);
  }
  int32(): number {
    return this.view.getInt32(this.take(4), true);
  }
  /** Big-endian, as pickles have it. */
  float64(): number {
    return this.view.getFloat64(this.take(8), false);
  }
  /** A 64-bit length of something in this pickle. */
  length64(): number {
    const length = this.view.getBigUint64(this.take(8), true);
    return length > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(length);
  }
  /** Checks that `length` more bytes are there. */
  expect(length: number): void {
    if (length > this.limit - this.position) throw this.cutOff();
  }
  block(length: number): Uint8Array {
    const at = this.take(length);
    return this.bytes.subarray(at, at + length);
  }
  text(length: number): string {
    const block = this.block(length);
    // Names are short and plain; a decoder's call costs more than they do.
    if (length <= 24) {
      let short = '';
      let i = 0;
      for (; i < length && block[i]! < 0x80; i++) short += String.fromCharCode(block[i]!);
      if (i === length) return short;
    }
    try {
      return decoder.decode(block);
    } catch {
      throw this.refuse('holds text that is not UTF-8');
    }
  }
  line(): string {
    const end = this.bytes.subarray(0, this.limit).indexOf(10, this.position);
    if (end < 0) throw this.cutOff();
    const result = this.text(end - this.position);
    this.position++;
    return result;
  }

  /** An integer in two's complement, little-endian. */
  long(length: number): number | bigint {
    if (length > maximumIntegerBytes) throw this.refuse(`has an integer of ${length} bytes`);
    const raw = this.block(length);
    if (length === 0) return 0;
    if (length > 6) this.countInteger(length);
    else {
      // Exact in a number; the highest byte has the sign.
      let value = (raw[length - 1]! << 24) >> 24;
      for (let i = length - 2; i >= 0; i--) value = 256 * value + raw[i]!;
      return value;
    }
    let digits = '0x';
    for (let i = length - 1; i >= 0; i--) digits += raw[i]!.toString(16).padStart(2, '0');
    return smallest(BigInt.asIntN(8 * length, BigInt(digits)));
  }
  /** A line with a decimal integer. */
  decimal(digits: string): number | bigint {
    if (digits.length > 2 * maximumIntegerBytes || !/^-?\d+$/.test(digits))
      throw this.refuse(`has the malformed integer "${escapeText(digits, 40)}"`);
    if (digits.length < 16) return Number(digits);
    this.countInteger(digits.length);
    return smallest(BigInt(digits));
  }
  private countInteger(length: number): void {
    this.integersBytes += length;
    if (this.integersBytes > maximumIntegersBytes)
      throw this.refuse(`has long integers of more than ${maximumIntegersBytes} bytes together`);
  }
  /** A line with a floating-point number. */
  float(): number {
    const digits = this.line();
    const isNumber =
      digits.length <= maximumFloatCharacters && /^[+-]?(?:inf|nan|\d+(?:\.\d*)?(?:e[+-]?\d+)?)$/i.test(digits);
    if (!isNumber) throw this.refuse(`has the malformed number "${escapeText(digits, 40)}"`);
    return Number(digits.replace(/inf/i, 'Infinity'));
  }
  /** A line with the number of a remembered value. */
  index(): number {
    const digits = this.line();
    if (!/^\d{1,9}$/.test(digits)) throw this.refuse(`has the malformed index "${escapeText(digits, 40)}"`);
    return Number(digits);
  }
}

function smallest(value: bigint): number | bigint {
  return Number.isSafeInteger(Number(value)) ? Number(value) : value;
}
