/**
 * What a user gives is checked before anything is made: prompts in other encodings or too long, names that are mistyped,
 * options without effect. And what a run has computed is saved when it fails.
 */
import { folderCheckpointStore, folderWeightSource } from '@dimo/backend-node';
import { loadLatestCheckpoint } from '@dimo/core';
import { readTeacher, teacherFiles } from '@dimo/teacher-meissonic';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fixtures } from '../parity/fixtures.js';
import { runDimo, type DimoResult, type RunDimoOptions } from '../support/run-dimo.js';

const tests = fileURLToPath(new URL('..', import.meta.url));
const toy = ['--plugin', './support/toy-plugin.mjs', '--teacher-plugin', 'toy', '--engine', 'cpu'];
let folder: string;
const at = (...parts: string[]): string => path.join(folder, ...parts);

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'dimo-inputs-'));
  const release = folderWeightSource(path.join(fixtures, 'meissonic', 'tiny_release'));
  const teacher = await readTeacher({ layout: 'release', grid: 4 }, release);
  await mkdir(at('teacher'));
  for (const [name, bytes] of Object.entries(teacherFiles(teacher))) await writeFile(at('teacher', name), bytes);
  const description = { format: 'dimo-teacher', version: 1, teacher: { name: 'meissonic', config: {} } };
  await writeFile(at('teacher', 'teacher.json'), JSON.stringify(description));
});
afterAll(() => rm(folder, { recursive: true }));

/** A command in an empty folder, and what it left there. */
async function inEmptyFolder(
  args: readonly string[],
  options: RunDimoOptions = {},
): Promise<DimoResult & { left: string[] }> {
  const cwd = await mkdtemp(at('work-'));
  const result = await runDimo(args, { cwd, ...options, env: { DIMO_CACHE: path.join(cwd, 'cache'), ...options.env } });
  return { ...result, left: await readdir(cwd) };
}

describe('prompts', { timeout: 120_000 }, () => {
  const utf16 = Buffer.from('\ufeffa photo of a cat\r\na red ball\r\n', 'utf16le');
  const distil = (file: string) =>
    inEmptyFolder(['distill', '--teacher', at('teacher'), '--prompts', file, '--steps', '1', '--batch', '2']);

  it.each([
    ['UTF-16', utf16, /prompts\.txt:1: is not UTF-8 .* looks like UTF-16 \(little-endian\)/],
    ['UTF-16 without a mark', utf16.subarray(2), /looks like UTF-16/],
    ['Latin-1', Buffer.from('a cat\nun caf\xe9\n', 'latin1'), /prompts\.txt:2: is not UTF-8 \(byte 12 is 0xe9\).*1252/],
    ['a null character', Buffer.from('a cat\nb\0\n'), /prompts\.txt:2: holds a null character/],
    [
      'one that is too long',
      Buffer.from(`a cat\n\n${'x'.repeat(12_000)}\n`),
      /prompts\.txt:3: a prompt may have 10000/,
    ],
    ['white space alone', Buffer.from('\ufeff \r\n\u2028\t\n'), /prompts\.txt: expected one prompt per line/],
  ])('in %s are refused, and nothing is made', async (_name, content, message) => {
    await writeFile(at('prompts.txt'), content);
    const { code, stderr, left } = await distil(at('prompts.txt'));
    expect(stderr).toMatch(message);
    expect(code).toBe(2);
    expect(left).toEqual([]);
  });

  it('that are longer than the model reads are counted, and with a byte order mark all is well', async () => {
    await writeFile(at('long.txt'), `\ufeffa cat\r\n${'a red ball and '.repeat(30)}\r\n`);
    const flags = ['--steps', '1', '--batch', '2', '--engine', 'onnx', '--threads', '1'];
    const masks = ['--set', 'distill.maskSchedule=cosine', '--set', 'distill.maskRatioRange=[0.1,0.9]'];
    const { code, stderr } = await inEmptyFolder([
      ...['distill', '--teacher', at('teacher'), '--prompts', at('long.txt'), ...flags, ...masks],
    ]);
    expect(code, stderr).toBe(0);
    expect(stderr).toMatch(/1 of 2 prompts is longer than the model reads, the first in .*long\.txt:2/);
  });

  it('of an evaluation are checked before it begins', async () => {
    await writeFile(at('page.txt'), `a cat # easy\n${'x'.repeat(12_000)}\n`);
    const flags = ['--teacher', at('teacher'), '--set', `eval.prompts=${at('page.txt')}`, '--count', '20'];
    const { code, stderr, left } = await inEmptyFolder(['eval', ...flags]);
    expect(stderr).toMatch(/page\.txt:2: a prompt may have 10000 characters/);
    expect(code).toBe(2);
    expect(left).toEqual([]);
  });
});

