/** A run folder stands for what it made; `info` knows every folder; JSON is one whole document. */
import { decode } from 'fast-png';
import { cp, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runDimo, type DimoResult } from '../support/run-dimo.js';

const tests = fileURLToPath(new URL('..', import.meta.url));
const plugin = ['--plugin', './support/toy-plugin.mjs'];
const cpu = ['--engine', 'cpu'];
let folder: string;
const at = (...parts: string[]): string => path.join(folder, ...parts);
const dimo = (...args: string[]): Promise<DimoResult> =>
  runDimo(args, { cwd: tests, env: { DIMO_CACHE: at('cache'), npm_lifecycle_script: '' } });

async function succeed(...args: string[]): Promise<DimoResult> {
  const result = await dimo(...args);
  expect(result.code, `${args.join(' ')}\n${result.stdout}${result.stderr}`).toBe(0);
  return result;
}

/** Standard output is one JSON document. */
const json = async (...args: string[]) =>
  JSON.parse((await succeed(...args, '--json')).stdout) as Record<string, unknown>;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'dimo-run-folders-'));
  await succeed(
    ...['train', 'teacher', ...plugin, ...cpu, '--teacher-plugin', 'toy', '--dataset', 'toy-tokens', '--steps', '20'],
    ...['--batch', '10', '--runs', folder, '--name', 'taught', '-q'],
  );
  await succeed(
    ...['distill', ...plugin, ...cpu, '--teacher', at('taught'), '--steps', '20', '--batch', '8', '--runs', folder],
    ...['--name', 'run', '-q'],
  );
}, 300_000);
afterAll(() => rm(folder, { recursive: true }));

describe('a run folder', { timeout: 300_000 }, () => {
  it('is a teacher or a generator wherever one is asked for', async () => {
    const teacher = await json(
      'sample',
      ...plugin,
      ...cpu,
      '--teacher',
      at('taught'),
      '--count',
      '2',
      '--out',
      at('t.png'),
    );
    expect(teacher).toMatchObject({ model: `teacher ${at('taught')}`, count: 2 });
    const asModel = await json(
      'sample',
      ...plugin,
      ...cpu,
      '--model',
      at('taught'),
      '--count',
      '2',
      '--out',
      at('t.png'),
    );
    expect(asModel).toMatchObject({ model: `teacher ${at('taught')}` });
    const wrong = await dimo('distill', ...plugin, ...cpu, '--teacher', at('run'), '--runs', folder);
    expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining('is a one-step generator, not a teacher')]);
    expect((await succeed('report', at('run', 'generator'))).stdout.trim()).toBe(at('run', 'report.html'));
    expect(await json('report', at('run'), '--out', at('r.html'))).toEqual({ written: at('r.html') });
    for (const [run, kind] of [
      ['run', 'generator'],
      ['taught', 'teacher'],
    ] as const) {
      const source = at(run, kind);
      expect(await json('import', ...plugin, at(run))).toMatchObject({ kind, source });
      await succeed('import', ...plugin, at(run), '--out', at(`imported-${run}`));
      expect(JSON.parse(await readFile(at(`imported-${run}`, 'dimo.json'), 'utf8'))).toMatchObject({ kind, source });
    }
    const flags = [...plugin, ...cpu, '--count', '2', '--out', at('t.png')];
    expect(await json('sample', ...flags, '--model', at('imported-run'))).toMatchObject({ count: 2 });
  });

  it('that is continued without the name of an engine takes the one it was computed with', async () => {
    await cp(at('run'), at('continued'), { recursive: true });
    const resume = ['distill', ...plugin, '--engine', 'auto', '--resume', at('continued')];
    const { stderr } = await succeed(...resume);
    expect(stderr).toMatch(/^engine cpu on .*, as before$/m);
    const overridden = await succeed(...resume, '--resume-override', 'engine');
    expect(overridden.stderr).toMatch(/^engine (?!cpu)/m);
  });

  it('that is resumed after its last step keeps its verdict', async () => {
    for (const [name, command] of [
      ['run', ['distill']],
      ['taught', ['train', 'teacher']],
    ] as const) {
      await cp(at(name), at(`${name}-again`), { recursive: true });
      // The numbers behind it come from the log, which holds seven digits of them.
      const verdict = async (): Promise<unknown> => {
        const text = await readFile(at(`${name}-again`, 'health.json'), 'utf8');
        return JSON.parse(text, (_, value: unknown) => (typeof value === 'number' ? Number(value.toFixed(4)) : value));
      };
      const before = await verdict();
      expect(before).not.toMatchObject({ verdict: 'unknown' });
      await succeed(...command, ...plugin, ...cpu, '--resume', at(`${name}-again`), '-q');
      expect(await verdict()).toEqual(before);
    }
  });

  it('without a result says where it stands and how to go on; an older result is told', async () => {
    await cp(at('run'), at('cut'), { recursive: true });
    await rm(at('cut', 'generator'), { recursive: true });
    const { code, stderr } = await dimo('sample', ...plugin, ...cpu, '--model', at('cut'), '--out', at('x.png'));
    expect(code).toBe(2);
    expect(stderr).toContain(
      `${at('cut')} is a run that has not written its result yet; its newest checkpoint is of step 20`,
    );
    expect(stderr).toContain(`dimo distill --resume ${at('cut')}`);

    await cp(at('run'), at('going-on'), { recursive: true });
    const config = await readFile(at('going-on', 'config.yaml'), 'utf8');
    await writeFile(at('going-on', 'config.yaml'), config.replace('numSteps: 20', 'numSteps: 90'));
    await rename(at('going-on', 'checkpoints', 'step-20'), at('going-on', 'checkpoints', 'step-40'));
    const sampled = await succeed(
      'sample',
      ...plugin,
      ...cpu,
      '--model',
      at('going-on'),
      '--count',
      '2',
      '--out',
      at('x.png'),
    );
    expect(sampled.stderr).toContain(
      `note: the run ${at('going-on')} is unfinished (step 40 of 90); its generator is of step 20, older than its newest checkpoint`,
    );
    expect(await json('info', ...plugin, at('going-on'))).toMatchObject({ numSteps: 90, newestCheckpoint: 40 });
  });
});

