/** `dimo import` of published one-step generators: a transformer alone, joined with the teacher that it was distilled from. */
import { float32, generatorFiles, readSafetensors, writeSafetensors, type HostTree } from '@dimo/core';
import { readTorchStateDict } from '@dimo/core/weight-files';
import { readTeacher, teacherFiles } from '@dimo/teacher-maskgit';
import { meissonicTeacher, teacherFiles as meissonicFiles } from '@dimo/teacher-meissonic';
import { folderWeightSource } from '@dimo/backend-node';
import { pipeline } from '@dimo/pipeline';
import { existsSync } from 'node:fs';
import { copyFile, cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { fixtures } from '../parity/fixtures.js';
import { startHub, type HubServer } from '../support/hub-server.js';
import { dimoTrial } from '../support/in-process-dimo.js';

const { at, succeed, fails } = dimoTrial();
const maskgit = path.join(fixtures, 'maskgit');
/** Weights alone, as the official trainer writes generators, and its own checkpoint. */
const bareFile = path.join(maskgit, 'transformer-4x4', 'pytorch_model.bin');
const trainerFile = path.join(maskgit, 'transformer-4x4', 'MaskGIT_tiny.pth');
const vqganFile = path.join(maskgit, 'vqgan-f2-ckpt', 'last.ckpt');

let transformer: HostTree;
let other: HostTree;
beforeAll(async () => {
  transformer = await readTorchStateDict(await readFile(bareFile));
  // A generator differs from its teacher in its numbers alone.
  const bias = transformer['bias']!;
  other = {
    ...transformer,
    bias: float32(
      bias.shape,
      Float32Array.from(bias.data, (_, i) => Math.sin(i)),
    ),
  };
});

async function folder(name: string, files: Readonly<Record<string, string | Uint8Array>>): Promise<string> {
  for (const [file, content] of Object.entries(files)) {
    await mkdir(path.dirname(at(name, file)), { recursive: true });
    await (typeof content === 'string' ? copyFile(content, at(name, file)) : writeFile(at(name, file), content));
  }
  return at(name);
}

/** The published teacher, and the import of it. */
async function importTeacher(...flags: string[]): Promise<string> {
  const published = await folder('published', {
    'MaskGIT_ImageNet_256.pth': trainerFile,
    'VQGAN/last.ckpt': vqganFile,
  });
  const { stdout } = await succeed(['import', published, '--out', at('teacher'), ...flags]);
  expect(stdout).toContain(`dimo distill --teacher ${at('teacher')} --set distill.preset=official`);
  return at('teacher');
}

/** The picture that a generator makes, and in how many passes. */
async function picture(model: string): Promise<{ readonly steps: number; readonly png: string }> {
  const flags = ['--engine', 'cpu', '--count', '4', '--seed', '1', '--json', '--out', at('a.png')];
  const { stdout } = await succeed(['sample', '--model', model, ...flags]);
  const { steps } = JSON.parse(stdout) as { readonly steps: number };
  return { steps, png: (await readFile(at('a.png'))).toString('base64') };
}

/** What comes of the same weights as a generator of ours, sampled as the official code does. */
async function expectedPicture(weights: HostTree, source: string, config: object = {}): Promise<string> {
  const teacher = await readTeacher({ ...config }, folderWeightSource(source));
  const tokenInit = { maskRatio: 0.6, embeddingNoise: 0.1, noiseDeviation: 1 };
  const files = generatorFiles({
    description: {
      format: 'dimo-generator',
      version: 1,
      teacher: { name: 'maskgit', config: teacher.config },
      model: teacher.model.name,
      tokenInit,
    },
    weights,
    decoderWeights: teacher.decoderWeights!,
  });
  return (await picture(await folder('expected', files))).png;
}

const importedConfig = async (name: string): Promise<Record<string, unknown>> =>
  (JSON.parse(await readFile(at(name, 'dimo.json'), 'utf8')) as { teacher: { config: Record<string, unknown> } })
    .teacher.config;

describe('of MaskGIT', { timeout: 120_000 }, () => {
  it('weights alone and their teacher are a generator of one pass, sampled as officially', async () => {
    const teacher = await importTeacher('--set', 'transformer.heads=4');
    const weights = await folder('weights', { 'model.safetensors': writeSafetensors(other) });
    const { stdout } = await succeed(['import', weights, '--teacher', teacher, '--out', at('one-step')]);
    expect(stdout).toMatch(/one-step generator of MaskGIT/);
    expect(stdout).not.toContain('distill.preset');
    expect(stdout).toMatch(/taken for a generator: model\.safetensors holds a transformer alone.*--as teacher/);
    expect(stdout).toMatch(/assumed tokenInit\.maskRatio = 0\.6 .*official/);
    const { steps, png } = await picture(at('one-step'));
    expect(steps).toBe(1);
    // The settings that were given when the teacher was imported are those of the generator too.
    expect(png).toBe(await expectedPicture(other, at('published'), await importedConfig('teacher')));
    const { stdout: facts } = await succeed(['info', at('one-step'), '--json']);
    expect(JSON.parse(facts)).toMatchObject({ generator: at('one-step'), tokenInit: { maskRatio: 0.6 } });
  });

  it('the published file, and a teacher in a folder of ours', async () => {
    await importTeacher();
    const teacher = await readTeacher(await importedConfig('teacher'), folderWeightSource(at('published')));
    const description = {
      format: 'dimo-teacher',
      version: 1,
      teacher: { name: 'maskgit', config: teacher.config },
      training: {},
    };
    const files = { ...teacherFiles(teacher), 'teacher.json': Buffer.from(JSON.stringify(description)) };
    const own = await folder('own', files);
    const weights = await folder('weights/maskgit', { 'pytorch_model.bin': bareFile });
    await succeed(['import', weights, '--teacher', own, '--out', at('one-step')]);
    const { steps, png } = await picture(at('one-step'));
    expect(steps).toBe(1);
    expect(png).toBe(await expectedPicture(transformer, own));
    // A teacher in a public layout that was not imported.
    await succeed(['import', weights, '--teacher', at('published'), '--out', at('again')]);
    expect((await picture(at('again'))).png).toBe(png);
  });

  it('is a model that `pipeline` opens, as its teacher is', async () => {
    const teacher = await importTeacher('--set', 'transformer.heads=4');
    const weights = await folder('weights', { 'pytorch_model.bin': bareFile });
    await succeed(['import', weights, '--teacher', teacher, '--out', at('one-step')]);
    await using generate = await pipeline(at('one-step'), { engine: 'cpu' });
    const [drawn] = await generate(['0'], { seed: 1 });
    const flags = ['--engine', 'cpu', '--count', '1', '--classes', '0', '--seed', '1', '--out', at('a.png'), '--quiet'];
    await succeed(['sample', '--model', at('one-step'), ...flags]);
    expect(await drawn!.png()).toEqual(new Uint8Array(await readFile(at('a.png'))));
    await using many = await pipeline(pathToFileURL(teacher), { engine: 'cpu' });
    expect((await many(['0'], { seed: 1, steps: 2 })).length).toBe(1);
    await rm(at('published'), { recursive: true });
    await expect(pipeline(at('one-step'), { engine: 'cpu' })).rejects.toThrow(/there is no folder .*published/);
  });

  it('how it is sampled can be given', async () => {
    const teacher = await importTeacher();
    const weights = await folder('weights', { 'pytorch_model.bin': bareFile });
    const set = ['--set', 'tokenInit.maskRatio=0.5', '--set', 'temperature=3'];
    const { stdout } = await succeed(['import', weights, '--teacher', teacher, '--out', at('x'), '--json', ...set]);
    expect((JSON.parse(stdout) as { assumed: { key: string }[] }).assumed.map(({ key }) => key)).toEqual([
      'tokenInit.embeddingNoise',
    ]);
    const facts = JSON.parse((await succeed(['info', at('x'), '--json'])).stdout) as object;
    expect(facts).toMatchObject({ tokenInit: { maskRatio: 0.5, embeddingNoise: 0.1 }, temperature: 3 });
  });

  it('beside its decoder needs no teacher; the name tells, or a person', async () => {
    const files = { 'last.ckpt': vqganFile };
    const named = await folder('named', { ...files, 'generator/pytorch_model.bin': bareFile });
    const { stdout } = await succeed(['import', named, '--out', at('a')]);
    expect(stdout).toContain('taken for a generator: the name generator says so');
    const told = await folder('told', { ...files, 'pytorch_model.bin': bareFile });
    const asTeacher = await succeed(['import', told, '--out', at('b')]);
    expect(asTeacher.stdout).toMatch(/taken for a teacher: .*pytorch_model\.bin.*--as generator/);
    await succeed(['import', told, '--out', at('c'), '--as', 'generator']);
    const [a, b, c] = [await picture(at('a')), await picture(at('b')), await picture(at('c'))];
    expect([a.steps, b.steps > 1, c.steps]).toEqual([1, true, 1]);
    expect(c.png).toBe(a.png);
    await succeed(['import', named, '--out', at('d'), '--as', 'teacher']);
    expect((await picture(at('d'))).png).toBe(b.png);
  });

  it('without a teacher it is said what is missing', async () => {
    const weights = await folder('weights', { 'pytorch_model.bin': bareFile });
    const message = await fails(['import', weights, '--out', at('x')]);
    expect(message).toMatch(/model alone[^]*--teacher[^]*no VQGAN is beside it; otherwise --as teacher/);
    expect(await fails(['import', weights, '--out', at('x'), '--as', 'teacher'])).toMatch(/but no VQGAN[^]*last\.ckpt/);
    // A trainer's own checkpoint is no generator, unless somebody says so.
    const trained = await folder('trained', { 'm.pth': trainerFile });
    const teacher = await importTeacher();
    expect(await fails(['import', trained, '--teacher', teacher, '--out', at('x')])).toMatch(/m\.pth\), but no VQGAN/);
    expect(await fails(['import', at('published'), '--teacher', teacher, '--out', at('x')])).toContain(
      '--as generator',
    );
    await succeed(['import', trained, '--as', 'generator', '--teacher', teacher, '--out', at('x')]);
    expect((await picture(at('x'))).steps).toBe(1);
  });

  it('another teacher is refused with what differs', async () => {
    const teacher = await importTeacher();
    const cut = (name: string, shape: readonly number[]): HostTree => ({ ...transformer, [name]: float32(shape) });
    const { ['tok_emb.weight']: embedding, pos_emb: positions } = transformer;
    const [rows, width] = embedding!.shape as [number, number];
    const wrongs: [HostTree, RegExp][] = [
      [
        cut('tok_emb.weight', [rows - 1, width]),
        /tok_emb\.weight \(codes, mask and classes by width\) \[\d+, 64\], of/,
      ],
      [cut('pos_emb', [1, positions!.shape[1]! + 1, width]), /pos_emb \(positions by width\)/],
      [cut('transformer.layers.2.0.norm.weight', [width]), /number of blocks 3, of the teacher 2/],
    ];
    for (const [i, [tensors, message]] of wrongs.entries()) {
      const weights = await folder(`weights-${i}`, { 'm.safetensors': writeSafetensors(tensors) });
      expect(await fails(['import', weights, '--teacher', teacher, '--out', at('x')])).toMatch(message);
    }
    const weights = await folder('weights', { 'pytorch_model.bin': bareFile });
    const release = path.join(fixtures, 'meissonic', 'tiny_release');
    const command = ['import', weights, '--out', at('x'), '--teacher'];
    expect(await fails([...command, release])).toContain('of another kind');
    expect(await fails([...command, weights])).toContain('but no VQGAN');
    expect(await fails([...command, at('absent')])).toContain('no folder of a model');
    expect(await fails([...command, teacher, '--set', 'tokenInit.maskRatio=2'])).toContain('tokenInit.maskRatio');
    expect(await fails([...command, teacher, '--set', 'nothing=1'])).toContain('no option "nothing"');
    expect(existsSync(at('x'))).toBe(false);
  });
});

