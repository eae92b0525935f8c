/**
 * The public folder layouts, read from disk: the release in miniature (a diffusers pipeline folder with a tokenizer cut
 * to its first merges), a sharded 16-bit copy of it, and the transformer alone as a released generator. What they
 * compute is compared with the official pipeline's recordings. Tolerance 1e-4, as for the parts.
 */
import { folderWeightSource } from '@dimo/backend-node';
import {
  compileDecoder,
  DimoError,
  halfFloatsOf,
  prepareTeacher,
  randomStream,
  readSafetensors,
  specsOf,
  treeDifference,
  writeSafetensors,
  type Engine,
  type HostTree,
  type WeightSource,
} from '@dimo/core';
import {
  embedMicroConditions,
  readRelease,
  readReleasedSurroundings,
  readReleasedTransformer,
  recognizeRelease,
  releasedGenerator,
  releaseTeacher,
} from '@dimo/teacher-meissonic';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { enginesUnderTest } from './engines.js';
import { fixtures, foldersWith, loadJson, loadTensors, maxDifference } from './fixtures.js';
import { channelsLast, tensor, tokensOf } from './meissonic-fixtures.js';

const location = join(fixtures, 'meissonic', 'tiny_release');
const release = folderWeightSource(location);
const grid = 8;
const samplers = ['steps4_cfg9', 'steps8_cfg9', 'steps5_nocfg_temp3'];

interface SamplerTrace {
  readonly prompts: readonly string[];
  readonly negative_prompt?: string | null;
}

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'dimo-release-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** A copy of the release whose transformer is in shards of a 16-bit type. */
async function shardedCopy(float: 'F16' | 'BF16', numShards = 3): Promise<string> {
  const copy = await mkdtemp(join(folder, 'sharded-'));
  await cp(location, copy, { recursive: true });
  const file = join(copy, 'transformer', 'diffusion_pytorch_model.safetensors');
  const { tensors } = readSafetensors(await readFile(file));
  await rm(file);
  const weightMap: Record<string, string> = {};
  for (let shard = 0; shard < numShards; shard++) {
    const name = `diffusion_pytorch_model-0000${shard + 1}-of-0000${numShards}.safetensors`;
    const part = Object.fromEntries(Object.entries(tensors).filter((_, index) => index % numShards === shard));
    for (const key of Object.keys(part)) weightMap[key] = name;
    await writeFile(join(copy, 'transformer', name), writeSafetensors(part, { float }));
  }
  const index = { metadata: { total_size: 0 }, weight_map: weightMap };
  await writeFile(join(copy, 'transformer', 'diffusion_pytorch_model.safetensors.index.json'), JSON.stringify(index));
  return copy;
}

/** A source without some files, or with other content. */
function changed(source: WeightSource, changes: Readonly<Record<string, object | null>>): WeightSource {
  return {
    location: source.location,
    list: async () => (await source.list()).filter((name) => changes[name] !== null),
    async read(name) {
      if (changes[name] === null) throw new DimoError('io', `no ${name}`);
      return changes[name] ? new TextEncoder().encode(JSON.stringify(changes[name])) : source.read(name);
    },
  };
}

const json = (...path: string[]) => loadJson<Record<string, unknown>>('meissonic', 'tiny_release', ...path);

