/** Texts in other encodings, as Python's codecs write them (`'...'.encode('gbk').hex()`), are refused and named. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DimoError } from '../errors.js';
import { decodeText } from './decode-text.js';

const bytes = (hex: string): Uint8Array => Uint8Array.from(hex.match(/../g) ?? [], (byte) => parseInt(byte, 16));
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

function failure(content: Uint8Array): DimoError {
  try {
    decodeText(content, 'prompts.txt');
  } catch (error) {
    if (DimoError.isInstance(error)) return error;
    throw error;
  }
  throw new Error('accepted');
}

/** UTF-16 and UTF-32, which Python and editors on Windows write. */
function wide(text: string, unit: 2 | 4, littleEndian: boolean): Uint8Array {
  const codes =
    unit === 2
      ? Array.from({ length: text.length }, (_, i) => text.charCodeAt(i))
      : [...text].map((c) => c.codePointAt(0)!);
  const view = new DataView(new ArrayBuffer(codes.length * unit));
  codes.forEach((code, i) =>
    unit === 2 ? view.setUint16(i * 2, code, littleEndian) : view.setUint32(i * 4, code, littleEndian),
  );
  return new Uint8Array(view.buffer);
}

describe('decodeText', () => {
  it('keeps every text in UTF-8, with and without a byte order mark', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 60 }), (any) => {
        const text = any.replace(/^\ufeff+/, '').replaceAll('\0', '');
        expect(decodeText(utf8(text), 'a')).toBe(text);
        expect(decodeText(utf8(`\ufeff${text}`), 'a')).toBe(text);
      }),
      { numRuns: 500, seed: 3 },
    );
  });

  it('keeps a replacement character that stands in the file', () => {
    expect(decodeText(utf8('what is \ufffd?\r\n'), 'a')).toBe('what is \ufffd?\r\n');
  });

  it.each([
    ['一只猫\n红色的球\n', 'UTF-16', 2],
    ['a photo of a cat\r\na red ball\r\n', 'UTF-16', 2],
    ['кошка на окне\n', 'UTF-16', 2],
    ['a cat', 'UTF-32', 4],
    ['猫と犬\n', 'UTF-32', 4],
  ] as const)('names %j in %s, of both byte orders, with and without a mark', (text, name, unit) => {
    for (const littleEndian of [true, false])
      for (const mark of ['\ufeff', ''])
        expect(failure(wide(mark + text, unit, littleEndian)).message, `${mark} ${littleEndian}`).toContain(
          `looks like ${name} (${littleEndian ? 'little' : 'big'}-endian)`,
        );
  });

  it.each([
    ['GBK', 'd2bbd6bbc3a80abaecc9abb5c4c7f20a', 2, 7], // 一只猫 (happens to be UTF-8 too) / 红色的球
    ['GBK', '6120636174d2bbd6bbc3a82c20bbf0b3b5cdb7', 1, 13], // a cat一只猫, 火车头
    ['Shift-JIS', '61206361740a90d482a2837b815b838b0a', 2, 6], // a cat / 赤いボール
    ['EUC-JP', 'c0d6a4a4a5dca1bca5eb0a', 1, 0], // 赤いボール
    ['EUC-KR', 'bba1b0a3b0f820c7cfb3aa0a', 1, 0], // 빨간공 하나
    ['Big5', 'a440b0a6bfdfa94da440add3acf5a6e2aabab2790a', 1, 0], // 一隻貓和一個紅色的球
    ['Windows-1251', 'eaeef8eae020ede020eeeaede50a', 1, 0], // кошка на окне
    ['Windows-1252 or Latin-1', '72756e3a0a20206e616d653a20636166e90a', 2, 16], // run: / name: café
    ['Windows-1252 or Latin-1', '93717569746594206120636166e92c20a335', 1, 0], // curly quotes, a pound sign
  ])('names %s, its line and byte', (name, hex, line, offset) => {
    const error = failure(bytes(hex));
    expect(error.message).toMatch(new RegExp(`^prompts\\.txt:${line}: is not UTF-8 \\(byte ${offset} is 0x`));
    expect(error.message).toContain(`looks like ${name}`);
    expect(error.hint).toContain('iconv -f');
    expect(error.code).toBe('option');
  });

  it.each([
    ['a null character', '61206361740a6120646f6700', /^prompts\.txt:2: holds a null character \(byte 11\)/],
    ['half of a surrogate pair', '610a20eda0bd', /^prompts\.txt:2: is not UTF-8: it holds half of a surrogate pair/],
    ['a cut character', '636166c3a9c3', /:1: ends within a character \(byte 5 is 0xc3\)/],
    ['an overlong slash', '61c0af62', /:1: is not UTF-8 \(byte 1 is 0xc0\)/],
    ['a code beyond Unicode', 'f4908080', /:1: is not UTF-8 \(byte 0/],
    ['an old Mac line before it', '610d62e9', /:2: is not UTF-8 \(byte 3/],
    ['a fault behind a replacement character', 'efbfbd0aff', /:2: is not UTF-8 \(byte 4 is 0xff\)/],
    ['a picture', '89504e470d0a1a0a00', /:1: is no text, it looks like a PNG image/],
    ['an archive', '504b030414000000', /looks like a zip archive/],
  ])('refuses %s', (_name, hex, message) => {
    expect(failure(bytes(hex)).message).toMatch(message);
  });

  it('refuses or keeps any bytes, and fast', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (content) => {
        try {
          expect(Buffer.from(decodeText(content, 'a')).toString('hex')).toBe(
            Buffer.from(content)
              .toString('hex')
              .replace(/^efbbbf/, ''),
          );
        } catch (error) {
          if (!DimoError.isInstance(error)) throw error;
        }
      }),
      { numRuns: 2000, seed: 5 },
    );
  });
});
