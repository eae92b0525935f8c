/** A generator of another architecture than its teacher: distilled, saved, read back and sampled by the command line. */
import { folderWeightSource } from '@dimo/backend-node';
import { readGenerator } from '@dimo/core';
import { maskgitTeacher } from '@dimo/teacher-maskgit';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { runDimo } from '../support/run-dimo.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'dimo-architecture-'));
});
afterAll(() => rm(folder, { recursive: true }));

const distil = (name: string, setting: string) =>
  runDimo([
    ...['distill', '--teacher', 'mnist', '--engine', 'wasm', '--steps', '1', '--batch', '2', '--quiet'],
    ...['--set', `distill.generator.${setting}`, '--runs', folder, '--name', name],
  ]);

it('has the configuration of its own in its folder', { timeout: 180_000 }, async () => {
  const { code, stderr } = await distil('shallow', 'transformer.depth=1');
  expect(`${code} ${code === 0 ? '' : stderr}`.trim()).toBe('0');
  const generator = path.join(folder, 'shallow', 'generator');
  const read = () => readGenerator(folderWeightSource(generator), new Map([['maskgit', maskgitTeacher]]));
  const { definition, description } = await read();
  const teacher = maskgitTeacher.define(description.teacher.config).model;
  expect(definition.model.name).not.toBe(teacher.name);
  expect(Object.keys(definition.model.parameters).length).toBeLessThan(Object.keys(teacher.parameters).length);
  const sampled = await runDimo([
    'sample',
    '--model',
    generator,
    '--engine',
    'wasm',
    '--count',
    '2',
    '--out',
    `${folder}/a.png`,
  ]);
  expect(sampled.code).toBe(0);

  // Without it, the teacher's is taken, and does not fit.
  const file = path.join(generator, 'config.json');
  const { architecture: _, ...without } = JSON.parse(await readFile(file, 'utf8')) as Record<string, unknown>;
  await writeFile(file, JSON.stringify(without));
  await expect(read()).rejects.toThrow(/holds a generator of the model "maskgit-h96-d1"/);
});

it('is checked before anything is made', { timeout: 60_000 }, async () => {
  for (const [setting, message] of [
    ['transformer.codebookSize=32', /codebookSize must be the tokenizer's 64, got 32/],
    ['transformer.dept=1', /"dept"/],
  ] as const) {
    const { code, stderr } = await distil('never', setting);
    expect(code, setting).toBe(2);
    expect(stderr).toMatch(message);
  }
  await expect(readFile(path.join(folder, 'never', 'config.yaml'))).rejects.toThrow(/ENOENT/);
});