describe('on a hub', { timeout: 120_000 }, () => {
  let hub: HubServer | undefined;
  afterEach(() => hub?.close());

  it('generator and teacher are fetched after all but the numbers is known to be right', async () => {
    const vqgan = await readTorchStateDict(await readFile(vqganFile));
    const bytes = (tensors: HostTree): Buffer => Buffer.from(writeSafetensors(tensors));
    const wider = { ...transformer, pos_emb: float32([1, 26, 64]) };
    hub = await startHub({
      files: {
        'one-step/model.safetensors': bytes(other),
        'wider/model.safetensors': bytes(wider),
        'teacher/m.safetensors': bytes(transformer),
        'teacher/v.safetensors': bytes(vqgan),
      },
    });
    const env = { HF_ENDPOINT: hub.endpoint };
    const command = (name: string): string[] => {
      const teacher = ['--teacher', 'hf:maker/model/teacher'];
      return ['import', `hf:maker/model/${name}`, ...teacher, '--out', at('one-step')];
    };
    expect(await fails(command('wider'), env)).toMatch(/was not distilled from the teacher/);
    const whole = hub.fetches().filter(({ range }) => !/^bytes=\d+-\d+$/.test(range ?? ''));
    expect(whole.filter(({ file }) => file!.endsWith('.safetensors'))).toEqual([]);
    await succeed(command('one-step'), env);
    await hub.close();
    expect((await picture(at('one-step'))).steps).toBe(1);
  });
});

