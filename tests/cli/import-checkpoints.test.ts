/** `dimo import` of MaskGIT's public checkpoints as people have them: other folders, names and wrappers, parts missing. */
import { float32, writeSafetensors, type HostTree } from '@dimo/core';
import { readTorchStateDict } from '@dimo/core/weight-files';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { fixtures } from '../parity/fixtures.js';
import { dimoTrial } from '../support/in-process-dimo.js';

const { at, dimo, succeed, fails } = dimoTrial();
const transformerFile = path.join(fixtures, 'maskgit', 'transformer-4x4', 'MaskGIT_tiny.pth');
const vqganFile = path.join(fixtures, 'maskgit', 'vqgan-f2-ckpt', 'last.ckpt');

let transformer: HostTree;
let vqgan: HostTree;
beforeAll(async () => {
  transformer = await readTorchStateDict(await readFile(transformerFile));
  vqgan = await readTorchStateDict(await readFile(vqganFile));
});

/** A folder `model` with these files: copies of a file, or tensors. */
async function folder(files: Readonly<Record<string, string | HostTree | Uint8Array>>): Promise<string> {
  for (const [name, content] of Object.entries(files)) {
    await mkdir(path.dirname(at('model', name)), { recursive: true });
    if (typeof content === 'string') await copyFile(content, at('model', name));
    else await writeFile(at('model', name), content instanceof Uint8Array ? content : writeSafetensors(content));
  }
  return at('model');
}

function renamed(tree: HostTree, rename: (name: string) => string): HostTree {
  return Object.fromEntries(Object.entries(tree).map(([name, tensor]) => [rename(name), tensor]));
}

interface Imported {
  readonly parts: readonly { readonly name: string; readonly leftOut: string[]; readonly unused: string[] }[];
  readonly assumed: readonly { readonly key: string; readonly value: unknown }[];
}

/** Imports, samples what was imported, and gives the pictures with what the import said. */
async function importAndSample(
  what: string,
  ...flags: string[]
): Promise<{ readonly pictures: string; readonly said: Imported }> {
  const { stdout } = await succeed(['import', what, '--out', at('imported'), '--json', ...flags]);
  const sampling = ['--engine', 'cpu', '--steps', '2', '--count', '2', '--seed', '1', '--out', at('a.png')];
  await succeed(['sample', '--teacher', at('imported'), ...sampling]);
  return { pictures: (await readFile(at('a.png'))).toString('base64'), said: JSON.parse(stdout) as Imported };
}

/** An import that is refused leaves nothing. */
async function refused(what: string, ...flags: string[]): Promise<string> {
  const message = await fails(['import', what, '--out', at('imported'), ...flags]);
  expect(existsSync(at('imported'))).toBe(false);
  return message;
}

describe('whatever the names and folders', { timeout: 120_000 }, () => {
  it('the official tree, the VQGAN as .pth, and both converted give the same pictures', async () => {
    const official = { 'MaskGIT/MaskGIT_ImageNet_256.pth': transformerFile, 'VQGAN/last.ckpt': vqganFile };
    const yaml = new TextEncoder().encode('model:\n  target: taming.models.vqgan.VQModel\n');
    const { pictures } = await importAndSample(await folder({ ...official, 'VQGAN/model.yaml': yaml }));
    for (const files of [
      { 'a.pth': transformerFile, 'b.pth': vqganFile },
      { 'one/two/x.bin': transformerFile, 'y.pt': vqganFile },
      { 'maskgit.safetensors': transformer, 'vqgan.safetensors': vqgan },
    ]) {
      await Promise.all([at('model'), at('imported')].map((old) => rm(old, { recursive: true })));
      expect((await importAndSample(await folder(files))).pictures).toBe(pictures);
    }
  });

  it('what systems and browsers leave in folders is not looked at', async () => {
    // Whole checkpoints: were they looked at, there would be several to choose from.
    const names = ['._m.pth', '.DS_Store', '__MACOSX/._last.ckpt', 'Thumbs.db', 'desktop.ini', 'm.pth.part'];
    const more = ['.cache/huggingface/m.pth', 'last.ckpt.incomplete', 'm.pth.crdownload', 'sub/._last.ckpt'];
    const left = Object.fromEntries([...names, ...more].map((name) => [name, transformerFile]));
    await importAndSample(await folder({ ...left, 'm.pth': transformerFile, 'last.ckpt': vqganFile }));
  });

  it('of two transformers one has to be chosen, and the message says how', async () => {
    const what = await folder({ 'a/m256.pth': transformerFile, 'a/m512.pth': transformerFile, 'last.ckpt': vqganFile });
    const message = await refused(what);
    expect(message).toMatch(/several files: a\/m256\.pth, a\/m512\.pth/);
    const flag = /--set (checkpoint\.transformer\.file=\S+)/.exec(message)?.[1];
    await importAndSample(what, '--set', flag!);
  });

  it('a part that is missing is named', async () => {
    expect(await refused(await folder({ 'm.pth': transformerFile }))).toMatch(/m\.pth\), but no VQGAN[^]*last\.ckpt/);
    const other = path.dirname(await folder({ '../other/last.ckpt': vqganFile }));
    expect(await refused(path.join(other, 'other'))).toMatch(/last\.ckpt\), but no transformer/);
  });

  it('a file that cannot be read is the reason where a part is missing', async () => {
    const page = new TextEncoder().encode('<!DOCTYPE html><html></html>');
    expect(await refused(await folder({ 'm.pth': page, 'last.ckpt': vqganFile }))).toContain('m.pth');
  });
});

