/** The one way from the bytes of a text file to text: UTF-8 or an error, never a guess. */
import { OptionError } from '../errors.js';
import { escapeText } from './escape-text.js';
import { guessLegacyEncoding, guessWideEncoding, type GuessedEncoding } from './guess-encoding.js';

/** Bytes that mark a file that is no text, whatever its name: archives, pictures, weights. */
const binaryBeginnings: readonly (readonly [beginning: string, name: string])[] = [
  ['\x89PNG', 'a PNG image'],
  ['\xff\xd8\xff', 'a JPEG image'],
  ['PK\x03\x04', 'a zip archive (.docx, .xlsx and .pth are such)'],
  ['\x1f\x8b', 'gzip-compressed'],
  ['%PDF', 'a PDF document'],
];

/**
 * The text of a file that somebody wrote. A byte order mark of UTF-8 is dropped; U+FFFD that stands in the file is a
 * character like any other.
 *
 * @param where - name of the file, for messages.
 * @throws OptionError with the line and byte of the first fault, if the bytes are not UTF-8 or hold a null character; it
 *   says what they look like (UTF-16, GBK, Latin-1, ...) and how to convert them.
 */
export function decodeText(bytes: Uint8Array, where: string): string {
  const binary = binaryBeginnings.find(([beginning]) => startsWith(bytes, beginning));
  if (binary) throw failure(where, 1, `is no text, it looks like ${binary[1]}`, 'name a text file in UTF-8');
  let text: string | undefined;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    // Said below, with the place.
  }
  const wide = guessWideEncoding(bytes, text !== undefined);
  if (wide) throw notUtf8(where, 1, 'from its first byte on', wide);
  if (text === undefined) throw invalidUtf8(bytes, where);
  const zero = text.indexOf('\0');
  if (zero < 0) return text;
  const line = lineOf(bytes, bytes.indexOf(0));
  throw failure(where, line, `holds a null character (byte ${bytes.indexOf(0)})`, 'remove it; is this a text file?');
}

function invalidUtf8(bytes: Uint8Array, where: string): OptionError {
  const at = firstInvalid(bytes);
  const line = lineOf(bytes, at);
  const byte = `byte ${at} is 0x${bytes[at]!.toString(16).padStart(2, '0')}`;
  if (bytes[at] === 0xed && (bytes[at + 1] ?? 0) >= 0xa0)
    return failure(
      where,
      line,
      `is not UTF-8: it holds half of a surrogate pair (${byte})`,
      'write the file again in UTF-8',
    );
  const guess = guessLegacyEncoding(bytes);
  const hasUtf8Letters = bytes.subarray(0, at).some((before) => before >= 0x80);
  if ((!guess || hasUtf8Letters) && isCutCharacter(bytes.subarray(at)))
    return failure(where, line, `ends within a character (${byte})`, 'the file was cut; copy it again');
  return notUtf8(where, line, byte, guess);
}

function notUtf8(where: string, line: number, what: string, guess: GuessedEncoding | undefined): OptionError {
  return failure(
    where,
    line,
    `is not UTF-8 (${what})${guess ? `; it looks like ${guess.name}` : ''}`,
    `save it as UTF-8${guess ? `, for example: iconv -f ${guess.label} -t UTF-8 old.txt > new.txt` : ''}`,
  );
}

function failure(where: string, line: number, message: string, hint: string): OptionError {
  return new OptionError(`${escapeText(where)}:${line}: ${message}`, { path: where, hint });
}

/** Offset of the first byte that is no UTF-8, in bytes that are not. */
function firstInvalid(bytes: Uint8Array): number {
  const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);
  let at = 0;
  for (const letter of text) {
    const code = letter.codePointAt(0)!;
    // The replacement character, unless it is there as itself.
    if (code === 0xfffd && !(bytes[at] === 0xef && bytes[at + 1] === 0xbf && bytes[at + 2] === 0xbd)) return at;
    at += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  }
  return Math.min(at, bytes.length - 1);
}

/** One character's first bytes and then the end of the file. */
function isCutCharacter(rest: Uint8Array): boolean {
  const lead = rest[0]!;
  const length =
    lead >= 0xf0 && lead <= 0xf4 ? 4 : lead >= 0xe0 && lead < 0xf0 ? 3 : lead >= 0xc2 && lead < 0xe0 ? 2 : 0;
  return rest.length < length && rest.subarray(1).every((byte) => (byte & 0xc0) === 0x80);
}

/** Line of a byte, from 1: as many as there are line ends before it. */
function lineOf(bytes: Uint8Array, at: number): number {
  let line = 1;
  for (let i = 0; i < at; i++) if (bytes[i] === 0x0a || (bytes[i] === 0x0d && bytes[i + 1] !== 0x0a)) line++;
  return line;
}

function startsWith(bytes: Uint8Array, beginning: string): boolean {
  return bytes.length >= beginning.length && [...beginning].every((letter, i) => bytes[i] === letter.charCodeAt(0));
}
