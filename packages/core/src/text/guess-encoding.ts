/** In which encoding bytes that are no UTF-8 probably are: a word for an error message, nothing is decoded by it. */

/** An encoding that somebody may have saved a text in. */
export interface GuessedEncoding {
  /** For people: `GBK (simplified Chinese)`. */
  readonly name: string;
  /** As `iconv` and `TextDecoder` know it. */
  readonly label: string;
}

const utf16le = { name: 'UTF-16 (little-endian)', label: 'UTF-16LE' };
const utf16be = { name: 'UTF-16 (big-endian)', label: 'UTF-16BE' };
const utf32le = { name: 'UTF-32 (little-endian)', label: 'UTF-32LE' };
const utf32be = { name: 'UTF-32 (big-endian)', label: 'UTF-32BE' };
const gbk = { name: 'GBK (simplified Chinese)', label: 'GBK' };
const big5 = { name: 'Big5 (traditional Chinese)', label: 'BIG5' };
const shiftJis = { name: 'Shift-JIS (Japanese)', label: 'SHIFT_JIS' };
const eucJp = { name: 'EUC-JP (Japanese)', label: 'EUC-JP' };
const eucKr = { name: 'EUC-KR (Korean)', label: 'EUC-KR' };
const cyrillic = { name: 'Windows-1251 (Cyrillic)', label: 'WINDOWS-1251' };
const western = { name: 'Windows-1252 or Latin-1', label: 'WINDOWS-1252' };

/** Bytes that are looked at; the beginning of a text says what the rest is. */
const sampleBytes = 2 ** 16;

/**
 * UTF-16 or UTF-32 by its byte order mark, or by where its zero bytes are; undefined for anything else.
 *
 * @param isUtf8 - the bytes are UTF-8 too: then a few zero bytes are null characters; only many controls say UTF-16.
 */
export function guessWideEncoding(bytes: Uint8Array, isUtf8: boolean): GuessedEncoding | undefined {
  const [a, b, c, d] = bytes;
  if (a === 0xff && b === 0xfe) return c === 0 && d === 0 && bytes.length % 4 === 0 ? utf32le : utf16le;
  if (a === 0xfe && b === 0xff) return utf16be;
  if (a === 0 && b === 0 && c === 0xfe && d === 0xff) return utf32be;
  const sample = bytes.subarray(0, sampleBytes - (sampleBytes % 4));
  const zeros = [0, 0, 0, 0];
  for (let i = 0; i < sample.length; i++) if (sample[i] === 0) zeros[i % 4]!++;
  const [z0, z1, z2, z3] = zeros as [number, number, number, number];
  const units = sample.length / 4;
  if (units >= 1 && z3 >= 0.9 * units && z2 >= 0.9 * units && z0 < 0.5 * units) return utf32le;
  if (units >= 1 && z0 >= 0.9 * units && z1 >= 0.9 * units && z3 < 0.5 * units) return utf32be;
  // Line feeds, spaces and digits have a zero byte in UTF-16 whatever the script; always on the same side.
  const [even, odd] = [z0 + z2, z1 + z3];
  if (isUtf8 && countIf(sample, isControl) < 0.2 * sample.length) return undefined;
  if (odd > 0 && even === 0) return looksLikeWideText(sample, 'utf-16le') ? utf16le : undefined;
  if (even > 0 && odd === 0) return looksLikeWideText(sample, 'utf-16be') ? utf16be : undefined;
  return undefined;
}

/** Decodes without an error and holds letters rather than controls. */
function looksLikeWideText(sample: Uint8Array, label: string): boolean {
  const text = decoded(sample.subarray(0, sample.length - (sample.length % 2)), label);
  if (text === undefined || text.length === 0) return false;
  const odd = text.match(/[\p{Cc}\p{Cn}\p{Co}]/gu)?.filter((letter) => !/[\t\n\r]/.test(letter)).length ?? 0;
  return odd <= 0.02 * text.length;
}

