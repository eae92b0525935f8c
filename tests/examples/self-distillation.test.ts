/** A second algorithm with the stock command line: examples/self-distillation is named as a plugin, nothing else knows of it. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { folderCheckpointStore } from '@dimo/backend-node';
import { loadLatestCheckpoint } from '@dimo/core';
import { runDimo, startDimo } from '../support/run-dimo.js';

const tests = fileURLToPath(new URL('..', import.meta.url));
const plugins = ['--plugin', './support/toy-plugin.mjs', '--plugin', './support/self-distillation-plugin.mjs'];
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'dimo-sdtt-'));
});
afterAll(() => rm(folder, { recursive: true }));

async function dimo(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await runDimo([...args, ...plugins], { cwd: tests });
  expect(`${code} ${code === 0 ? '' : stderr}`.trim()).toBe('0');
  return stdout;
}

async function failure(...args: string[]): Promise<string> {
  const { code, stderr } = await runDimo([...args, ...plugins], { cwd: tests });
  expect(code).toBe(2);
  return stderr;
}

const distil = ['distill', '--algorithm', 'sdtt', '--teacher-plugin', 'toy', '--engine', 'cpu', '--steps', '8'];

describe('examples/self-distillation with the stock command line', { timeout: 300_000 }, () => {
  it('distils, resumes with the teacher that it had, samples in the steps that it was made for, is evaluated', async () => {
    const options = ['--set', 'distill.options.teacherSteps=8', '--set', 'distill.options.steps=2'];
    const settings = [...options, '--set', 'distill.options.learningRate=0.05', '--batch', '8', '--runs', folder];
    const whole = path.join(folder, 'r');
    await dimo(...distil, ...settings, '--name', 'r', '--quiet');
    const generator = path.join(whole, 'generator');
    const description = JSON.parse(await readFile(path.join(generator, 'config.json'), 'utf8')) as object;
    expect(description).toMatchObject({ algorithm: 'sdtt', sampler: { name: 'ancestral', numSteps: 2 } });

    // Stopped within the second round, whose teacher is the student of the first.
    const part = path.join(folder, 'part');
    const running = startDimo([...distil, ...settings, '--name', 'part', '--checkpoint-steps', '1', ...plugins], {
      cwd: tests,
      env: { TOY_STEP_DELAY: '700' },
    });
    const checkpoints = folderCheckpointStore(path.join(part, 'checkpoints'));
    const stepOf = async () => (await loadLatestCheckpoint(checkpoints).catch(() => undefined))?.step ?? 0;
    while ((await stepOf()) < 5) await new Promise((resolve) => setTimeout(resolve, 50));
    running.process.kill('SIGINT');
    await running.ended;
    expect(await stepOf()).toBeLessThan(8);
    await dimo('distill', '--resume', part, '--quiet');
    const weights = (run: string) => readFile(path.join(run, 'generator', 'model.safetensors'));
    expect(await weights(part)).toEqual(await weights(whole));

    expect(await dimo('info', generator, '--json')).toContain('"sdtt"');
    const sample = ['sample', '--model', generator, '--engine', 'cpu', '--count', '4', '--json'];
    const tokens = path.join(folder, 'tokens.json');
    const told = await dimo(...sample, '--tokens', tokens, '--out', path.join(folder, 'a.png'));
    expect(JSON.parse(told)).toMatchObject({ steps: 2 });
    expect(JSON.parse(await readFile(tokens, 'utf8'))).toMatchObject({ shape: [4, 6] });
    const toys = ['--dataset', 'toy-images', '--plugin', './support/toy-images.mjs', '--engine', 'wasm'];
    const evaluated = [
      'eval',
      '--model',
      generator,
      '--no-teacher',
      ...toys,
      '--count',
      '20',
      '--out',
      path.join(folder, 'e.json'),
    ];
    expect(await dimo(...evaluated, '--quiet')).toMatch(/^generator +2 /m);
  });

  it('is listed with its options; an option of another algorithm is refused', async () => {
    const listed = await dimo('info', 'algorithms');
    expect(listed).toMatch(/^dimo:/m);
    expect(listed).toMatch(/^sdtt:/m);
    expect(listed).toContain('teacherSteps: "16: Steps of the teacher in the first round.');
    const run = ['--runs', folder, '--name', 'never'];
    expect(await failure(...distil, ...run, '--guidance', '2')).toMatch(
      /has no effect: it needs the distillation algorithm/,
    );
    expect(await failure(...distil, ...run, '--set', 'distill.options.rounds=2')).toMatch(/unknown "rounds"/);
    const ofDimo = ['distill', '--teacher-plugin', 'toy', '--engine', 'cpu', '--steps', '1', ...run];
    expect(await failure(...ofDimo, '--set', 'distill.options.steps=2')).toMatch(/has no effect/);
  });
});
