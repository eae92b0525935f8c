/**
 * Row D1 of the fault list: unknown, misspelt, duplicate, wrong-type and out-of-range configuration keys. Every key of
 * the schema is misspelt in four ways, and 5,000 random documents are read (seed printed by fast-check on failure).
 */
import { allKeyPaths, checkConfig, configSchema, loadConfig, maximumConfigBytes, pathText, readYaml } from '@dimo/cli';
import { DimoError } from '@dimo/core';
import fc from 'fast-check';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'dimo-config-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** The error of loading a document, or undefined if it is accepted. */
async function failure(text: string, name = 'dimo.config.yaml'): Promise<DimoError | undefined> {
  await writeFile(join(folder, name), text);
  try {
    await loadConfig({ folder, file: name });
    return undefined;
  } catch (error) {
    if (DimoError.isInstance(error)) return error;
    throw error;
  } finally {
    await rm(join(folder, name));
  }
}

const transpose = (key: string): string => {
  const at = Math.max(0, Math.floor(key.length / 2) - 1);
  return key.slice(0, at) + key[at + 1]! + key[at]! + key.slice(at + 2);
};
const misspellings: Record<string, (key: string) => string> = {
  'two letters exchanged': transpose,
  'a letter missing': (key) => key.slice(0, 1) + key.slice(2),
  'a letter doubled': (key) => key + key.at(-1)!,
  'in snake case': (key) => key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
};

describe('misspelt keys', () => {
  const paths = allKeyPaths();

  it('covers the whole schema', () => {
    expect(paths.length).toBeGreaterThan(120);
  });

  it.each(Object.entries(misspellings))('%s: every key of the schema is suggested', (_name, misspell) => {
    const wrong: string[] = [];
    let tried = 0;
    for (const path of paths) {
      const key = path.at(-1)!;
      const typed = misspell(key);
      const siblings = paths.filter((other) => pathText(other.slice(0, -1)) === pathText(path.slice(0, -1)));
      if (typed === key || typed.length < 2 || siblings.some((sibling) => sibling.at(-1) === typed)) continue;
      tried++;
      let value: unknown = 1;
      for (const part of [...path.slice(0, -1), typed].reverse()) value = { [part]: value };
      const { problems } = checkConfig(value, () => 'here');
      if (!problems.some(({ message }) => message.includes(`did you mean "${key}"?`)))
        wrong.push(`${pathText(path)} as ${typed}: ${problems.map(({ message }) => message).join('; ')}`);
    }
    expect(wrong).toEqual([]);
    expect(tried).toBeGreaterThan(40);
  });
});