/** An older encoding of bytes that are no UTF-8, by the letters that it would make of them. */
export function guessLegacyEncoding(bytes: Uint8Array): GuessedEncoding | undefined {
  const sample = bytes.subarray(0, sampleBytes);
  const { high, runs, pairs } = countHigh(sample);
  if (high === 0) return undefined;
  // A text cut within a character decodes but for its last letter.
  const share = (label: string, letters: RegExp): number => {
    const text =
      decoded(sample, label) ?? decoded(sample.subarray(0, -1), label) ?? decoded(sample.subarray(0, -3), label);
    const foreign = text?.match(/[^\0-\u007f]/gu) ?? [];
    return foreign.filter((letter) => letters.test(letter)).length / Math.max(1, foreign.length);
  };
  const kana = /[\u3041-\u30ff]/;
  const han = /[\u3001-\u30ff\u4e00-\u9fff\uff01-\uff5e]/;
  if (share('shift_jis', kana) > 0.2 && share('shift_jis', han) > 0.9) return shiftJis;
  if (share('euc-jp', kana) > 0.2 && share('euc-jp', han) > 0.9) return eucJp;
  // Pairs of Latin letters are characters of Chinese in UTF-16 too.
  const isMostlyLatin = countIf(sample, isLatin) > 0.6 * sample.length;
  if (!isMostlyLatin && bytes.length % 2 === 0 && share('utf-16le', han) > 0.95) return utf16le;
  if (!isMostlyLatin && bytes.length % 2 === 0 && share('utf-16be', han) > 0.95) return utf16be;
  if (/[\u0001-\u0008\u000e-\u001a\u001c-\u001f]/.test(decoded(sample, 'windows-1252') ?? '')) return undefined;
  const averageRun = high / runs;
  if (averageRun >= 1.5) {
    const korean = share('euc-kr', /[\uac00-\ud7a3]/);
    // Frequent characters of Chinese fill the same rows, but Chinese has no spaces between words.
    if (korean > 0.95 && hasWordsBetweenSpaces(sample)) return eucKr;
    const simplified = share('gb18030', han) > 0.9 ? pairs.gbk : 0;
    const traditional = share('big5', han) > 0.9 ? pairs.big5 : 0;
    if (Math.max(simplified, traditional) > 0.6) return simplified >= traditional ? gbk : big5;
    if (share('windows-1251', /[\u0410-\u044f\u0401\u0451]/) > 0.9) return cyrillic;
  }
  return averageRun < 2.5 && share('windows-1252', /[\u0080-\u017e\u2013-\u20ac\u2122]/) > 0.9 ? western : undefined;
}

/** Bytes beyond ASCII, how many runs of them there are, and the part of them that are the frequent characters of Chinese. */
function countHigh(bytes: Uint8Array): {
  readonly high: number;
  readonly runs: number;
  readonly pairs: { readonly gbk: number; readonly big5: number };
} {
  let [high, runs, characters, gbk, big5] = [0, 0, 0, 0, 0];
  for (let i = 0; i < bytes.length; i++) {
    if (bytes[i]! < 0x80) continue;
    if (i === 0 || bytes[i - 1]! < 0x80) runs++;
    high++;
  }
  for (let i = 0; i + 1 < bytes.length; i++) {
    const [lead, trail] = [bytes[i]!, bytes[i + 1]!];
    if (lead < 0x81) continue;
    characters++;
    // The punctuation of both, then the rows of frequent characters: B0 to D7 in GBK, A4 to C6 in Big5.
    if (trail >= 0xa1 && (lead === 0xa1 || lead === 0xa3 || (lead >= 0xb0 && lead <= 0xd7))) gbk++;
    if (trail >= 0x40 && lead >= 0xa1 && lead <= 0xc6) big5++;
    i++;
  }
  const each = Math.max(1, characters);
  return { high, runs, pairs: { gbk: gbk / each, big5: big5 / each } };
}

function hasWordsBetweenSpaces(bytes: Uint8Array): boolean {
  return bytes.some((byte, i) => byte === 0x20 && (bytes[i - 1] ?? 0) >= 0x80 && (bytes[i + 1] ?? 0) >= 0x80);
}

function isControl(byte: number): boolean {
  return byte < 0x20 && byte !== 0x09 && byte !== 0x0a && byte !== 0x0d;
}

/** A letter of ASCII, or the space between two. */
function isLatin(byte: number): boolean {
  return byte === 0x20 || ((byte | 0x20) >= 0x61 && (byte | 0x20) <= 0x7a);
}

function countIf(bytes: Uint8Array, isCounted: (byte: number) => boolean): number {
  return bytes.reduce((count, byte) => count + Number(isCounted(byte)), 0);
}

function decoded(bytes: Uint8Array, label: string): string | undefined {
  try {
    return new TextDecoder(label, { fatal: true }).decode(bytes);
  } catch {
    // Not these letters, or an engine that was built without this encoding.
    return undefined;
  }
}
