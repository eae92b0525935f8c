/**
 * A checkpoint must not need the memory of the state again: a run that fits while it trains would die while it is saved.
 * The bounds are loose, for garbage is collected late on a busy machine; a second copy of the state is far beyond them.
 */
import { execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const mebibytes = 400;
const root = fileURLToPath(new URL('../..', import.meta.url));
let folder: string;
beforeAll(async () => void (folder = await mkdtemp(path.join(tmpdir(), 'dimo-memory-'))));
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Trains a step and saves; what was resident after the step, and at most, in MiB. */
function trainAndSave(): { trained: number; peak: number } {
  const program = path.join(root, 'tests/robustness/children/large-state.ts');
  const loader = path.join(root, 'tests/support/source-loader.mjs');
  const flags = ['--conditions=@dimo/source', '--import', loader];
  const output = execFileSync(process.execPath, [...flags, program, folder, String(mebibytes)], { encoding: 'utf8' });
  const number = (word: string): number => Number(new RegExp(`${word} (\\d+)`).exec(output)![1]) / 2 ** 10;
  return { trained: number('trained'), peak: number('peak') };
}

describe.skipIf(process.platform !== 'linux')(`a state of ${mebibytes} MiB`, { timeout: 300_000 }, () => {
  it('is saved with less than 200 MiB more, and read back with less than that', () => {
    const first = trainAndSave();
    expect(first.trained).toBeGreaterThan(mebibytes);
    expect(first.peak - first.trained).toBeLessThan(200);
    const resumed = trainAndSave();
    expect(resumed.peak - first.trained).toBeLessThan(200);
  });
});
