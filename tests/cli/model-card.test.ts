/** The model card of a run: written with its generator, filled by an evaluation, and never at the cost of somebody's words. */
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dimoTrial } from '../support/in-process-dimo.js';

const plugin = ['--plugin', './support/toy-plugin.mjs', '--engine', 'cpu'];
const toy = [...plugin, '--teacher-plugin', 'toy'];
const { at, succeed } = dimoTrial();

const before = process.cwd();
beforeAll(() => process.chdir(fileURLToPath(new URL('..', import.meta.url))));
afterAll(() => process.chdir(before));

describe('the model card of a run', { timeout: 120_000 }, () => {
  it('is written with the generator, gets figures, keeps the licence, and is left once its text is edited', async () => {
    const card = (): Promise<string> => readFile(at('r', 'generator', 'README.md'), 'utf8');
    const run = ['--runs', at(), '--name', 'r', '--batch', '4', '--steps', '4'];
    await succeed(['distill', ...toy, ...run, '--set', 'distill.generatorLearningRate=0.002']);
    const first = await card();
    for (const text of ['license: unknown', '| Steps | `4` |', '| Engine | `cpu` |', 'None yet'])
      expect(first).toContain(text);
    expect(first).toMatch(/`generatorLearningRate` \| `0\.002`/);
    // The generator is read as before.
    await succeed(['sample', ...plugin, '--model', at('r'), '--out', at('o.png'), '-q']);

    await writeFile(at('r', 'generator', 'README.md'), first.replace('license: unknown', 'license: mit'));
    const metric = ['--dataset', 'toy-tokens', '--set', 'eval.metrics=[mean-token]', '--count', '20'];
    await succeed(['eval', ...plugin, '--model', at('r'), '--no-teacher', ...metric]);
    const measured = await card();
    expect(measured).toContain('license: mit');
    expect(measured).toContain('mean-token');
    expect(measured).not.toContain('None yet');

    await succeed(['distill', ...plugin, '--resume', at('r')]);
    const resumed = await card();
    for (const text of ['license: mit', '| Steps | `4` |', 'None yet']) expect(resumed).toContain(text);

    await writeFile(at('r', 'generator', 'README.md'), `# Mine\n`);
    const { stderr } = await succeed(['distill', ...plugin, '--resume', at('r')]);
    expect(stderr).toContain('was not written by dimo');
    expect(await card()).toBe('# Mine\n');
  });
});
