/** Reads pickles that want time or memory, each in a process of its own; prints a line of JSON for each. */
import { DimoError } from '@dimo/core';
import { spawnSync } from 'node:child_process';
import { writeSync } from 'node:fs';
import { readPickle } from '../../../packages/core/src/weight-files/torch/pickle.js';

const repeated = (count: number, text: string, before = '', after = ''): Buffer =>
  Buffer.concat([
    Buffer.from(before, 'latin1'),
    Buffer.alloc(count * text.length, text, 'latin1'),
    Buffer.from(after, 'latin1'),
  ]);
const longOf = (length: number): string =>
  `\x8b${String.fromCharCode(length & 255, length >>> 8)}\0\0${'\x77'.repeat(length)}0`;

const bombs: Readonly<Record<string, () => Buffer>> = {
  'marks without end': () => repeated(60_000_000, '('),
  'one value on the stack again and again': () => repeated(60_000_000, '2', 'N'),
  'one value remembered again and again': () => repeated(60_000_000, '\x94', 'N'),
  'values that are pushed and popped': () => repeated(30_000_000, 'N0'),
  'empty tuples': () => repeated(30_000_000, ')0'),
  'a tuple, 599,999 deep': () => repeated(599_998, '\x85', ')', '.'),
  'a tuple, a million deep': () => repeated(1_000_000, '\x85', ')', '.'),
  'a list, 499,999 deep': () => repeated(499_998, ']', '', `${'a'.repeat(499_997)}.`),
  'dictionaries of one entry': () => repeated(9_000_000, '}K\x01K\x01s', '('),
  'a list that holds itself': () => Buffer.from(']q\0h\0a.', 'latin1'),
  'lists that hold the one before ten times': () => repeated(90_000, '(2222222222l', ']'),
  'short texts': () => repeated(9_000_000, 'U\x04abcd0'),
  'long texts': () => repeated(2_000_000, `U\x1e${'abcdefghij'.repeat(3)}0`),
  'integers of 1024 bytes': () => repeated(60_000, longOf(1024)),
  'an integer of 2^31 bytes': () => Buffer.from('\x8b\xff\xff\xff\x7f', 'latin1'),
  'integers of 2000 digits': () => repeated(30_000, `I${'7'.repeat(2000)}\n0`),
  'an integer of 60 million digits': () => repeated(60_000_000, '7', 'I', '\n.'),
  'a number that is none after 200,000 digits': () => repeated(200_000, '1', 'F', 'x\n'),
  'names of classes': () => repeated(4_000_000, 'cfoo.bar\nBaz\n0'),
  'calls of one class': () => repeated(10_000_000, 'h\0)R0', 'cfoo.bar\nBaz\nq\0'),
  'dictionaries made from one long list': () =>
    repeated(100_000, 'h\x01h\0\x85R0', `(${'(K\x01K\x02t'.repeat(100_000)}lq\0ccollections\nOrderedDict\nq\x01`),
};

const [, , wanted] = process.argv;
if (wanted === undefined)
  for (const name of Object.keys(bombs)) {
    const { stdout, status, signal } = spawnSync(process.execPath, [process.argv[1]!, name], { encoding: 'utf8' });
    writeSync(
      1,
      stdout.trim() === '' ? `${JSON.stringify({ name, answer: `ended with ${status ?? signal}` })}\n` : stdout,
    );
  }
else {
  const bytes = bombs[wanted]!();
  const before = process.cpuUsage();
  const answer = read(bytes);
  const { user, system } = process.cpuUsage(before);
  // The peak of the whole process, Node itself and the file included.
  const mb = Math.round(process.resourceUsage().maxRSS / 1024);
  writeSync(1, `${JSON.stringify({ name: wanted, answer, cpuMs: Math.round((user + system) / 1000), mb })}\n`);
}

function read(bytes: Uint8Array): string {
  try {
    readPickle(bytes);
    return 'read';
  } catch (error) {
    return DimoError.isInstance(error) ? error.code : String(error);
  }
}