describe('a release', () => {
  it('is read whole, with the weights of its files', async () => {
    const { transformer, vqvae, textEncoder, tokenizer } = await readRelease(release, { grid });
    const weightsOf = (...path: string[]) => loadTensors('meissonic', 'tiny_release', ...path);
    const transformerFile = weightsOf('transformer', 'diffusion_pytorch_model.safetensors');
    expect(treeDifference(transformer.weights, transformerFile)).toBeUndefined();
    expect(treeDifference(vqvae.weights, weightsOf('vqvae', 'diffusion_pytorch_model.safetensors'))).toBeUndefined();
    expect(treeDifference(textEncoder.weights, weightsOf('text_encoder', 'model.safetensors'))).toBeUndefined();
    expect(transformer.model.tokenSpace).toEqual({ codebookSize: 48, numLogits: 48, maskTokenId: 55, grid: [8, 8] });
    expect(tokenizer.endTokenId).toBe(1213);
  });

  it.each(['F16', 'BF16'] as const)('may be sharded in %s, which stays as it is', async (float) => {
    const { transformer } = await readRelease(folderWeightSource(await shardedCopy(float)), { grid });
    const formats = new Set(Object.values(transformer.weights).map((weight) => halfFloatsOf(weight)?.format));
    expect([...formats]).toEqual([float]);
    const rounded = readSafetensors(
      writeSafetensors(loadTensors('meissonic', 'tiny_release', 'transformer', 'diffusion_pytorch_model.safetensors'), {
        float,
      }),
    ).tensors;
    expect(treeDifference(transformer.weights, rounded)).toBeUndefined();
  });

  it('is recognized, and so is the transformer alone; other folders are not', async () => {
    const found = await recognizeRelease(release);
    expect(found).toMatchObject({ kind: 'teacher', description: expect.stringMatching(/^Meissonic release, /) });
    const all = await release.list();
    expect([...found!.files].sort()).toEqual(all.filter((name) => name !== 'model_index.json').sort());
    const others = all.filter((name) => !name.startsWith('transformer/'));
    const alone = changed(release, Object.fromEntries(others.map((name) => [name, null])));
    expect(await recognizeRelease(alone)).toMatchObject({
      kind: 'generator',
      files: ['transformer/config.json', 'transformer/diffusion_pytorch_model.safetensors'],
    });
    const another = changed(release, { 'transformer/config.json': { _class_name: 'UNet2DConditionModel' } });
    expect(await recognizeRelease(another)).toBeUndefined();
    expect(await recognizeRelease(folderWeightSource(join(location, 'vqvae')))).toBeUndefined();
  });

  it('of shards is recognized with all of them, and of two variants with the plain one', async () => {
    const shards = await recognizeRelease(folderWeightSource(await shardedCopy('F16')));
    const isTransformer = (name: string) => name.startsWith('transformer/');
    expect(shards!.files.filter(isTransformer)).toHaveLength(5); // config, index and three shards
    const variant = 'transformer/diffusion_pytorch_model.fp16.safetensors';
    const both = { ...release, list: async () => [...(await release.list()), variant] };
    expect((await recognizeRelease(both))!.files).not.toContain(variant);
  });

  const transformer = json('transformer', 'config.json');
  const cases: [string, Readonly<Record<string, object | null>>, RegExp][] = [
    ['lacks the VQ-VAE', { 'vqvae/config.json': null }, /lacks vqvae\/config\.json of the release/],
    ['lacks a tokenizer file', { 'tokenizer/merges.txt': null }, /has no tokenizer\/merges\.txt/],
    [
      'lacks weights',
      { 'text_encoder/model.safetensors': null },
      /text_encoder: expected the weights of clip-text-h32-d3 in model\.safetensors/,
    ],
    [
      'has a transformer of another size',
      { 'transformer/config.json': { ...transformer, num_layers: 2 } },
      /missing: "transformer_blocks\.1\./,
    ],
    [
      'has parts that do not fit',
      { 'transformer/config.json': { ...transformer, codebook_size: 49 } },
      /made for 49 codes, the VQ-VAE has 48/,
    ],
    [
      'has another mask token',
      { 'scheduler/scheduler_config.json': { mask_token_id: 48 } },
      /mask_token_id must be 55, the transformer's last token, got 48/,
    ],
    [
      'has an unknown activation',
      { 'text_encoder/config.json': { ...json('text_encoder', 'config.json'), hidden_act: 'relu' } },
      /text_encoder\.hidden_act must be "gelu" or "quick_gelu", got "relu"/,
    ],
    [
      'has a tokenizer beyond the text encoder',
      { 'text_encoder/config.json': { ...json('text_encoder', 'config.json'), vocab_size: 1000 } },
      /ids up to 1213, the text encoder clip-text-h32-d3 knows 1000/,
    ],
    [
      'has another kind of VQ model',
      { 'vqvae/config.json': { ...json('vqvae', 'config.json'), norm_type: 'spatial' } },
      /vqvae\.norm_type must be "group", got "spatial"/,
    ],
  ];
  it.each(cases)('that %s says so', async (_, changes, message) => {
    const source = changed(release, changes);
    const read = async () => {
      await recognizeRelease(source);
      await readRelease(source, { grid });
    };
    await expect(read()).rejects.toThrow(message);
  });

  it('says that prompts need an engine', async () => {
    const teacher = releaseTeacher(await readRelease(release, { grid }));
    expect(() => teacher.conditions.parse(['a cat'])).toThrow(/encoded on an engine/);
    expect(specsOf(teacher.nullCondition)).toEqual(teacher.model.condition);
  });
});

