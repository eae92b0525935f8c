/** Meissonic through the plugin: the public release as a teacher, our own folders of it and of its generators. */
import { createOnnxEngine, folderWeightSource } from '@dimo/backend-node';
import {
  compileOneStep,
  contentBytes,
  createDistillation,
  createRegistry,
  describeGenerator,
  DimoError,
  generatorFiles,
  prepareTeacher,
  readGenerator,
  sampleOneStep,
  treeDifference,
  type TeacherDefinition,
  type Engine,
  type HostTree,
  type Teacher,
  type WeightSource,
} from '@dimo/core';
import { meissonicPlugin, meissonicTeacher } from '@dimo/teacher-meissonic';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fixtures } from './fixtures.js';

const release = folderWeightSource(join(fixtures, 'meissonic', 'tiny_release'));
const prompts = ['a red ball on a blue cube', ''];
let engine: Engine;
beforeAll(async () => {
  engine = await createOnnxEngine({ threads: 1 });
});
afterAll(() => engine.dispose());

function inMemory(files: Readonly<Record<string, Uint8Array>>): WeightSource {
  return {
    location: 'memory',
    list: () => Promise.resolve(Object.keys(files)),
    read: (name) =>
      files[name] ? Promise.resolve(files[name]) : Promise.reject(new DimoError('io', `there is no ${name}`)),
  };
}

/** The condition of the prompts, and what means "no condition". */
async function conditionsOf(definition: TeacherDefinition): Promise<HostTree> {
  const { teacher, dispose } = await prepareTeacher(engine, definition);
  const condition = await teacher.conditions.parse(prompts);
  await dispose();
  return { ...condition, none: teacher.nullCondition['textStates']! };
}

function requireSame(actual: HostTree | undefined, expected: HostTree | undefined): void {
  expect(treeDifference(actual!, expected!)).toBeUndefined();
}

/** The files of a teacher's folder as they are written. */
async function writtenFiles(teacher: Teacher): Promise<Record<string, Uint8Array>> {
  const files = Object.entries(meissonicTeacher.files!(teacher));
  return Object.fromEntries(
    await Promise.all(files.map(async ([name, content]) => [name, await contentBytes(content)] as const)),
  );
}

describe('the Meissonic plugin', () => {
  let teacher: Teacher;
  beforeAll(async () => {
    teacher = await meissonicTeacher.load({ layout: 'release', grid: 8 }, release);
  });

  it('recognizes the release and defines the same teacher from its configuration', async () => {
    expect(await meissonicTeacher.recognize!(release)).toMatchObject({
      kind: 'teacher',
      config: { layout: 'release' },
    });
    const { model, decoder, config, sampler } = meissonicTeacher.define(teacher.config);
    expect(model.name).toBe(teacher.model.name);
    expect(model.parameters).toEqual(teacher.model.parameters);
    expect(decoder!.parameters).toEqual(teacher.decoder!.parameters);
    expect(config).toEqual(teacher.config);
    expect(sampler).toMatchObject({ numSteps: 64, guidanceScale: 9 });
    expect(JSON.parse(JSON.stringify(config))).toEqual(config);
  });

  it('reads a folder that it has written', async () => {
    const files = await writtenFiles(teacher);
    expect(Object.keys(files).sort()).toEqual([
      'config.json',
      'special_tokens_map.json',
      'text_encoder.safetensors',
      'tokenizer.json',
      'tokenizer_config.json',
      'transformer.safetensors',
      'vqvae.safetensors',
    ]);
    const again = await meissonicTeacher.load({}, inMemory(files));
    requireSame(again.weights, teacher.weights);
    requireSame(again.decoderWeights, teacher.decoderWeights);
    expect(again.config).toEqual(teacher.config);
    requireSame(await conditionsOf(again), await conditionsOf(teacher));
    const contents = (of: Readonly<Record<string, Uint8Array>>) =>
      Object.entries(of).map(([name, bytes]) => [name, Buffer.from(bytes).toString('base64')]);
    expect(contents(await writtenFiles(again))).toEqual(contents(files));
  });

  it('writes generators that understand prompts on their own', async () => {
    const distillation = createDistillation(teacher, { tokenInit: { maskRatio: 0.5, embeddingNoise: 0.3 } });
    const { decoderWeights } = teacher;
    const files = generatorFiles({
      description: describeGenerator(teacher, distillation),
      weights: teacher.weights,
      ...(decoderWeights ? { decoderWeights } : {}),
      conditionFiles: teacher.conditionFiles!(),
    });
    const { teachers } = createRegistry([meissonicPlugin]);
    const { definition, description, weights } = await readGenerator(inMemory(files), teachers);
    requireSame(await conditionsOf(definition), await conditionsOf(teacher));

    const sampled = async (given: TeacherDefinition, values: HostTree) => {
      const prepared = await prepareTeacher(engine, given);
      const sampler = await compileOneStep(engine, given.model, { batchSize: 2, tokenInit: description.tokenInit! });
      const state = await engine.upload(values);
      const condition = await prepared.teacher.conditions.parse(prompts);
      const tokens = await sampleOneStep(sampler, { weights: state, condition, seed: 5 });
      await Promise.all([state.dispose(), sampler.dispose(), prepared.dispose()]);
      return tokens;
    };
    expect(await sampled(definition, weights)).toEqual(await sampled(teacher, teacher.weights));
  });

  it('says what is missing', async () => {
    const files = await writtenFiles(teacher);
    const { 'text_encoder.safetensors': _, ...withoutEncoder } = files;
    await expect(meissonicTeacher.load({}, inMemory(withoutEncoder))).rejects.toThrow(/text_encoder\.safetensors/);
    expect(() => meissonicTeacher.define(teacher.config).conditions.parse(prompts)).toThrow(
      /weights of the text encoder/,
    );
    await expect(meissonicTeacher.load({ layout: 'releases' }, release)).rejects.toThrow(/layout must be "release"/);
    await expect(meissonicTeacher.load({ layout: 'release', size: 3 }, release)).rejects.toThrow(/no option "size"/);
    const { vqvae } = teacher.config as { vqvae: object };
    expect(() => meissonicTeacher.define({ ...teacher.config, vqvae: { ...vqvae, num_vq_embeddings: 49 } })).toThrow(
      /num_vq_embeddings must be transformer\.codebookSize 48, got 49/,
    );
    expect(() => meissonicTeacher.define({ ...teacher.config, prompts })).toThrow(/meissonic has no option "prompts"/);
  });
});