describe('messages', () => {
  it('names path, line and nearest key of all errors at once', async () => {
    const error = await failure(
      ['seed: -1', 'distill:', '  numStep: 10', '  batchSize: many', '  labelSmoothing: .nan', 'seed: 2', ''].join(
        '\n',
      ),
    );
    expect(error?.message).toContain('dimo.config.yaml:1 seed must be an integer >= 0, got -1');
    expect(error?.message).toContain('dimo.config.yaml:3 distill.numStep is not a known key; did you mean "numSteps"?');
    expect(error?.message).toContain(
      'dimo.config.yaml:4 distill.batchSize must be an integer in [1, 65536], got "many"',
    );
    expect(error?.message).toContain(
      'dimo.config.yaml:5 distill.labelSmoothing must be a finite number in [0, 1), got NaN',
    );
    expect(error?.message).toContain('dimo.config.yaml:6 seed is given twice, first in line 1');
    expect(error?.code).toBe('option');
  });

  it('finds a key of another section', async () => {
    expect((await failure('numSteps: 3\n'))?.message).toContain('did you mean "distill.numSteps"?');
  });

  it.each([
    ['an alias', 'run: &a {}\neval: *a\n', 'aliases'],
    ['a tag', 'seed: !!js/function "x"\n', 'tags'],
    ['an explicit core tag', 'seed: !!int 3\n', 'tags'],
    ['31 MB of laughs', `a: &a [x,x]\n${'b: [*a,*a]\n'.repeat(3)}`, 'anchors'],
    ['a list at the top', '- 1\n', 'must hold a section'],
    ['a scalar', 'hello\n', 'must hold a section'],
    ['infinity', 'distill: { teacherTemperature: .inf }\n', 'finite number'],
    ['a number for text', 'dataset: 3\n', 'must be text'],
    ['an escape in a name', 'train: { teacher: { conditions: "a\\e[2Jb" } }\n', 'must be text'],
    ['prototype pollution', '__proto__: { polluted: true }\n', 'is not a known key'],
    ['depth', `${'['.repeat(100_000)}${']'.repeat(100_000)}`, 'deeper than 32'],
    ['block depth', '- '.repeat(100_000), 'deeper than 32'],
    ['free-form depth', `teacher: { config: ${'{a: '.repeat(40)}1${'}'.repeat(40)} }`, 'deeper than 32'],
    ['a second document', 'seed: 5\n---\nseed: 6\n', 'dimo.config.yaml:2: a second document begins here'],
    ['an empty second document', 'seed: 5\n---\n', 'dimo.config.yaml:2: a second document begins here'],
    ['a document after the end', 'seed: 5\n...\nseed: 6\n', 'dimo.config.yaml:3: a second document begins here'],
    ['a directive', '# mine\n%YAML 1.1\n---\nseed: 5\n', 'dimo.config.yaml:2: directives'],
    ['a tag directive', '%TAG ! tag:x,2000:\n---\nseed: 5\n', 'dimo.config.yaml:1: directives'],
    ['a tab as indentation', 'run:\n\tname: x\n', 'dimo.config.yaml:2: Tabs are not allowed'],
    ['a line of an old Mac behind a comment', '# mine\rsede: 5\r', 'dimo.config.yaml:2 sede is not a known key'],
    ['half of a surrogate pair', 'train: { teacher: { conditions: "a\\ud800b" } }\n', 'must be text'],
    ['a megabyte of commas', `a: [${','.repeat(900_000)}]\n`, 'more than 65536 words and signs'],
    ['a megabyte of lines', '\n'.repeat(1_000_000), 'more than 65536 words and signs'],
    ['a long list of anchors', `a: [${'&a x,'.repeat(10_000)}]\n`, 'has 20 problems'],
    ['size', `# ${'x'.repeat(maximumConfigBytes)}\n`, 'bytes'],
  ])('%s is refused', async (_name, text, expected) => {
    const error = await failure(text);
    expect(error?.message).toContain(expected);
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });

  it('compares the first 50 of thousands of unknown keys, and counts the others', { timeout: 60_000 }, async () => {
    const keys = Array.from({ length: 8000 }, (_, i) => `${'sdeetaxbq'.slice(i % 5)}${i.toString(36)}`);
    const error = await failure(keys.map((key) => `${key}:`).join('\n'));
    expect(error?.message.split('\n').length).toBeLessThan(55);
    expect(error?.message).toContain('and 7950 more problems');
    const long = await failure(`${'k'.repeat(1000)}: 1\n`);
    expect(long?.message).toMatch(/is not a known key; known here: seed/);
  });

  it('names the nearest of the choices', async () => {
    const error = await failure('distill: { divergence: { kind: forwrd-kl } }\n');
    expect(error?.message).toContain('got "forwrd-kl"; did you mean "forward-kl"?');
  });

  it('is UTF-8 in every kind of file', async () => {
    const latin1 = Buffer.from('run: { name: "caf\xe9" }\n', 'latin1');
    for (const name of ['dimo.config.yaml', 'my.json', 'mine.yml', 'mine.mjs']) {
      await writeFile(join(folder, name), latin1);
      await expect(loadConfig({ folder, file: name })).rejects.toThrow(`${name}:1: is not UTF-8 (byte 17 is 0xe9)`);
      await rm(join(folder, name));
    }
    await writeFile(join(folder, 'bom.yaml'), '\ufeffseed: 7\n');
    expect((await loadConfig({ folder, file: 'bom.yaml' })).config.seed).toBe(7);
    await rm(join(folder, 'bom.yaml'));
  });

  it('says so for flags and --set', async () => {
    const settings = [
      { path: 'distill.numSteps', text: '1.5', where: '--steps 1.5' },
      { path: 'distil.numSteps', text: '3', where: '--set distil.numSteps=3' },
    ];
    await expect(loadConfig({ folder, settings })).rejects.toThrow(/--steps 1\.5 distill\.numSteps must be an integer/);
    await expect(loadConfig({ folder, settings })).rejects.toThrow(/--set distil\.numSteps=3 .*did you mean/);
  });

  it('lets flags override the file, and keeps text as text', async () => {
    await writeFile(
      join(folder, 'dimo.config.json'),
      '{ "seed": 3, "run": { "name": "7" }, "distill": { "numSteps": 5 } }',
    );
    const settings = [
      { path: 'seed', text: '4', where: '--seed 4' },
      { path: 'run.name', text: '123', where: '--name 123' },
    ];
    const { config, file } = await loadConfig({ folder, settings });
    await rm(join(folder, 'dimo.config.json'));
    expect(file).toBe('dimo.config.json');
    expect(config).toMatchObject({ seed: 4, run: { name: '123' }, distill: { numSteps: 5 } });
  });

  it('runs the TypeScript configuration of a project, and reports one that throws', async () => {
    await writeFile(join(folder, 'package.json'), '{}');
    await writeFile(
      join(folder, 'dimo.config.ts'),
      'const steps: number = 5 + 6;\nexport default { distill: { numSteps: steps } };\n',
    );
    expect((await loadConfig({ folder })).config.distill.numSteps).toBe(11);
    await rm(join(folder, 'dimo.config.ts'));
    await rm(join(folder, 'package.json'));
    expect((await failure('throw new Error("boom")', 'other.ts'))?.message).toContain(
      'other.ts failed while it was run: boom',
    );
    expect((await failure('const a: any = {}; a.run = a; export default a', 'cycle.ts'))?.message).toContain('deeper');
  });
});