it('finds traces', () => {
  expect(foldersWith('meissonic', 'model_index.json')).toContain('tiny_release');
});

describe.each(enginesUnderTest)('on $name', ({ create, exactness }) => {
  const tolerance = exactness === 'cpu' ? 1e-4 : 1e-3;
  let engine: Engine;
  beforeAll(async () => {
    engine = await create();
  });
  afterAll(() => engine.dispose());

  it.each(samplers)('prompts become the conditions of %s', async (name) => {
    const trace = loadJson<SamplerTrace>('meissonic', 'sampler', `${name}.json`);
    const io = loadTensors('meissonic', 'sampler', `${name}.safetensors`);
    const negativePrompt = trace.negative_prompt ?? '';
    const definition = releaseTeacher(await readRelease(release, { grid }), { negativePrompt });
    const { teacher, dispose } = await prepareTeacher(engine, definition);
    const conditions = await teacher.conditions.parse(trace.prompts);
    expect(specsOf(conditions)['textStates']!.shape).toEqual([trace.prompts.length, 77, 32]);
    // The recording holds [negative, positive] where there is guidance.
    const states = tensor(io, 'in.encoder_hidden_states');
    const isGuided = states.shape[0] === 2 * trace.prompts.length;
    const expectRows = (key: 'textStates' | 'pooledText', recorded: string) => {
      const all = tensor(io, recorded).data;
      const width = all.length / states.shape[0]!;
      const positive = all.subarray(isGuided ? trace.prompts.length * width : 0);
      expect(maxDifference(conditions[key]!.data, positive)).toBeLessThan(tolerance);
      if (isGuided)
        expect(maxDifference(teacher.nullCondition[key]!.data, all.subarray(0, width))).toBeLessThan(tolerance);
    };
    expectRows('textStates', 'in.encoder_hidden_states');
    expectRows('pooledText', 'in.pooled_projections');
    const micro = tensor(io, 'in.micro_conds').data.subarray(0, trace.prompts.length * 5);
    expect(maxDifference(conditions['microConditions']!.data, embedMicroConditions(micro).data)).toBe(0);
    await dispose();
  });

  it('draws prompts of a list, the same ones from the same stream, and remembers their encodings', async () => {
    const prompts = ['a cat', 'a dog', 'a red ball'];
    const definition = releaseTeacher(await readRelease(release, { grid }), { prompts });
    const { teacher, dispose } = await prepareTeacher(engine, definition);
    const draw = () => teacher.conditions.sample(randomStream(1, 0, 'prompts'), 8);
    const [first, again] = [await draw(), await draw()];
    expect(treeDifference(first as HostTree, again as HostTree)).toBeUndefined();
    const all = (await teacher.conditions.parse(prompts))['pooledText']!;
    const width = all.data.length / prompts.length;
    const rowsOf = ({ data }: { data: ArrayLike<number> }) =>
      Array.from({ length: data.length / width }, (_, i) =>
        Array.from(data)
          .slice(i * width, (i + 1) * width)
          .join(),
      );
    const known = rowsOf(all);
    expect(new Set(rowsOf(first['pooledText']!).map((row) => known.indexOf(row)))).toEqual(new Set([0, 1, 2]));
    await dispose();
    await expect(teacher.conditions.parse(['something new'])).rejects.toThrow();
  });

  it('without prompts there is nothing to draw from', async () => {
    const { teacher, dispose } = await prepareTeacher(engine, releaseTeacher(await readRelease(release, { grid })));
    await expect(async () => teacher.conditions.sample(randomStream(1, 0, 'x'), 1)).rejects.toThrow(/no prompts/);
    await dispose();
  });

  it('a released generator takes everything but its transformer from the release', async () => {
    const io = loadTensors('meissonic', 'sampler', 'steps4_cfg9.safetensors');
    const generator = releasedGenerator(
      await readReleasedTransformer(release, { grid }),
      await readReleasedSurroundings(release, { grid }),
    );
    expect(generator.description).toMatchObject({
      model: generator.definition.model.name,
      tokenInit: { maskRatio: 0.6 },
    });
    const decoder = await compileDecoder(engine, generator.definition.decoder!, 1);
    const weights = await engine.upload(generator.decoderWeights!);
    const images = await decoder.decode(weights, tokensOf(tensor(io, 'out.codes')));
    expect(maxDifference(images.data, channelsLast(tensor(io, 'out.image')).data)).toBeLessThan(tolerance);
    await weights.dispose();
    await decoder.dispose();
  });
});