describe('dimo eval', { timeout: 300_000 }, () => {
  const flags = [...plugin, ...cpu, '--count', '20', '--teacher-steps', '[2]', '--set', 'eval.metrics=[mean-token]'];
  it('takes the teacher that the generator records, and says if it is gone', async () => {
    const args = ['eval', ...flags, '--dataset', 'toy-tokens', '--model', at('run')];
    const found = await json(...args);
    expect(found).toMatchObject({ teacher: at('taught'), classNames: ['low', 'middle', 'high'] });
    expect((found['pluginRows'] as { method: string }[]).map(({ method }) => method)).toEqual(['teacher', 'generator']);
    await rename(at('taught'), at('moved'));
    const { code, stderr } = await dimo(...args);
    await rename(at('moved'), at('taught'));
    expect(code).toBe(2);
    expect(stderr).toContain(`the teacher ${at('taught')}, which ${at('run')} was distilled from, is not there`);
    expect(stderr).toContain('--no-teacher');
  });
});

describe('--json', { timeout: 300_000 }, () => {
  it('of sample names every file, every label and the classes; one image has no margin', async () => {
    const found = await json(
      ...['sample', ...plugin, ...cpu, '--model', at('run'), '--count', '7', '--classes', 'high,0'],
      ...['--out', at('grid.png'), '--images', at('images')],
    );
    const images = Array.from({ length: 7 }, (_, i) => at('images', `${i}.png`));
    expect(found).toMatchObject({
      written: [at('grid.png'), ...images],
      labels: ['high', '0', 'high', '0', 'high', '0', 'high'],
      classNames: ['low', 'middle', 'high'],
    });
    const one = await succeed(
      'sample',
      ...plugin,
      ...cpu,
      '--model',
      at('run'),
      '--count',
      '1',
      '--out',
      at('one.png'),
    );
    expect(one.stdout).toContain('1 sample of generator');
    expect(decode(await readFile(at('one.png')))).toMatchObject({ width: 3, height: 2 });
  });

  it('is one document whatever a name holds, and errors leave standard output empty', async () => {
    const out = at('next\u0085line\u200b\u{e0041}.png');
    const found = await json('sample', ...plugin, ...cpu, '--model', at('run'), '--count', '2', '--out', out);
    expect(found['written']).toEqual([out]);
    const failed = await dimo('sample', '--model', at('nothing'), '--json');
    expect([failed.code, failed.stdout]).toEqual([2, '']);
  });
});

describe('the verdict', { timeout: 300_000 }, () => {
  it('on a destroyed generator is told, kept, and fails the command where asked for', async () => {
    const flags = ['distill', ...plugin, ...cpu, '--teacher-plugin', 'toy', '--steps', '60', '--batch', '8'];
    const args = [...flags, '--runs', folder, '--learning-rate', '10'];
    const told = await succeed(...args, '--name', 'lost', '-q');
    expect(told.stdout).toContain('warning: health: destroyed: the token entropy fell');
    const lines = (await readFile(at('lost', 'metrics.jsonl'), 'utf8')).trim().split('\n');
    expect(lines).toHaveLength(60);
    expect(JSON.parse(lines.at(-1)!)).toMatchObject({ step: 60, health: 'destroyed' });
    expect(await json('info', ...plugin, at('lost'))).toMatchObject({ health: { verdict: 'destroyed', step: 60 } });
    const report = (await succeed('report', at('lost'))).stdout.trim();
    expect(await readFile(report, 'utf8')).toContain('Health: destroyed');
    const strict = await dimo(...args, '--name', 'strict', '--strict-health', '--json');
    expect(strict.code).toBe(1);
    expect(JSON.parse(strict.stdout)).toMatchObject({ health: { verdict: 'destroyed' } });
    expect((await dimo(...flags, '--runs', folder, '--name', 'fine', '--strict-health', '-q')).code).toBe(0);
  });
});

describe('dimo info', { timeout: 300_000 }, () => {
  it('knows every folder', async () => {
    const info = (...parts: string[]) => json('info', ...plugin, at(...parts));
    expect(await info('run')).toMatchObject({
      run: at('run'),
      command: 'distill',
      numSteps: 20,
      health: { verdict: 'good' },
      generator: at('run', 'generator'),
    });
    expect(await info('taught')).toMatchObject({ command: 'train teacher', teacher: 'toy' });
    expect(await info('run', 'generator')).toMatchObject({ generator: at('run', 'generator') });
    expect(await info('taught', 'teacher')).toMatchObject({ teacher: 'toy' });
    expect(await info('run', 'checkpoints', 'step-20')).toMatchObject({ step: 20, run: at('run') });
    expect(await info('run', 'checkpoints')).toMatchObject({ checkpoints: ['step-20'], run: at('run') });
    expect(await info('run', 'eval.json')).toMatchObject({
      pluginRows: [{ method: 'teacher' }, { method: 'generator' }],
    });
    const { stderr } = await dimo('info', at('images'));
    expect(stderr).toContain('nor a folder of a run, teacher, tokenizer, generator, checkpoint, import or evaluation');
  });
});