describe('wrong inputs', { timeout: 120_000 }, () => {
  it.each<[string[], RegExp]>([
    [['distill', '--teacher', 'mnits'], /"mnits".*did you mean "mnist"/],
    [['distill', '--teacher-plugin', 'maskgti'], /"maskgti".*did you mean "maskgit"/],
    [['distill', '--engine', 'onxx', '--steps', '1'], /engine\.name: .*did you mean "onnx"/],
    [['distill', '--divergence', 'forwrd-kl'], /did you mean "forward-kl"/],
    [['distill', '--dataset', 'mnist'], /has made a teacher of the dataset mnist/],
    [['distill', '--beta', '0.3'], /--beta 0\.3 has no effect/],
    [['distill', '--set', 'eval.count=100'], /`dimo distill` does not read eval\.count/],
    [['distill', '--resume-override', 'seed'], /--resume-override is for a run that is continued/],
    [['train', 'tokenizer', '--dataset', 'mnsit'], /"mnsit".*did you mean "mnist"/],
    [['train', 'tokenizer', '--set', 'train.tokenizer.config.kind=vqgam'], /must be "patch-vq" or "vqgan"/],
    [['train', 'tokenizer', '--set', 'train.tokenizer.config.imageShape=[8,8,1]'], /images \[8, 8, 1\], mnist has/],
    [['train', 'teacher', '--dataset', 'mnsit'], /"mnsit".*did you mean "mnist"/],
    [['train', 'teacher'], /needs a tokenizer/],
    [['train', 'teacher', '--tokenizer', 'nowhere'], /nowhere/],
    [['sample', '--model', 'mnits'], /"mnits".*did you mean "mnist"/],
    [['sample', '--model', 'mnist', '--steps', '4'], /--steps 4 has no effect/],
    [['sample', '--model', 'mnist', '--guidance', '2'], /--guidance 2 has no effect/],
    [['sample', '--teacher', 'mnist', '--embedding-noise', '0.5'], /--embedding-noise 0.5 has no effect/],
    [['sample', '--model', 'mnist', '--out', 'new/x.jpg'], /--out must end in \.png/],
    [['sample', '--model', 'mnist', '--out', 'x.png', '--tokens', './x.png'], /are both/],
    [['eval', '--teacher', 'mnist', '--count', '9', '--out', 'new/eval.json'], /eval\.count must be at least 10/],
    [['eval', '--teacher', 'mnist', '--no-teacher', '--model', 'mnist'], /exclude each other/],
    [
      ['eval', '--no-teacher', '--model', 'mnist', '--teacher-steps', '[4]'],
      /with --no-teacher no teacher is measured/,
    ],
    [['eval', '--teacher', 'mnist', '--set', 'eval.metrics=[fid]'], /eval\.metrics: no plugin provides/],
    [['demo', '--set', 'eval.count=5'], /eval\.count must be at least 10/],
    [['serve', '--model', 'mnist', '--steps', '4'], /only one-step generators are served/],
    [['info', 'mnits'], /"mnits".*did you mean "mnist"/],
    [['info', 'mnist', '--set', 'seed=3'], /has no effect/],
  ])('%j are refused, and nothing is made', async (args, message) => {
    const { code, stderr, left } = await inEmptyFolder(args);
    expect(stderr).toMatch(message);
    expect(code).toBe(2);
    expect(left).toEqual([]);
  });
});

describe('a run that fails', { timeout: 120_000 }, () => {
  const run = (name: string, env: Record<string, string>, ...flags: string[]): Promise<DimoResult> =>
    runDimo(['distill', ...toy, '--steps', '12', '--batch', '4', '--runs', folder, '--name', name, ...flags], {
      cwd: tests,
      env,
    });
  const weights = (name: string): Promise<Buffer> => readFile(at(name, 'generator', 'model.safetensors'));

  it('saves its last whole step, says how to go on, and then ends as if nothing had happened', async () => {
    const { code, stderr } = await run('fails', { TOY_THROW_AFTER: '6' });
    expect(stderr).toContain('unexpected failure: toy: out of luck');
    expect(stderr).toMatch(/the last good checkpoint is step-\d+, saved just now; continue with --resume .*fails/);
    expect(stderr).not.toMatch(/^\s+at /m);
    expect(code).toBe(1);
    const saved = await loadLatestCheckpoint(folderCheckpointStore(at('fails', 'checkpoints')));
    expect(saved!.step).toBeGreaterThan(0);
    const resumed = await runDimo(['distill', ...toy, '--resume', at('fails')], { cwd: tests });
    expect(resumed.code, resumed.stderr).toBe(0);
    await run('whole', {});
    expect(await weights('fails')).toEqual(await weights('whole'));
  });

  it('and tells both errors where that fails too', async () => {
    const running = run('unlucky', { TOY_THROW_AFTER: '9', TOY_STEP_DELAY: '300' });
    while (!(await readdir(at('unlucky')).catch((): string[] => [])).includes('metrics.jsonl'))
      await new Promise((resolve) => setTimeout(resolve, 50));
    await rm(at('unlucky', 'checkpoints'), { recursive: true });
    await writeFile(at('unlucky', 'checkpoints'), 'in the way');
    const { code, stderr } = await running;
    expect(stderr).toContain('toy: out of luck');
    expect(stderr).toMatch(/the state after step \d+ could not be saved: /);
    expect(code).toBe(1);
  });
});