describe('whatever stands before and between the names', { timeout: 120_000 }, () => {
  const plainNames = ['m.safetensors', 'v.safetensors'] as const;

  it.each([
    ['module.', ['module.']],
    ['_orig_mod.', ['_orig_mod.']],
    ['model.', ['model.']],
    ['ema.', ['ema.']],
    ['state_dict.model.', ['state_dict.model.']],
    ['module._orig_mod.', ['module.', '_orig_mod.']],
    ['model.module.', ['model.', 'module.']],
  ])('"%s" is left out and told', async (prefix, leftOut) => {
    const [m, v] = plainNames;
    const { pictures } = await importAndSample(await folder({ [m]: transformer, [v]: vqgan }));
    const names = { [m]: renamed(transformer, (name) => prefix + name), [v]: renamed(vqgan, (name) => prefix + name) };
    await rm(at('imported'), { recursive: true });
    const wrapped = await importAndSample(await folder(names));
    expect(wrapped.pictures).toBe(pictures);
    expect(wrapped.said.parts.map((part) => part.leftOut)).toEqual([leftOut, leftOut]);
  });

  it('tensors that the original passes over are listed, a wrapper in the middle is none of them', async () => {
    const extras = {
      'loss.logvar': float32([1]),
      'model_ema.decay': float32([1]),
      'bn.num_batches_tracked': float32([1]),
    };
    const inner = renamed(transformer, (name) => name.replace('transformer.', 'transformer._orig_mod.'));
    const files = { 'm.safetensors': inner, 'v.safetensors': { ...vqgan, ...extras } };
    const { said } = await importAndSample(await folder(files));
    expect(said.parts[0]!.leftOut).toEqual(['_orig_mod.']);
    expect(said.parts[1]!.unused).toEqual(expect.arrayContaining(Object.keys(extras)));
    expect(said.parts[0]!.unused).toEqual([]);
  });

  it('where a file has the weights twice, the one that is taken is said, and the other can be chosen', async () => {
    const average = renamed(transformer, (name) => `ema.${name}`);
    const raw = renamed(transformer, (name) => `model.${name}`);
    const bias = float32(transformer['bias']!.shape, new Float32Array(transformer['bias']!.data.length).fill(3));
    const both = { ...average, ...raw, 'model.bias': bias };
    const what = await folder({ 'm.safetensors': both, 'v.safetensors': vqgan });
    const first = await importAndSample(what);
    expect(first.said.assumed).toContainEqual(
      expect.objectContaining({ key: 'checkpoint.transformer.prefix', value: 'model.' }),
    );
    const second = await importAndSample(what, '--set', 'checkpoint.transformer.prefix=ema.');
    expect(second.pictures).not.toBe(first.pictures);
  });
});

describe('what tensors do not show', { timeout: 120_000 }, () => {
  it('is said with its default, and can be given', async () => {
    const what = await folder({ 'm.pth': transformerFile, 'v.ckpt': vqganFile });
    const assumed = await importAndSample(what);
    expect(assumed.said.assumed).toContainEqual(expect.objectContaining({ key: 'transformer.heads', value: 16 }));
    const { stdout } = await succeed(['import', what, '--out', at('again')]);
    expect(stdout).toMatch(/assumed transformer\.heads = 16 .*--set transformer\.heads=/);
    const given = await importAndSample(what, '--set', 'transformer.heads=4', '--set', 'sampler.numSteps=3');
    expect(given.said.assumed.map(({ key }) => key)).not.toContain('transformer.heads');
    expect(given.pictures).not.toBe(assumed.pictures);
    const saved = JSON.parse(await readFile(at('imported', 'dimo.json'), 'utf8')) as { teacher: { config: unknown } };
    expect(saved.teacher.config).toMatchObject({ transformer: { heads: 4 }, sampler: { numSteps: 3 } });
  });

  it.each([
    ['transformer.heads=3', /multiple of .*heads/],
    ['transformer.head=4', /no option "head"/],
    ['transformer.heads', /must be a key and a value/],
    ['transformer.grid=[3,5]', /expected \[1, 16, 64\], got \[1, 17, 64\]/],
    ['transformer.depth=2000000000', /depth must be an integer from 1 to/],
    ['sampler.numSteps=1e21', /numSteps must be/],
    ['checkpoint.transformer.file=absent.pth', /has no file absent\.pth/],
    ['checkpoint.tokenizer.file=m.pth', /does not hold its VQGAN/],
    ['nothing=1', /no option "nothing"/],
  ])('a setting that is wrong: %s', async (setting, message) => {
    const what = await folder({ 'm.pth': transformerFile, 'v.ckpt': vqganFile });
    expect(await refused(what, '--set', setting)).toMatch(message);
  });

  it('settings are for public layouts', async () => {
    const preset = path.join(fixtures, '../../packages/presets/presets/mnist/generator');
    expect(await fails(['import', preset, '--set', 'transformer.heads=8'])).toContain('whose files say everything');
  });
});

