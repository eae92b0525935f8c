/** Every benchmark runs, with its smallest arguments; what it measures is not looked at. */
import { spawn } from 'node:child_process';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const folder = fileURLToPath(new URL('../../bench/', import.meta.url));
/** Arguments by benchmark. */
const smallest: Readonly<Record<string, readonly string[]>> = {
  'cli-start.mjs': ['runs=1'],
  'decoder.mjs': ['decoder=maskgit', 'pixels=32', 'rounds=1'],
  'maskgit-sample.mjs': ['size=tiny', 'rounds=1', 'steps=2'],
  'meissonic-full-size.mjs': ['size=tiny', 'grid=4', 'rounds=1'],
  'meissonic-sample.mjs': ['size=tiny'],
  'one-step.mjs': ['images=8', 'batch=8', 'rounds=1', 'steps=2'],
  'profile-step.mjs': ['case=tiny', 'runs=2', 'top=3'],
  'sampler-quality.mjs': ['count=20', 'passes=2', 'samplers=halton'],
  'samplers.mjs': ['--steps', '2'],
  'train-step.mjs': ['case=tiny', 'rounds=1', 'steps=1'],
};
/** Take minutes whatever they are given: on an emulated GPU, or by waiting until connections have ended. */
const long = ['serve-soak.mjs', 'webgpu.mjs'];

let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'dimo-benches-'));
});
afterAll(() => rm(scratch, { recursive: true, force: true }));

/** Exit code and what was printed. */
function run(name: string, args: readonly string[]): Promise<{ readonly code: number | null; readonly text: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [join(folder, name), ...args], { cwd: scratch });
    let text = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (text += chunk.toString()));
    child.on('error', reject);
    child.on('exit', (code) => resolve({ code, text }));
  });
}

describe('benchmarks', { timeout: 300_000 }, () => {
  it('are all run here', async () => {
    const files = (await readdir(folder)).filter((name) => name.endsWith('.mjs'));
    expect([...Object.keys(smallest), ...long].sort()).toEqual(files.sort());
  });

  for (const [name, args] of Object.entries(smallest))
    it(`${name} ${args.join(' ')}`, async () => {
      const { code, text } = await run(name, args);
      expect(code, text).toBe(0);
      expect(text).toMatch(/\d/);
    });

  it('refuse an option that they do not have', async () => {
    const { code, text } = await run('train-step.mjs', ['rouns=1']);
    expect(code).not.toBe(0);
    expect(text).toContain('unknown option "rouns"');
  });
});
