/** The commands one after the other on a toy teacher, each in a process of its own, as a person runs them. */
import { decode } from 'fast-png';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runDimo, type DimoResult } from '../support/run-dimo.js';

const tests = fileURLToPath(new URL('..', import.meta.url));
const plugin = ['--plugin', './support/toy-plugin.mjs'];
const toy = [...plugin, '--teacher-plugin', 'toy', '--engine', 'cpu'];
let folder: string;
const at = (...parts: string[]): string => path.join(folder, ...parts);
const dimo = (...args: string[]): Promise<DimoResult> =>
  runDimo(args, { cwd: tests, env: { DIMO_CACHE: at('cache') } });

/** Runs a command that must succeed. */
async function succeed(...args: string[]): Promise<DimoResult> {
  const result = await dimo(...args);
  expect(result.code, `${args.join(' ')}\n${result.stdout}${result.stderr}`).toBe(0);
  return result;
}

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'dimo-commands-'));
  await succeed(
    'distill',
    ...toy,
    '--steps',
    '20',
    '--batch',
    '8',
    '--runs',
    folder,
    '--name',
    'run',
    '--sample-every',
    '10',
  );
}, 60_000);
afterAll(() => rm(folder, { recursive: true }));

describe('a distillation', { timeout: 60_000 }, () => {
  it('leaves the files of a run', async () => {
    const names = await readdir(at('run'));
    expect(names).toEqual(
      expect.arrayContaining(['checkpoints', 'config.yaml', 'generator', 'metrics.jsonl', 'samples']),
    );
    expect(names.some((name) => name.startsWith('events.out.tfevents.'))).toBe(true);
    expect((await readdir(at('run', 'samples'))).sort()).toEqual(['step-000010.png', 'step-000020.png']);
    expect(await readFile(at('run', 'config.yaml'), 'utf8')).toContain('numSteps: 20');
    const lines = (await readFile(at('run', 'metrics.jsonl'), 'utf8'))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { step: number });
    expect(lines.map(({ step }) => step)).toEqual(Array.from({ length: 20 }, (_, i) => i + 1));
    expect(lines[0]).toHaveProperty(['generator/totalVariation']);
  });

  it('the same seed gives the same generator, another seed another', async () => {
    const flags = [...toy, '--steps', '5', '--batch', '8', '--runs', folder];
    for (const [name, seed] of [
      ['same-1', '7'],
      ['same-2', '7'],
      ['other', '8'],
    ] as const)
      await succeed('distill', ...flags, '--name', name, '--seed', seed);
    const [first, second, third] = await Promise.all(
      ['same-1', 'same-2', 'other'].map((name) => readFile(at(name, 'generator', 'model.safetensors'))),
    );
    expect(first!.equals(second!)).toBe(true);
    expect(first!.equals(third!)).toBe(false);
  });
});

describe('dimo sample', { timeout: 60_000 }, () => {
  it('writes a grid, single images and tokens; the seed decides', async () => {
    const flags = [
      'sample',
      ...plugin,
      '--engine',
      'cpu',
      '--model',
      at('run', 'generator'),
      '--count',
      '6',
      '--classes',
      '0-1,high',
    ];
    await succeed(...flags, '--out', at('a.png'), '--images', at('images'), '--tokens', at('a.json'), '--seed', '1');
    await succeed(...flags, '--out', at('b.png'), '--seed', '1', '--batch', '4');
    await succeed(...flags, '--out', at('c.png'), '--seed', '2');
    const [a, b, c] = await Promise.all(['a.png', 'b.png', 'c.png'].map((name) => readFile(at(name))));
    expect(a!.equals(b!)).toBe(true);
    expect(a!.equals(c!)).toBe(false);
    expect(decode(a!).width).toBeGreaterThan(100);
    expect((await readdir(at('images'))).sort()).toEqual(['0.png', '1.png', '2.png', '3.png', '4.png', '5.png']);
    expect(decode(await readFile(at('images', '0.png')))).toMatchObject({ width: 3, height: 2, channels: 1 });
    const { shape, labels, tokens } = JSON.parse(await readFile(at('a.json'), 'utf8')) as Record<string, unknown[]>;
    expect([shape, labels, tokens!.length]).toEqual([[6, 6], ['0', '1', 'high', '0', '1', 'high'], 6]);
  });

  it('samples the teacher in several steps', async () => {
    const { stdout } = await succeed('sample', ...toy, '--steps', '3', '--count', '4', '--out', at('t.png'), '--json');
    expect(JSON.parse(stdout)).toMatchObject({ steps: 3, count: 4 });
  });

  it.each([
    ['a class that is none', ['--classes', '7'], 'is no class'],
    ['a range that falls', ['--classes', '2-0'], 'must ascend'],
    ['a wrong ending', ['--out', 'x.jpg'], '.png'],
    ['a count of 0', ['--count', '0'], 'integer in [1, 100000]'],
    ['a fraction of a class', ['--classes', '1.5'], 'is no class'],
    ['columns that are none', ['--columns', 'x'], '--columns must be'],
  ])('%s is wrong input', async (_name, args, message) => {
    const { code, stderr } = await dimo('sample', ...plugin, '--engine', 'cpu', '--model', at('run'), ...args);
    expect(stderr).toContain(message);
    expect(stderr).not.toMatch(/^\s+at /m);
    expect(code).toBe(2);
  });
});

