/** Reads files whose first 8 bytes or header lie about sizes; prints a line of JSON with the errors and memory growth. */
import { DimoError, parseSafetensorsHeader, readSafetensors, safetensorsHeaderLength } from '@dimo/core';
import { writeSync } from 'node:fs';

function file(length: bigint, text = '', data = 0): Uint8Array {
  const json = Buffer.from(text);
  const bytes = new Uint8Array(8 + json.length + data);
  new DataView(bytes.buffer).setBigUint64(0, length, true);
  bytes.set(json, 8);
  return bytes;
}

const good = '{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}';
const small: [string, Uint8Array][] = [
  ['2^40', file(2n ** 40n, good, 4)],
  ['2^63', file(2n ** 63n, good, 4)],
  ['2^64 - 1', file(2n ** 64n - 1n, good, 4)],
  ['2^53 + 1', file(2n ** 53n + 1n, good, 4)],
  ['2^32', file(2n ** 32n, good, 4)],
  ['just beyond the limit', file(100_000_001n, good, 4)],
  ['the limit, but not the file', file(100_000_000n, good, 4)],
  ['one more than the file', file(BigInt(good.length + 5), good, 4)],
  ['0', file(0n, good, 4)],
  ['1', file(1n, good, 4)],
  ['empty file', new Uint8Array(0)],
  ['7 bytes', new Uint8Array(7)],
  ['8 bytes', file(2n)],
  ['array', file(2n, '[]')],
  ['space first', file(BigInt(good.length + 1), ` ${good}`, 4)],
  ['byte order mark first', file(BigInt(good.length + 3), `\ufeff${good}`, 4)],
  ['null bytes', file(16n, '\0'.repeat(16))],
  ['nothing but open braces', file(100_000n, '{'.repeat(100_000))],
  ['50,000 deep', file(100_006n, `{"x":${'['.repeat(50_000)}${']'.repeat(50_000)}}`)],
  [
    'a tensor of 2^50 bytes',
    file(66n, '{"x":{"dtype":"U8","shape":[1125899906842624],"data_offsets":[0,4]}}'.slice(0, 66), 4),
  ],
];
const answers: [string, string][] = [];
const before = process.resourceUsage().maxRSS;
for (const [name, bytes] of small) answers.push([name, answer(() => readSafetensors(bytes))]);
// The length of a file that is not read into memory: 1 TiB.
answers.push(['1 TiB file', answer(() => parseSafetensorsHeader(file(2n ** 39n, good, 4), 2 ** 40))]);
// What a reader that reads the header by its length would allocate.
for (const [name, bytes] of small.slice(0, 13))
  answers.push([`length: ${name}`, answer(() => safetensorsHeaderLength(bytes.subarray(0, 8), bytes.length))]);
const growthMb = (process.resourceUsage().maxRSS - before) / 1024;
writeSync(1, `${JSON.stringify({ answers, growthMb })}\n`);

function answer(read: () => unknown): string {
  try {
    read();
    return 'accepted';
  } catch (error) {
    return DimoError.isInstance(error) ? error.code : String(error);
  }
}
