/** Rows A9 and A10: pickles in weight files, hostile ones, such with harmless extras, and bombs. */
import { DimoError } from '@dimo/core';
import { readTorchStateDict } from '@dimo/core/weight-files';
import { existsSync, readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { torchZip } from '../../packages/core/src/weight-files/torch/test-support/torch-writer.js';
import { buildChild, startChild } from './child-programs.js';

interface Entry {
  readonly name: string;
  /** `weights`, or what the error names. */
  readonly expect: string;
  readonly pickle: string;
}

const entries = JSON.parse(
  readFileSync(new URL('../fixtures/pickles/pickles.json', import.meta.url), 'utf8'),
) as Entry[];
const fileOf = ({ pickle }: Entry): Uint8Array =>
  torchZip(new Uint8Array(Buffer.from(pickle, 'base64')), { 0: Float32Array.of(1, 2) });
const failureOf = async ({ ...entry }: Entry): Promise<string> => {
  try {
    const { weight } = await readTorchStateDict(fileOf(entry), { only: (name) => name === 'weight' });
    return `was read: ${weight?.data.join()}`;
  } catch (error) {
    if (!DimoError.isInstance(error)) throw error;
    return error.message;
  }
};

describe('A9: pickles made by Python', () => {
  const hostile = entries.filter((entry) => entry.expect !== 'weights');
  const harmless = entries.filter((entry) => entry.expect === 'weights');

  it(`with a program in them are refused by its name (${hostile.length} files), and nothing is run`, async () => {
    expect(hostile.length).toBeGreaterThanOrEqual(200);
    for (const entry of hostile) expect([entry.name, await failureOf(entry)]).toEqual([entry.name, naming(entry)]);
    expect(existsSync('dimo-canary')).toBe(false);
  });

  const naming = (entry: Entry): unknown => expect.stringContaining(entry.expect);

  it(`with harmless data beside the weights are read (${harmless.length} files)`, async () => {
    expect(harmless.length).toBeGreaterThanOrEqual(100);
    for (const entry of harmless) expect([entry.name, await failureOf(entry)]).toEqual([entry.name, 'was read: 1,2']);
  });
});

describe('A10: pickles that grow', () => {
  let program: string;
  beforeAll(() => void (program = buildChild('pickle-bombs')));

  it('end as an error or are read, each in little time and memory', { timeout: 300_000 }, async () => {
    const child = startChild(program, []);
    expect(await child.ended).toBe(0);
    const results = child.lines.map(
      (line) => JSON.parse(line) as { name: string; answer: string; cpuMs: number; mb: number },
    );
    expect(results.length).toBeGreaterThanOrEqual(16);
    console.log(results.map(({ name, cpuMs, mb }) => `${name}: ${cpuMs} ms, ${mb} MB`).join('\n'));
    for (const { name, answer, cpuMs, mb } of results) {
      expect([name, answer]).toEqual([name, expect.stringMatching(/^(?:read|weights)$/)]);
      // Processor time of one bomb: a second on a quiet machine, more where the garbage collector has to share it.
      expect([name, cpuMs < 5000], `${cpuMs} ms`).toEqual([name, true]);
      expect([name, mb < 256], `${mb} MB`).toEqual([name, true]);
    }
  });
});
