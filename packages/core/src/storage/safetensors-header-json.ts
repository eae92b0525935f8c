/** Parser of the JSON in a safetensors header, with its position for error messages. */
import { WeightError } from '../errors.js';
import { escapeText } from '../text/escape-text.js';
import { bitsPerElement, type SafetensorsDType, type SafetensorsLimits } from './safetensors-format.js';

/** One tensor before its offsets are checked against the file. */
export interface RawEntry {
  readonly dtype: SafetensorsDType;
  readonly shape: readonly number[];
  readonly offsets: readonly [begin: number, end: number];
}

/**
 * Parses the JSON of a header; offsets are not yet compared with shapes or the file.
 *
 * @throws WeightError naming the character and the rule that is broken.
 */
export function parseHeaderJson(
  bytes: Uint8Array,
  limits: SafetensorsLimits,
  path: string | undefined,
): { tensors: Map<string, RawEntry>; metadata: Map<string, string> } {
  return new HeaderParser(bytes, limits, path).parse();
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
    let length = 0;
    this.space();
    if (this.text.startsWith('null', this.position)) {
      this.position += 4;
      return found;
    }
    this.object('__metadata__', (key) => {
      if (found.has(key)) throw this.fail(`metadata "${escapeText(key)}" occurs twice`);
      if (found.size >= this.limits.metadataEntries)
        throw this.fail(`__metadata__ has more than ${this.limits.metadataEntries} entries`);
      const value = this.string();
      length += key.length + value.length;
      if (length > this.limits.metadataLength)
        throw this.fail(`__metadata__ has more than ${this.limits.metadataLength} characters`);
      found.set(key, value);
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
    // What follows must be a comma or bracket, so a fraction, exponent or leading zero is refused there.
    const pattern = /0|[1-9][0-9]{0,15}/y;
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
