/** A second algorithm with the stock command line: examples/self-distillation is named as a plugin, nothing else knows of it. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runDimo } from '../support/run-dimo.js';

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

const distil = ['distill', '--algorithm', 'sdtt', '--teacher-plugin', 'toy', '--engine', 'cpu', '--steps', '4'];

describe('examples/self-distillation with the stock command line', { timeout: 300_000 }, () => {
  it('distils, resumes, samples in the steps that it was made for, and is evaluated', async () => {
    const run = ['--batch', '8', '--runs', folder, '--name', 'r', '--quiet'];
    const options = ['--set', 'distill.options.teacherSteps=4', '--set', 'distill.options.steps=2'];
    await dimo(...distil, ...options, ...run);
    const generator = path.join(folder, 'r', 'generator');
    const description = JSON.parse(await readFile(path.join(generator, 'config.json'), 'utf8')) as object;
    expect(description).toMatchObject({ algorithm: 'sdtt', sampler: { name: 'ancestral', numSteps: 2 } });
    expect(await dimo('info', generator, '--json')).toContain('"sdtt"');
    const sample = ['sample', '--model', generator, '--engine', 'cpu', '--count', '4', '--json'];
    const tokens = path.join(folder, 'tokens.json');
    const told = JSON.parse(await dimo(...sample, '--tokens', tokens, '--out', path.join(folder, 'a.png'))) as object;
    expect(JSON.stringify(told)).toMatch(/"steps":2|"passes":2|"numSteps":2/);
    expect(JSON.parse(await readFile(tokens, 'utf8'))).toHaveLength(4);
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
