/** What `dimo eval` keeps for the next time follows what is in a dataset, not what it is called. */
import { mkdtemp, readdir, readFile, rm, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runDimo, startDimo } from '../support/run-dimo.js';

const tests = fileURLToPath(new URL('..', import.meta.url));
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'dimo-judge-'));
});
afterAll(() => rm(folder, { recursive: true }));

const cache = (): string => path.join(folder, 'cache');
const flags = (dataset: string): string[] => [
  ...['eval', '--plugin', './support/toy-plugin.mjs', '--plugin', './support/toy-images.mjs', '--dataset', dataset],
  ...['--teacher-plugin', 'toy', '--engine', 'cpu', '--count', '40', '--teacher-steps', '[2]'],
  ...['--out', path.join(folder, 'eval.json')],
];

interface Row {
  readonly fid: number;
  readonly inceptionScore?: number;
  readonly classConsistency?: number;
}

/** The row of the teacher, and what was told meanwhile. */
async function evaluate(dataset: string, env: Record<string, string> = {}, ...more: string[]) {
  const args = [...flags(dataset), '--set', 'eval.judge.numSteps=3', '--json', ...more];
  const { code, stdout, stderr } = await runDimo(args, { cwd: tests, env: { DIMO_CACHE: cache(), ...env } });
  expect(code, stderr).toBe(0);
  return { row: (JSON.parse(stdout) as { rows: Row[] }).rows[0]!, stderr };
}

describe('the judge of a dataset', { timeout: 120_000 }, () => {
  it('is trained once, again when the pictures changed, and again when its file is damaged', async () => {
    const first = await evaluate('toy-images');
    expect(first.stderr).toMatch(/training a classifier of toy-images .*\njudge 1\/3 .*ETA/);
    expect(first.stderr).toMatch(/judge 3\/3 .*ETA 0 s/);
    const again = await evaluate('toy-images');
    expect(again.stderr).not.toContain('training a classifier');
    expect(again.stderr).not.toContain('features of');
    expect(again.row).toMatchObject({ fid: first.row.fid, inceptionScore: first.row.inceptionScore });
    const changed = await evaluate('toy-images', { TOY_IMAGES: '1' });
    expect(changed.stderr).toContain('training a classifier');
    expect(changed.row.fid).not.toBe(first.row.fid);
    // As if the cache had been empty.
    const fresh = await evaluate('toy-images', { TOY_IMAGES: '1', DIMO_CACHE: path.join(folder, 'fresh') });
    expect(changed.row.fid).toBe(fresh.row.fid);
    for (const name of await readdir(cache())) await truncate(path.join(cache(), name), 100);
    const repaired = await evaluate('toy-images');
    expect(repaired.stderr).toContain('training a classifier');
    expect(repaired.row.fid).toBe(first.row.fid);
    const longer = await evaluate('toy-images', {}, '--set', 'eval.judge.numSteps=4');
    expect(longer.stderr).toContain('judge 4/4');
  });

  it('of one class is a random network, and the table says so', async () => {
    const args = flags('one-class');
    const { code, stdout, stderr } = await runDimo(args, { cwd: tests, env: { DIMO_CACHE: cache() } });
    expect(code, stderr).toBe(0);
    expect(stdout).toMatch(/\nteacher +2 +[\d.]+ +– /);
    expect(stdout).toContain('random network, because one-class has no two classes to learn');
    const { row } = await evaluate('two-classes', {}, '--set', 'eval.judge.kind=random');
    expect(row.inceptionScore).toBeUndefined();
    const saved = JSON.parse(await readFile(path.join(folder, 'eval.json'), 'utf8')) as { notes: string[] };
    expect(saved.notes.join('\n')).toContain('random network: they rank');
  });

  it('Ctrl-C while it is trained ends with 130 and leaves nothing half done', async () => {
    const own = path.join(folder, 'stopped');
    const running = startDimo([...flags('toy-images'), '--set', 'eval.judge.numSteps=1000000'], {
      cwd: tests,
      env: { DIMO_CACHE: own },
    });
    await running.printed('judge 1/');
    running.process.kill('SIGINT');
    const { code, stderr } = await running.ended;
    expect(code, stderr).toBe(130);
    expect(stderr).toContain('error: training the classifier of toy-images was stopped');
    expect(await readdir(own).catch(() => [])).toEqual([]);
  });

  it('more samples than training images are refused before it is trained', async () => {
    const args = [...flags('toy-images'), '--count', '201'];
    const { code, stderr } = await runDimo(args, { cwd: tests, env: { DIMO_CACHE: path.join(folder, 'none') } });
    expect(code).toBe(2);
    expect(stderr).toContain('eval.count must be at most 200, got 201');
    expect(stderr).not.toContain('training a classifier');
  });
});