describe('random documents', () => {
  it('5,000 random YAML texts give a configuration or a DimoError, never another error', { timeout: 120_000 }, () => {
    const keys = [...new Set(allKeyPaths().flat())];
    const fragment = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 12 }),
      fc.constantFrom(...keys),
      fc.constantFrom(
        ': ',
        '\n',
        '\n  ',
        '- ',
        '[',
        ']',
        '{',
        '}',
        ',',
        '&a ',
        '*a',
        '!!x ',
        '"',
        "'",
        '|',
        '>',
        '#',
        '? ',
      ),
      fc.constantFrom('---\n', '...\n', '%YAML 9\n', '\t', '\u0000', '\u001b[2J', '<<: ', 'null', '.nan', '1e999', '~'),
      fc.double().map(String),
    );
    const text = fc.array(fragment, { maxLength: 40 }).map((parts) => parts.join(''));
    let accepted = 0;
    fc.assert(
      fc.property(text, (document) => {
        const { value, problems } = readYaml(document, 'random.yaml');
        const checked = checkConfig(value, () => 'random.yaml');
        if (problems.length === 0 && checked.config) accepted++;
        for (const { message } of [...problems, ...checked.problems])
          if (/\n\s+at /.test(message)) throw new Error(message);
      }),
      { numRuns: 5000, seed: 20260611 },
    );
    expect(accepted).toBeGreaterThan(0);
  });

  it('any combination of valid values is accepted unchanged', () => {
    const resolved = configSchema.parse({});
    expect(checkConfig(resolved, () => '').config).toEqual(resolved);
  });
});
