/** Where a configuration may come from: code only from a project of the user's, or from a file that was named. */
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadConfig } from './load.js';

declare global {
  // Set by configurations that are run.
  var configurationRan: boolean | undefined;
}

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'dimo-load-'));
  globalThis.configurationRan = undefined;
});
afterEach(() => rm(folder, { recursive: true }));

const write = async (files: Readonly<Record<string, string>>): Promise<void> => {
  for (const [name, content] of Object.entries(files)) {
    await mkdir(join(folder, name, '..'), { recursive: true });
    await writeFile(join(folder, name), content);
  }
};
const program = 'globalThis.configurationRan = true;\nexport default { seed: 12 };\n';

describe('a configuration program', () => {
  it('is run where it is found in a project', async () => {
    await write({ 'package.json': '{}', 'dimo.config.mjs': program, 'runs/a/generator/model.safetensors': '' });
    expect((await loadConfig({ folder })).config.seed).toBe(12);
    expect(globalThis.configurationRan).toBe(true);
  });

  it.each(['dimo.config.mjs', 'dimo.config.ts', 'dimo.config.js', 'dimo.config.mts'])(
    '%s beside weights is not run, with or without a package.json',
    async (name) => {
      for (const beside of [
        {},
        { 'package.json': '{"type":"module"}', 'model.safetensors': '' },
        { 'model.safetensors': '', 'pytorch_model.bin': '' },
        { 'teacher.json': '{}' },
        { 'metrics.jsonl': '' },
      ]) {
        await write({ ...beside, [name]: program });
        await expect(loadConfig({ folder })).rejects.toThrow(/is a program, and is not used: .* is not a project/);
        await rm(folder, { recursive: true });
      }
      expect(globalThis.configurationRan).toBeUndefined();
      await mkdir(folder);
    },
  );

  it('is not run where the package.json is that of another folder', async () => {
    await write({ 'package.json': '{}', 'inner/dimo.config.mjs': program });
    await expect(loadConfig({ folder: join(folder, 'inner') })).rejects.toThrow('it has no package.json');
    await symlink(join(folder, 'package.json'), join(folder, 'inner', 'package.json'));
    await expect(loadConfig({ folder: join(folder, 'inner') })).rejects.toThrow('it has no package.json');
    expect(globalThis.configurationRan).toBeUndefined();
  });

  it('is run wherever it is when it was named', async () => {
    await write({ 'dimo.config.mjs': program, 'model.safetensors': '' });
    expect((await loadConfig({ folder, file: 'dimo.config.mjs' })).config.seed).toBe(12);
  });
});

describe('plugins of a data file', () => {
  const names = 'plugins: [./evil.mjs, some-package]\n';

  it('count in a project, and where the file was named', async () => {
    await write({ 'dimo.config.yaml': names, 'mine.yaml': names });
    expect((await loadConfig({ folder, file: 'mine.yaml' })).config.plugins).toHaveLength(2);
    await write({ 'package.json': '{}' });
    expect((await loadConfig({ folder })).config.plugins).toHaveLength(2);
  });

  it.each([
    ['found outside of a project', 'dimo.config.yaml', {}, undefined],
    ['found beside weights', 'dimo.config.json', { 'package.json': '{}', 'a.safetensors': '' }, undefined],
    ['named in a run that somebody sent', 'config.yaml', { 'metrics.jsonl': '' }, 'config.yaml'],
    ['named in a run without metrics', 'config.yaml', { 'checkpoints/step-1/x': '' }, 'config.yaml'],
  ])('are refused in a file that is %s', async (_where, name, beside, file) => {
    await write({ [name]: name.endsWith('.json') ? '{"plugins": ["./evil.mjs"]}' : names, ...beside });
    await expect(loadConfig({ folder, file })).rejects.toThrow(/names plugins \(\.\/evil\.mjs.*\), and is not used/);
  });

  it('are no matter to a file without any', async () => {
    await write({ 'dimo.config.yaml': 'seed: 3\n', 'a.safetensors': '' });
    expect((await loadConfig({ folder })).config.seed).toBe(3);
  });
});

it('two configuration files in a folder are an error that names both', async () => {
  await write({ 'package.json': '{}', 'dimo.config.yaml': 'seed: 1\n', 'dimo.config.json': '{"seed": 2}' });
  await expect(loadConfig({ folder })).rejects.toThrow('dimo.config.yaml and dimo.config.json');
  expect((await loadConfig({ folder, file: 'dimo.config.json' })).config.seed).toBe(2);
  await rm(join(folder, 'dimo.config.json'));
  await write({ 'dimo.config.mjs': program });
  await expect(loadConfig({ folder })).rejects.toThrow('dimo.config.yaml and dimo.config.mjs');
  expect(globalThis.configurationRan).toBeUndefined();
});