describe('the other commands', { timeout: 60_000 }, () => {
  it('eval measures with the metrics of plugins, report shows it, info describes', async () => {
    const { stdout } = await succeed(
      ...['eval', ...toy, '--model', at('run', 'generator'), '--count', '50', '--teacher-steps', '[4, 1]'],
      ...['--set', 'eval.metrics=[mean-token]', '--dataset', 'toy-tokens'],
    );
    expect(stdout).toMatch(/teacher +4 .*\nteacher +1 .*\ngenerator +1 /);
    expect(existsSync(at('run', 'eval.json'))).toBe(true);
    const report = await succeed('report', at('run'));
    const html = await readFile(report.stdout.trim(), 'utf8');
    expect(html).toContain('data:image/png;base64,');
    expect(html).toContain('mean-token');
    const info = await succeed('info', ...plugin, at('run', 'generator'), '--json');
    expect(JSON.parse(info.stdout)).toMatchObject({ teacher: 'toy', model: 'toy', imageShape: [2, 3, 1] });
    expect((await succeed('info', ...plugin, at('run'))).stdout).toContain('step-20');
    expect((await succeed('info', 'config', '--set', 'seed=5')).stdout).toContain('seed: 5');
  });

  it('train teacher makes a teacher that can be distilled', async () => {
    const trained = await succeed(
      ...['train', 'teacher', ...toy, '--dataset', 'toy-tokens', '--steps', '30', '--batch', '10', '--runs', folder],
      ...['--name', 'teacher', '--json'],
    );
    const { teacher } = JSON.parse(trained.stdout) as { teacher: string };
    await succeed(
      'distill',
      ...plugin,
      '--engine',
      'cpu',
      '--teacher',
      teacher,
      '--steps',
      '3',
      '--runs',
      folder,
      '--name',
      'second',
    );
  });

  it('every command has help with examples, and wrong usage is 2', async () => {
    for (const command of [
      'demo',
      'train tokenizer',
      'train teacher',
      'distill',
      'sample',
      'eval',
      'report',
      'doctor',
      'info',
      'completion',
      'import',
      'serve',
    ]) {
      const { stdout } = await succeed(...command.split(' '), '--help');
      expect(stdout, command).toContain('Examples:\n  $ ');
    }
    expect((await succeed('--version')).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
    const { code, stderr } = await dimo('distil');
    expect([code, stderr]).toEqual([2, expect.stringContaining('Did you mean distill?')]);
    expect((await dimo('sample', '--sed', '1')).stderr).toContain('Did you mean one of --seed, --set?');
    expect((await dimo()).code).toBe(2);
  });
});

describe('run folders that cannot be used (row B7)', { timeout: 60_000 }, () => {
  it.each([
    ['a file in the way', 'file/run'],
    ['a loop of symbolic links', 'loop/run'],
    ['a name of more than 255 bytes', 'x'.repeat(300)],
    ['a path of more than 4096 bytes', 'y/'.repeat(2500)],
    ['a file system that takes no files', '../../../../../../../../proc'],
  ])('%s: exit 2 before anything is trained', async (_name, name) => {
    await writeFile(at('file'), '').catch(() => undefined);
    await symlink(at('loop'), at('loop')).catch(() => undefined);
    const { code, stderr } = await dimo(
      'distill',
      ...toy,
      '--steps',
      '3',
      '--runs',
      path.join(folder, name),
      '--name',
      'r',
    );
    expect(stderr).toContain('error:');
    expect(stderr).not.toContain('distil 1/');
    expect(stderr).not.toMatch(/^\s+at /m);
    expect(code).toBe(2);
  });

  it.each(['with space', '-leading', 'emoji-🎲', 'new\nline', 'quote"\''])('the name %j works', async (name) => {
    await mkdir(at('names'), { recursive: true });
    await succeed(
      'distill',
      ...toy,
      '--steps',
      '2',
      '--batch',
      '2',
      `--runs=${at('names', 'r')}${name.includes('\n') ? '' : name}`,
      ...(name.includes('\n') ? [] : ['--name', `n${name}`]),
    );
  });
});
