/** What a card says, that strangers' texts in it are neither markup nor YAML, and that nobody's words are lost. */
import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse } from 'yaml';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadRegistry } from '../project/plugins.js';
import { cardWithFigures, modelCard, replacedCard, type ModelCardFacts } from './model-card.js';
import { modelOrigin, writeCardFigures, writeModelCard } from './model-card-file.js';

const facts: ModelCardFacts = {
  description: {
    format: 'dimo-generator',
    version: 1,
    algorithm: 'dimo',
    teacher: { name: 'maskgit', config: { classNames: ['a', 'b'] } },
    model: 'maskgit-h96-d4',
    tokenInit: { maskRatio: 0.6, embeddingNoise: 0, noiseDeviation: 1 },
    training: { steps: 20_000, batchSize: 64, seed: 3, teacher: '/home/me/runs/cats/teacher', engine: 'onnx' },
  },
  conditionedBy: 'class',
  imageShape: [28, 28, 1],
  settings: { 'generator.learningRate': 1e-5 },
  licence: 'apache-2.0',
  baseModel: 'owner/cats',
};

/** The head as hubs read it. */
function headOf(card: string): unknown {
  return parse(/^---\n([\s\S]*?)\n---\n/.exec(card)![1]!);
}

/** The text without code spans and fenced code, by the rule of CommonMark: it ends with as many backticks as it began. */
function withoutCode(card: string): string {
  return card
    .replace(/^---\n[\s\S]*?\n---\n/, '')
    .replace(/^(`{3,})[^`\n]*\n[\s\S]*?\n\1$/gm, '')
    .replace(/(?<!`)(`+)(?!`)(?:[^\n]*?[^`])\1(?!`)/g, '');
}

describe('modelCard', () => {
  const card = modelCard(facts);

  it('has the head that hubs read', () => {
    expect(headOf(card)).toEqual({
      license: 'apache-2.0',
      library_name: 'dimo',
      pipeline_tag: 'unconditional-image-generation',
      tags: ['dimo', 'masked-diffusion', 'distillation', 'one-step-generation'],
      base_model: 'owner/cats',
    });
    const other = modelCard({ ...facts, conditionedBy: 'text', licence: undefined, baseModel: undefined });
    expect(headOf(other)).toMatchObject({ license: 'unknown', pipeline_tag: 'text-to-image' });
    expect(other).toContain('Nobody has said it');
    expect(headOf(modelCard({ ...facts, imageShape: undefined }))).not.toHaveProperty('pipeline_tag');
  });

  it('says what it is, how it was made and used, and not where on the machine that was', () => {
    for (const text of ['| Steps | `20000` |', '| Seed | `3` |', '| `generator.learningRate` | `0.00001` |'])
      expect(card).toContain(text);
    for (const text of ['dimo/cli sample', '@dimo/pipeline', 'export FOLDER', '"noiseDeviation": 1'])
      expect(card).toContain(text);
    expect(withoutCode(card)).not.toContain('/home/me');
    expect(card).toContain('| Teacher | `cats/teacher` |');
  });

  it.each([
    '<script>EVIL</script>',
    '[EVIL](javascript:alert(1))',
    '` EVIL',
    '``` EVIL ```',
    'a | EVIL\n---\nlicense: EVIL',
    '![EVIL](x)\u202e\u0000',
    '"\'EVIL: {}',
    '```\n# EVIL\n```',
  ])('shows %j as code alone', (evil) => {
    const strange = modelCard({
      ...facts,
      description: {
        ...facts.description,
        algorithm: evil,
        model: evil,
        teacher: { name: evil, config: { [evil]: evil } },
        training: { steps: evil, teacher: evil },
      },
      settings: { [evil]: evil },
    });
    const measured = cardWithFigures(strange, { cells: [['method'], [evil]], engine: evil, notes: [evil] })!;
    expect(measured).toContain('EVIL');
    expect(withoutCode(measured)).not.toContain('EVIL');
    expect(headOf(measured)).toEqual(headOf(card));
    expect(measured).not.toMatch(/[\u202e\0]/);
  });
});

