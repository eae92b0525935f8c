/**
 * Folders as people really have them: the release in miniature with the files, names and configurations that public
 * tools leave behind. What is read must not depend on them.
 */
import { folderWeightSource } from '@dimo/backend-node';
import { float32, halfFloatsOf, modelWeightFiles, readSafetensors, treeDifference, writeSafetensors } from '@dimo/core';
import { readRelease, recognizeRelease } from '@dimo/teacher-meissonic';
import { cp, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { fixtures, loadTensors } from './fixtures.js';

const options = { grid: 8 };
const weightsOf = (...path: string[]) => loadTensors('meissonic', 'tiny_release', ...path);
const base = 'diffusion_pytorch_model';

let parent: string;
let folder: string;
beforeAll(async () => void (parent = await mkdtemp(join(tmpdir(), 'dimo-public-'))));
afterAll(() => rm(parent, { recursive: true }));
beforeEach(async () => {
  folder = await mkdtemp(join(parent, 'release-'));
  await cp(join(fixtures, 'meissonic', 'tiny_release'), folder, { recursive: true });
});

const at = (...path: string[]): string => join(folder, ...path);
const readConfig = async (...path: string[]) =>
  JSON.parse(await readFile(at(...path, 'config.json'), 'utf8')) as Record<string, unknown>;
const writeConfig = (config: object, ...path: string[]) =>
  writeFile(at(...path, 'config.json'), JSON.stringify(config));

/** What `dimo import` would fetch, and what is then read. */
async function readAsImported() {
  const source = folderWeightSource(folder);
  const { files } = (await recognizeRelease(source))!;
  return { files, release: await readRelease({ ...source, list: () => Promise.resolve([...files]) }, options) };
}

describe('extra files and keys', () => {
  it('of a repository and of the tools that saved the parts are left alone', async () => {
    for (const name of ['README.md', '.gitattributes', 'model.ckpt', 'transformer/diffusion_pytorch_model.bin'])
      await writeFile(at(name), 'x');
    await writeFile(at('text_encoder', 'pytorch_model.bin'), 'x');
    await writeFile(at('tokenizer', 'added_tokens.json'), '{}');
    await writeFile(at('model_index.json'), '{"_class_name": "MeissonicPipeline"}');
    const moving = { decay: 0.9999, inv_gamma: 1, min_decay: 0, optimization_step: 13000, power: 0.7 };
    await writeConfig({ ...(await readConfig('transformer')), _name_or_path: 'x', ...moving }, 'transformer');
    const { files, release } = await readAsImported();
    expect(files.filter((name) => /\.(bin|ckpt|md)$|model_index/.test(name))).toEqual([]);
    expect(
      treeDifference(release.transformer.weights, weightsOf('transformer', `${base}.safetensors`)),
    ).toBeUndefined();
  });

  it('the scheduler and the index may be missing', async () => {
    await rm(at('scheduler'), { recursive: true });
    await rm(at('model_index.json'));
    expect((await readAsImported()).release.transformer.model.tokenSpace.maskTokenId).toBe(55);
  });
});

describe('variants', () => {
  const rounded = () =>
    readSafetensors(writeSafetensors(weightsOf('transformer', `${base}.safetensors`), { float: 'F16' })).tensors;

  it('only in 16 bits, beside pickled weights and others that are not for use', async () => {
    const whole = weightsOf('transformer', `${base}.safetensors`);
    await rename(at('transformer', `${base}.safetensors`), at('transformer', `${base}.non_ema.safetensors`));
    await writeFile(at('transformer', `${base}.fp16.safetensors`), writeSafetensors(whole, { float: 'F16' }));
    await writeFile(at('transformer', `${base}.bin`), 'x');
    const { files, release } = await readAsImported();
    expect(files.filter((name) => name.startsWith('transformer/')).sort()).toEqual([
      'transformer/config.json',
      `transformer/${base}.fp16.safetensors`,
    ]);
    expect(Object.values(release.transformer.weights).every((tensor) => halfFloatsOf(tensor))).toBe(true);
    expect(treeDifference(release.transformer.weights, rounded())).toBeUndefined();
  });

  it('in 16 bits and in shards', async () => {
    const names = Object.entries(weightsOf('transformer', `${base}.safetensors`));
    await rm(at('transformer', `${base}.safetensors`));
    const map: Record<string, string> = {};
    for (const shard of [1, 2]) {
      const file = `${base}.fp16-0000${shard}-of-00002.safetensors`;
      const part = names.filter((_, index) => index % 2 === shard - 1);
      for (const [name] of part) map[name] = file;
      await writeFile(at('transformer', file), writeSafetensors(Object.fromEntries(part), { float: 'F16' }));
    }
    const index = JSON.stringify({ metadata: {}, weight_map: map });
    await writeFile(at('transformer', `${base}.safetensors.index.fp16.json`), index);
    const { files, release } = await readAsImported();
    expect(files.filter((name) => name.startsWith('transformer/'))).toHaveLength(4);
    expect(treeDifference(release.transformer.weights, rounded())).toBeUndefined();
  });

  it('the plain weights are preferred; of unknown ones none is guessed', () => {
    const of = (...names: string[]) => modelWeightFiles(names, { folder: '', base: 'model' });
    expect(of('model.fp16.safetensors', 'model.safetensors')).toEqual(['model.safetensors']);
    expect(of('model.bf16.safetensors', 'model.fp16.safetensors')).toEqual(['model.fp16.safetensors']);
    expect(of('model.ema.safetensors', 'model.bin')).toEqual(['model.ema.safetensors']);
    expect(of('model.ema.safetensors', 'model.non_ema.safetensors')).toEqual([]);
    expect(of('model.safetensors.index.json', 'model-00001-of-00001.safetensors', 'model.fp16.safetensors')).toEqual([
      'model.safetensors.index.json',
      'model-00001-of-00001.safetensors',
    ]);
  });
});

describe('text encoders', () => {
  it('may be a whole CLIP model, whose image half is not read', async () => {
    const { projection_dim, architectures: _, ...half } = await readConfig('text_encoder');
    const text_config = { ...half, projection_dim: 7 };
    await writeConfig({ architectures: ['CLIPModel'], projection_dim, text_config, vision_config: {} }, 'text_encoder');
    const text = weightsOf('text_encoder', 'model.safetensors');
    const others = {
      logit_scale: float32([], [1]),
      'visual_projection.weight': float32([2, 2]),
      'vision_model.post_layernorm.weight': float32([2]),
    };
    await writeFile(at('text_encoder', 'model.safetensors'), writeSafetensors({ ...text, ...others }));
    const { release } = await readAsImported();
    expect(treeDifference(release.textEncoder.weights, text)).toBeUndefined();
  });

  it('without projection are refused', async () => {
    await writeConfig({ ...(await readConfig('text_encoder')), architectures: ['CLIPTextModel'] }, 'text_encoder');
    await expect(readAsImported()).rejects.toThrow(/CLIPTextModel has no text projection/);
  });
});

it('pointers of Git LFS are called by their name', async () => {
  const pointer = 'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 4027785216\n';
  await writeFile(at('transformer', `${base}.safetensors`), pointer);
  await expect(readAsImported()).rejects.toThrow(/pointer of Git LFS/);
});