describe('of Meissonic', { timeout: 120_000 }, () => {
  const release = path.join(fixtures, 'meissonic', 'tiny_release');

  /** The transformer of a generator; its numbers differ from those of the teacher. */
  async function generator(): Promise<string> {
    await cp(path.join(release, 'transformer'), at('weights', 'transformer'), { recursive: true });
    const file = at('weights', 'transformer', 'diffusion_pytorch_model.safetensors');
    const { tensors } = readSafetensors(new Uint8Array(await readFile(file)));
    const [name, tensor] = Object.entries(tensors).find(([key]) => key.endsWith('to_q.bias'))!;
    const changed = float32(tensor.shape, new Float32Array(tensor.data.length).fill(0.5));
    await writeFile(file, writeSafetensors({ ...tensors, [name]: changed }));
    return at('weights');
  }

  async function sampled(model: string): Promise<string> {
    const flags = ['--engine', 'onnx', '--seed', '1', '--json', '--out', at('a.png')];
    const { stdout } = await succeed(['sample', 'a red ball', '--model', model, ...flags]);
    expect(JSON.parse(stdout)).toMatchObject({ steps: 1 });
    return (await readFile(at('a.png'))).toString('base64');
  }

  it('takes the rest from a release or from a folder of ours, with what was said of the teacher', async () => {
    await succeed(['import', release, '--out', at('teacher'), '--set', 'grid=4']);
    await succeed(['import', await generator(), '--teacher', at('teacher'), '--out', at('a')]);
    const teacher = await meissonicTeacher.load({ layout: 'release', grid: 4 }, folderWeightSource(release));
    const description = {
      format: 'dimo-teacher',
      version: 1,
      teacher: { name: 'meissonic', config: teacher.config },
      training: {},
    };
    const files = { ...meissonicFiles(teacher), 'teacher.json': Buffer.from(JSON.stringify(description)) };
    await folder('own', files);
    await succeed(['import', at('weights'), '--teacher', at('own'), '--out', at('b')]);
    expect(await sampled(at('b'))).toBe(await sampled(at('a')));
    const message = await fails(['import', at('weights'), '--teacher', at('own'), '--out', at('c'), '--set', 'grid=8']);
    expect(message).toMatch(/made for 8 x 8 tokens, the teacher has 4 x 4/);
  });

  it('an import that does not say what the teacher is: its files do', async () => {
    await succeed(['import', await generator(), '--teacher', release, '--out', at('a'), '--set', 'grid=4']);
    const before = await sampled(at('a'));
    const saved = JSON.parse(await readFile(at('a', 'dimo.json'), 'utf8')) as Record<string, unknown>;
    expect(saved['teacherConfig']).toEqual({ layout: 'release' });
    const { teacherConfig: _, ...earlier } = saved;
    await writeFile(at('a', 'dimo.json'), JSON.stringify(earlier));
    expect(await sampled(at('a'))).toBe(before);
    await writeFile(at('a', 'dimo.json'), JSON.stringify({ ...saved, teacherConfig: [] }));
    expect(await fails(['sample', 'a red ball', '--model', at('a')])).toContain('teacherConfig must be');
  });

  it('may be published with all parts, which a person says', async () => {
    await succeed(['import', release, '--as', 'generator', '--out', at('a'), '--set', 'grid=4']);
    await sampled(at('a'));
    expect(await fails(['import', await generator(), '--as', 'teacher', '--out', at('b')])).toContain(
      '--as teacher has',
    );
  });
});
