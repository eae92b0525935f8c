/** `dimo export`: the files as other programs see them: onnxruntime in Node, onnxruntime-web, Python where there is one. */
import { chooseEngine, folderWeightSource } from '@dimo/backend-node';
import {
  compileDecoder,
  compileOneStep,
  prepareTeacher,
  randomOneStepDraws,
  readSafetensors,
  type HostTree,
  type LoadedGenerator,
} from '@dimo/core';
import { findGenerator, loadRegistry } from '@dimo/cli';
import { samplingOf } from '@dimo/pipeline';
import { readTorchStateDict } from '@dimo/core/weight-files';
import { readTeacher, teacherFiles } from '@dimo/teacher-meissonic';
import { spawnSync } from 'node:child_process';
import { copyFile, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import * as node from 'onnxruntime-node';
import * as web from 'onnxruntime-web';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, vi } from 'vitest';
import { fixtures } from '../parity/fixtures.js';
import { dimoTrial } from '../support/in-process-dimo.js';

const { at, succeed, fails } = dimoTrial();
const python = process.env['DIMO_TORCH_PYTHON'];
const modules = fileURLToPath(new URL('../../node_modules', import.meta.url));

/** What dimo itself makes of random numbers, and the inputs of the exported model that are the same numbers. */
async function expected(generator: LoadedGenerator, texts: readonly string[]) {
  const { engine } = await chooseEngine('onnx', { threads: 1 });
  try {
    const { teacher: definition } = await prepareTeacher(engine, generator.definition);
    const { model, decoder } = definition;
    const batchSize = texts.length;
    const sampler = await compileOneStep(engine, model, { batchSize, ...samplingOf(generator, {}) });
    const draws = randomOneStepDraws(3, 0, sampler);
    const condition = await definition.conditions.parse(texts);
    const tokens = await sampler.sample(await engine.upload(generator.weights), condition, draws);
    const decoded = await compileDecoder(engine, decoder!, batchSize);
    const images = await decoded.decode(await engine.upload(generator.decoderWeights!), tokens);
    const { initialMaskRatio: _, ...drawn } = draws;
    return { feeds: { ...condition, ...drawn } as HostTree, tokens, images };
  } finally {
    await engine.dispose();
  }
}

async function runWith(runtime: typeof node | typeof web, file: string, feeds: HostTree) {
  const { InferenceSession, Tensor } = runtime as typeof node;
  const session = await InferenceSession.create(
    runtime === web ? ((await readFile(file)) as unknown as string) : file,
    { logSeverityLevel: 3 },
  );
  const tensors = session.inputNames.map((name) => {
    const { dtype, data, shape } = feeds[name]!;
    return [name, new Tensor(dtype, data as Float32Array, [...shape])] as const;
  });
  const results = await session.run(Object.fromEntries(tensors));
  return { tokens: [...(results['tokens']!.data as Int32Array)], images: results['images']!.data as Float32Array };
}

function expectImages(actual: Float32Array, { data }: { readonly data: Float32Array }, tolerance: number): void {
  expect(actual.length).toBe(data.length);
  expect(Math.max(...actual.map((value, i) => Math.abs(value - data[i]!)))).toBeLessThan(tolerance);
}

const registry = () => loadRegistry([], process.cwd(), ['teachers']);
const generatorOf = async (name: string): Promise<LoadedGenerator> => findGenerator(name, await registry());

/** The code of a language in the README beside a model, run in its folder. */
async function runReadme(folder: string, language: 'python' | 'js', more: string) {
  const readme = await readFile(path.join(folder, 'README.md'), 'utf8');
  const code = new RegExp(`\`\`\`${language}\\n([^]*?)\`\`\``).exec(readme)![1]!;
  if (language === 'js') await symlink(modules, path.join(folder, 'node_modules'));
  const file = path.join(folder, language === 'js' ? 'run.mjs' : 'run.py');
  await writeFile(file, code + more);
  const { status, stdout, stderr } = spawnSync(language === 'js' ? process.execPath : python!, [file], {
    cwd: folder,
    encoding: 'utf8',
  });
  expect([status, stderr]).toEqual([0, expect.anything()]);
  return JSON.parse(stdout) as unknown;
}