describe('a thousand classes', { timeout: 120_000 }, () => {
  /** The tiny checkpoint with as many classes as ImageNet, every one with numbers of its own. */
  function thousandClasses(): HostTree {
    const rows = 32 + 1000 + 2;
    const width = transformer['tok_emb.weight']!.shape[1]!;
    const numbers = (count: number): Float32Array => Float32Array.from({ length: count }, (_, i) => Math.sin(i * i));
    return {
      ...transformer,
      'tok_emb.weight': float32([rows, width], numbers(rows * width)),
      bias: float32([17, rows], numbers(17 * rows)),
    };
  }

  it('are those of ImageNet: by id, name and synonym; a shared name is refused', async () => {
    const what = await folder({ 'm.safetensors': thousandClasses(), 'v.ckpt': vqganFile });
    const { stdout } = await succeed(['import', what, '--out', at('imported')]);
    expect(stdout).toContain('assumed classNames = "imagenet" (a thousand classes, as ImageNet has; null for none)');
    const sampling = ['sample', '--teacher', at('imported'), '--engine', 'cpu', '--steps', '1', '--seed', '1'];
    const picture = async (classes: string): Promise<string> => {
      await succeed([...sampling, '--count', '2', '--classes', classes, '--out', at('a.png')]);
      return (await readFile(at('a.png'))).toString('base64');
    };
    const byId = await picture('207,388');
    expect(await picture('golden retriever,giant panda')).toBe(byId);
    expect(await picture('Golden Retriever,Ailuropoda melanoleuca')).toBe(byId);
    expect(await picture('207,387')).not.toBe(byId);
    const wrong = async (classes: string): Promise<string> => fails([...sampling, '--classes', classes]);
    expect(await wrong('crane')).toMatch(/"crane" means several: 134 \(crane \(bird\)\), 517 \(crane \(machine\)\)/);
    expect(await wrong('retriever')).toMatch(/one of .*golden retriever, Labrador retriever/);
    const shown = (await succeed(['info', at('imported'), '--no-bench'])).stdout;
    expect(shown).toMatch(/- tench\n[^]*- and 980 more\n/);
    await succeed(['import', what, '--out', at('imported'), '--set', 'classNames=null']);
    expect(await wrong('golden retriever')).toMatch(/an id from 0 to 999, got/);
  });
});

describe('weights that would not run', { timeout: 120_000 }, () => {
  const without = (tree: HostTree, name: string): HostTree =>
    Object.fromEntries(Object.entries(tree).filter(([key]) => key !== name));
  const last = 'transformer.layers.1.1.fn.net.3.bias';
  const wrongs: [string, () => { m?: HostTree; v?: HostTree }, RegExp][] = [
    ['a tensor is missing', () => ({ m: without(transformer, last) }), /missing: "transformer\.layers\.1\.1/],
    ['a part of the decoder is missing', () => ({ v: without(vqgan, 'decoder.norm_out.bias') }), /missing: "decoder/],
    ['another shape', () => ({ m: { ...transformer, [last]: float32([3]) } }), /shape: "transformer\.layers\.1/],
    ['NaN', () => ({ m: { ...transformer, [last]: float32([64], new Float32Array(64).fill(NaN)) } }), /NaN/],
    [
      'a VQGAN with more codes than embeddings',
      () => ({
        v: { ...vqgan, 'quantize.embedding.weight': float32([60, vqgan['quantize.embedding.weight']!.shape[1]!]) },
      }),
      /does not fit the 60 codes/,
    ],
  ];
  it.each(wrongs)('%s', async (_name, change, message) => {
    const { m = transformer, v = vqgan } = change();
    const files = {
      'm.safetensors': writeSafetensors(m, { allowNonFinite: true }),
      'v.safetensors': writeSafetensors(v),
    };
    const { stderr, code } = await dimo(['import', await folder(files), '--out', at('imported')]);
    expect([code === 0, stderr]).toEqual([false, expect.stringMatching(message)]);
    expect(existsSync(at('imported'))).toBe(false);
  });
});