describe('a card that is there', () => {
  const card = modelCard(facts);
  const later = modelCard({ ...facts, description: { ...facts.description, training: { steps: 5 } } });
  const figures = {
    cells: [
      ['method', 'fid'],
      ['generator', '1.23'],
    ],
    engine: 'cpu',
    notes: ['of 100 images'],
  };

  it('is written anew as long as nobody has changed its body; the head is the user’s', () => {
    expect(replacedCard(undefined, card)).toBe(card);
    expect(replacedCard(card, later)).toBe(later);
    const edited = card.replace('license: apache-2.0', 'license: mit');
    expect(headOf(replacedCard(edited, later)!)).toMatchObject({ license: 'mit' });
    expect(replacedCard(edited, later)).toContain('| Steps | `5` |');
    for (const other of ['# Mine\n', '', card.replace('## Use', '## Usage'), `${card}more\n`])
      expect(replacedCard(other, later)).toBeUndefined();
  });

  it('gets figures, again and again, until it is written anew', () => {
    const once = cardWithFigures(card, figures)!;
    expect(once).toContain('| `generator` | `1.23` |');
    expect(once).not.toContain('None yet');
    const twice = cardWithFigures(once, { ...figures, cells: [['method'], ['other']] })!;
    expect(twice).toContain('`other`');
    expect(twice).not.toContain('1.23');
    expect(replacedCard(twice, later)).toBe(later);
    expect(cardWithFigures('# Mine\n', figures)).toBeUndefined();
  });
});

describe('in a folder', () => {
  let folder: string;
  beforeEach(async () => void (folder = await mkdtemp(join(tmpdir(), 'dimo-card-'))));
  afterEach(() => rm(folder, { recursive: true }));
  const path = (): string => join(folder, 'README.md');

  it('what somebody else wrote stays, and that is said', async () => {
    await writeFile(path(), '# Mine\n');
    for (const write of [
      writeModelCard(folder, modelCard(facts)),
      writeCardFigures(folder, { cells: [], engine: '', notes: [] }),
    ])
      expect(await write).toContain('was not written by dimo');
    expect(await readFile(path(), 'utf8')).toBe('# Mine\n');
  });

  it('no trouble with it is an error, and no link leads out', async () => {
    await writeFile(`${folder}-outside`, 'outside');
    await symlink(`${folder}-outside`, path());
    expect(await writeModelCard(folder, modelCard(facts))).toContain('was not written');
    expect(await readFile(`${folder}-outside`, 'utf8')).toBe('outside');
    await rm(`${folder}-outside`);
  });

  it.each([
    ['---\nlicense: cc-by-4.0\n---\n# T\n', 'cc-by-4.0'],
    ['---\nlicense: unknown\n---\n', undefined],
    ['---\nlicense: [a]\n---\n', undefined],
    ['---\nlicense: "x\\ny: z"\n---\n', undefined],
    ['---\n{{{\n---\n', undefined],
    ['# none\n', undefined],
  ])('the licence of a teacher is read from the head of %j', async (text, licence) => {
    const registry = await loadRegistry([], folder, ['teachers']);
    const preset = new URL('../../../presets/presets/mnist/', import.meta.url);
    for (const name of ['config.json', 'tokenizer.safetensors', 'transformer.safetensors'])
      await writeFile(join(folder, name), await readFile(new URL(name, preset)));
    await writeFile(path(), text);
    const config = JSON.parse(await readFile(join(folder, 'config.json'), 'utf8')) as object;
    await writeFile(
      join(folder, 'teacher.json'),
      JSON.stringify({ format: 'dimo-teacher', version: 1, name: 'maskgit', config }),
    );
    expect(await modelOrigin(folder, registry)).toEqual({ licence, baseModel: undefined });
    expect(await modelOrigin('mnist', registry)).toEqual({ licence: 'apache-2.0', baseModel: undefined });
    expect(await modelOrigin('absent', registry)).toEqual({ licence: undefined, baseModel: undefined });
  });
});