describe('dimo export', { timeout: 180_000 }, () => {
  it.each([
    ['mnist', ['3', '7', '0'], []],
    ['mnist', ['4'], ['--weights-file', '--operators', 'microsoft']],
    ['emoji', ['a red apple', 'blue heart'], []],
  ] as const)('%s with %j %j: the same pictures in onnxruntime', async (model, texts, flags) => {
    await succeed(['export', model, '--out', at('onnx'), ...flags]);
    const { feeds, tokens, images } = await expected(await generatorOf(model), texts);
    const result = await runWith(node, at('onnx', 'model.onnx'), feeds);
    expect(result.tokens).toEqual([...tokens.data]);
    expectImages(result.images, images, 1e-5);
  });

  it('runs in onnxruntime-web', async () => {
    await succeed(['export', 'mnist', '--out', at('onnx')]);
    const { feeds, tokens, images } = await expected(await generatorOf('mnist'), ['3', '7', '0']);
    const result = await runWith(web, at('onnx', 'model.onnx'), feeds);
    expect(result.tokens).toEqual([...tokens.data]);
    expectImages(result.images, images, 1e-5);
  });

  it('in 16 bits has half the size and the same pictures where they were of 16 bits', async () => {
    await succeed(['export', 'mnist', '--float', 'F16', '--out', at('half')]);
    await succeed(['export', 'mnist', '--out', at('full')]);
    const size = async (name: string): Promise<number> => (await readFile(at(name, 'model.onnx'))).length;
    expect(await size('half')).toBeLessThan(0.6 * (await size('full')));
    const { feeds, tokens } = await expected(await generatorOf('mnist'), ['3', '7', '0', '1', '2', '4', '5', '6']);
    const result = await runWith(node, at('half', 'model.onnx'), feeds);
    // The preset itself is stored in 16 bits, so that nothing is lost.
    expect(result.tokens).toEqual([...tokens.data]);
  });

  it('of a generator with a text encoder of its own: conditions are written beside it', async () => {
    const release = folderWeightSource(path.join(fixtures, 'meissonic', 'tiny_release'));
    const teacher = await readTeacher({ layout: 'release', grid: 4 }, release);
    await mkdir(at('teacher'));
    for (const [name, bytes] of Object.entries(teacherFiles(teacher))) await writeFile(at('teacher', name), bytes);
    const description = { format: 'dimo-teacher', version: 1, teacher: { name: 'meissonic', config: {} } };
    await writeFile(at('teacher', 'teacher.json'), JSON.stringify(description));
    await writeFile(at('prompts.txt'), 'a photo of a cat\n');
    await succeed([
      ...['distill', '--teacher', at('teacher'), '--prompts', at('prompts.txt'), '--steps', '1', '--batch', '1'],
      ...['--engine', 'onnx', '--threads', '1', '--runs', at('.'), '--name', 'run', '--quiet', '--sample-every', '0'],
    ]);
    const prompts = ['a cat', 'a red ball on a blue cube'];
    await succeed(['export', at('run'), ...prompts, '--out', at('onnx')]);
    const { feeds, tokens, images } = await expected(await generatorOf(at('run')), prompts);
    const { tensors } = readSafetensors(new Uint8Array(await readFile(at('onnx', 'conditions.safetensors'))));
    const result = await runWith(node, at('onnx', 'model.onnx'), { ...feeds, ...tensors });
    expect(result.tokens).toEqual([...tokens.data]);
    expectImages(result.images, images, 1e-4);
  });

  it.each([
    ['mnist', []],
    ['emoji', ['a red apple', 'blue heart', 'a cat']],
  ])('%s: the JavaScript of the README draws pictures', async (model, prompts) => {
    await succeed(['export', model, ...prompts, '--out', at('onnx')]);
    const facts = '\nconsole.log(JSON.stringify([images.dims, Math.max(...images.data), Math.min(...images.data)]));';
    const [dims, most, least] = (await runReadme(at('onnx'), 'js', facts)) as [number[], number, number];
    expect(dims[0]).toBe(prompts.length || 4);
    expect(most).toBeGreaterThan(0.5);
    expect(least).toBeGreaterThanOrEqual(0);
  });

  it.skipIf(python === undefined).each([
    ['mnist', []],
    ['emoji', ['a red apple', 'blue heart', 'a cat']],
  ])('%s: the Python of the README draws pictures (needs DIMO_TORCH_PYTHON)', async (model, prompts) => {
    await succeed(['export', model, ...prompts, '--out', at('onnx')]);
    const facts = '\nimport json; print(json.dumps([images.shape, float(images.max()), float(images.min())]))';
    const [dims, most, least] = (await runReadme(at('onnx'), 'python', facts)) as [number[], number, number];
    expect(dims[0]).toBe(prompts.length || 4);
    expect(most).toBeGreaterThan(0.5);
    expect(least).toBeGreaterThanOrEqual(0);
  });

  it('writes weights under the names of the original, as safetensors or as PyTorch does', async () => {
    const generator = await generatorOf('mnist');
    await succeed(['export', 'mnist', '--to', 'safetensors', '--out', at('st')]);
    expect((await readdir(at('st'))).sort()).toEqual(['decoder.safetensors', 'model.safetensors']);
    const { tensors } = readSafetensors(new Uint8Array(await readFile(at('st', 'model.safetensors'))));
    expect(Object.keys(tensors).sort()).toEqual(Object.keys(generator.weights).sort());
  });

  it('gives a public checkpoint back as it was read', async () => {
    const original = path.join(fixtures, 'maskgit', 'transformer-4x4', 'MaskGIT_tiny.pth');
    await mkdir(at('model'));
    await copyFile(original, at('model', 'maskgit.pth'));
    await copyFile(path.join(fixtures, 'maskgit', 'vqgan-f2-ckpt', 'last.ckpt'), at('model', 'vqgan.ckpt'));
    await succeed(['import', at('model'), '--out', at('imported')]);
    await succeed(['export', at('imported'), '--to', 'pytorch', '--out', at('pt')]);
    const read = async (file: string): Promise<HostTree> => readTorchStateDict(await readFile(file));
    const [before, after] = [await read(original), await read(at('pt', 'pytorch_model.bin'))];
    expect(Object.keys(after).sort()).toEqual(Object.keys(before).sort());
    for (const [name, { shape, data }] of Object.entries(before))
      expect({ name, shape: after[name]!.shape, data: after[name]!.data }).toEqual({ name, shape, data });
    vi.stubEnv('TZ', 'Pacific/Kiritimati');
    await succeed(['export', at('imported'), '--to', 'pytorch', '--out', at('elsewhere')]);
    expect(
      (await readFile(at('elsewhere', 'pytorch_model.bin'))).equals(await readFile(at('pt', 'pytorch_model.bin'))),
    ).toBe(true);
    if (python === undefined) return;
    const code = `import sys, torch
before = torch.load(sys.argv[1], weights_only=True, map_location="cpu")["model_state_dict"]
after = torch.load(sys.argv[2], weights_only=True)
assert list(sorted(before)) == list(sorted(after))
assert all(torch.equal(before[k], after[k]) and before[k].dtype == after[k].dtype for k in before)`;
    const { status, stderr } = spawnSync(python, ['-c', code, original, at('pt', 'pytorch_model.bin')], {
      encoding: 'utf8',
    });
    expect([status, stderr]).toEqual([0, '']);
  });

  it('has settings of sampling in the file, and says what was written', async () => {
    const { stdout } = await succeed(['export', 'mnist', '--out', at('a'), '--json']);
    expect(JSON.parse(stdout)).toEqual({ format: 'onnx', written: [at('a', 'model.onnx'), at('a', 'README.md')] });
    // The licence is that of the model's own card.
    expect(await readFile(at('a', 'README.md'), 'utf8')).toMatch(/^---\nlicense: apache-2\.0\nlibrary_name: onnx\n/);
    const quiet = await succeed([
      'export',
      'mnist',
      '--out',
      at('b'),
      '-q',
      '--set',
      'sample.temperature=0.05',
      '--batch',
      '2',
    ]);
    expect(quiet.stdout + quiet.stderr).toBe('');
    const { feeds } = await expected(await generatorOf('mnist'), ['3', '3']);
    const plain = await runWith(node, at('a', 'model.onnx'), feeds);
    expect((await runWith(node, at('b', 'model.onnx'), feeds)).tokens).not.toEqual(plain.tokens);
    const one = await expected(await generatorOf('mnist'), ['3']);
    await expect(runWith(node, at('b', 'model.onnx'), one.feeds)).rejects.toThrow(/invalid dimensions/i);
  });

  it('refuses what cannot be', async () => {
    expect(await fails(['export', 'mnist', '--to', 'tflite'])).toMatch(/--to <format>/);
    expect(await fails(['export', 'mnist', '--batch', '0'])).toMatch(/--batch must be an integer from 1 to 999999/);
    expect(await fails(['export', 'mnist', '--to', 'pytorch', '--batch', '3'])).toMatch(
      /--batch has no effect with --to pytorch/,
    );
    expect(await fails(['export', 'mnist', '--set', 'distill.numSteps=3'])).toMatch(
      /has no effect on `dimo export --to onnx`/,
    );
    for (const flags of [['--set', 'sample.temperature=0.5'], ['--operators', 'microsoft'], ['--weights-file']])
      expect(await fails(['export', 'mnist', '--to', 'pytorch', ...flags])).toMatch(/has no effect .*--to pytorch/);
    await mkdir(at('full'));
    await writeFile(at('full', 'x'), '');
    expect(await fails(['export', 'mnist', '--out', at('full')])).toMatch(/holds other files/);
    expect(await fails(['export', 'nowhere', '--out', at('new')])).toMatch(/"nowhere" is not a generator/);
    expect(await readdir(at('.'))).not.toContain('new');
  });
});
