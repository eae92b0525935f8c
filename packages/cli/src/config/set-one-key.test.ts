/** `--set` of one key, wherever it is, leaves everything else as it was. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { allKeyPaths, isFreeForm, schemaAt } from './describe-schema.js';
import { loadConfig } from './load.js';

let folder: string;
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), 'dimo-set-'))));
afterAll(() => rm(folder, { recursive: true }));

const valueOf = (tree: unknown, path: readonly string[]): unknown =>
  path.reduce<unknown>((at, key) => (at as Record<string, unknown> | undefined)?.[key], tree);

describe('--set of one key', () => {
  const leaves = allKeyPaths().filter((path) => !schemaAt(path)?.properties);
  const defaults = loadConfig({ folder: tmpdir(), base: {} });

  it('every key that has a default keeps the defaults of all others', async () => {
    const { config } = await defaults;
    let tried = 0;
    for (const path of leaves) {
      const value = valueOf(config, path);
      if (value === undefined || isFreeForm(schemaAt(path)!)) continue;
      tried++;
      const text = typeof value === 'string' ? value : JSON.stringify(value);
      const set = await loadConfig({ base: {}, settings: [{ path: path.join('.'), text, where: 'here' }] });
      expect(set.config, path.join('.')).toEqual(config);
    }
    expect(tried).toBeGreaterThan(90);
  });

  it('of an architecture keeps its other keys, those of the file and those that are not set', async () => {
    await writeFile(
      join(folder, 'dimo.config.yaml'),
      'teacher:\n  plugin: maskgit\n  config: { transformer: { hidden: 64, heads: 2 } }\n',
    );
    const { config } = await loadConfig({
      folder,
      settings: [
        { path: 'teacher.config.transformer.depth', text: '2', where: '--set' },
        { path: 'train.tokenizer.config.codebookSize', text: '32', where: '--set' },
      ],
    });
    expect(config.teacher.config).toEqual({ transformer: { hidden: 64, heads: 2, depth: 2 } });
    expect(config.train.tokenizer.config).toEqual({ codebookSize: 32 });
    expect(config.train.tokenizer.numSteps).toBe(1500);
  });
});
