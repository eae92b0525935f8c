/**
 * MaskGIT teachers without a description of ours: a folder that this plugin has written, or the public checkpoints of the
 * transformer and of the VQGAN, whatever their names and folders, whose sizes are read from the shapes of their tensors.
 */
import {
  escapeText,
  mergeObjects,
  OptionError,
  readJsonFile,
  requireObject,
  requirePair,
  type AssumedSetting,
  type PlainObject,
  type RecognizedWeights,
  type SpecTree,
  type WeightSource,
} from '@dimo/core';
import type { FoundCheckpoint } from '@dimo/core/weight-files';
import { codebookName, type VqganConfig } from '@dimo/tokenizers';
import { findTeacherCheckpoints, teacherFileNames } from './files.js';
import { imagenetClassNames } from './imagenet-classes.js';
import { imagenet256Config } from './imagenet.js';
import { recognizedGenerator } from './released-generator.js';
import { defineMaskgit, maskgitName, type MaskgitConfig } from './teacher-config.js';

/** Cannot be read from the weights; every official loader uses 16. */
const officialHeads = 16;

/**
 * Recognizes a MaskGIT teacher, or the transformer of a one-step generator.
 *
 * @throws OptionError, WeightError if it is one, but incomplete or of another version.
 */
export async function recognizeMaskgit(
  source: WeightSource,
  given: PlainObject = {},
  as?: RecognizedWeights['kind'],
): Promise<RecognizedWeights | undefined> {
  const all = await source.list();
  const files = all.filter((name) => !name.includes('/'));
  const { config, transformer, tokenizer } = teacherFileNames;
  if (files.includes(config) && files.includes(transformer)) {
    const saved = await readJsonFile(source, config);
    if (typeof saved !== 'object' || saved === null || !('transformer' in saved)) return undefined;
    const own = [config, transformer, tokenizer].filter((name) => files.includes(name));
    return {
      kind: 'teacher',
      description: 'MaskGIT teacher',
      config: mergeGiven(saved as PlainObject, given),
      files: own,
    };
  }
  // A pipeline of diffusers has weights of many kinds, and says in this file what they are.
  if (all.some((name) => name === 'model_index.json' || name === 'transformer/config.json')) return undefined;
  const { checkpoint, ...settings } = given;
  const found = await findTeacherCheckpoints(source, checkpoint);
  if (!found.transformer && !found.tokenizer) return undefined;
  if (!found.transformer) throw incomplete(source.location, found);
  const { kind, kindReason } = kindOf(found.transformer, {
    as,
    hasTokenizer: found.tokenizer !== undefined,
    location: source.location,
  });
  if (kind === 'generator') return recognizedGenerator(found.transformer, given, kindReason);
  if (!found.tokenizer) throw incomplete(source.location, found);
  const { config: inferred, assumed } = inferMaskgit(found.transformer, found.tokenizer, source.location, settings);
  const merged = mergeObjects({ ...inferred }, settings);
  const { model } = defineMaskgit(merged);
  const [rows, columns] = model.tokenSpace.grid;
  const numClasses = (merged['transformer'] as MaskgitConfig['transformer'])?.numClasses;
  return {
    kind: 'teacher',
    description: `public MaskGIT checkpoints, ${rows} x ${columns} tokens, ${numClasses} classes`,
    config: { ...merged, checkpoint: { transformer: placeOf(found.transformer), tokenizer: placeOf(found.tokenizer) } },
    files: [...new Set([found.transformer.file, found.tokenizer.file])],
    assumed,
    ...(kindReason === undefined ? {} : { kindReason }),
  };
}

/** How people and the official code call one-step generators. */
const generatorName =
  /(?:^|[^a-z])(?:di-?\[?m\]?-?o|generator|ema[-_]?model|one[-_]?step|student|distilled)(?:[^a-z]|$)/i;
/** The folders that the official code writes them to. */
const generatorFolder = /^(?:generator|ema_model)$/;
/** How the official release calls its one-step generator, and other programs any model. */
const publishedName = /^pytorch_model\.bin$/;

/**
 * Whether a transformer is that of a teacher or of a one-step generator. Both have the same tensors: where the trainer's own
 * checkpoint is not there to tell, names and what lies beside it have to.
 */
function kindOf(
  { file, container }: FoundCheckpoint,
  from: {
    readonly as: RecognizedWeights['kind'] | undefined;
    readonly hasTokenizer: boolean;
    readonly location: string;
  },
): Pick<RecognizedWeights, 'kind' | 'kindReason'> {
  if (from.as !== undefined) return { kind: from.as };
  if (container !== undefined) return { kind: 'teacher' };
  const path = file.split('/');
  const folder = from.location.split(/[/\\]/).at(-1)!;
  const named = generatorFolder.test(folder) ? folder : path.find((name) => generatorName.test(name));
  if (named !== undefined) return { kind: 'generator', kindReason: `the name ${escapeText(named, 120)} says so` };
  const shown = escapeText(file, 120);
  if (!from.hasTokenizer)
    return { kind: 'generator', kindReason: `${shown} holds a transformer alone, and no VQGAN is beside it` };
  if (publishedName.test(path.at(-1)!))
    return { kind: 'teacher', kindReason: `a VQGAN is beside ${shown}, which may be a generator too` };
  return { kind: 'teacher' };
}

/** Settings over those of a folder of ours: only what was given, `load` reads the rest. */
function mergeGiven(saved: PlainObject, given: PlainObject): PlainObject {
  const merged = mergeObjects(saved, given);
  return Object.fromEntries(Object.keys(given).map((key) => [key, merged[key]]));
}

function placeOf({ file, prefix }: FoundCheckpoint): { file: string; prefix: string } {
  return { file, prefix };
}

function incomplete(
  location: string,
  { transformer, tokenizer }: Awaited<ReturnType<typeof findTeacherCheckpoints>>,
): OptionError {
  const there = transformer
    ? `the transformer of MaskGIT (${escapeText(transformer.file, 200)}), but no VQGAN that makes its tokens images`
    : `a VQGAN (${escapeText(tokenizer?.file ?? '', 200)}), but no transformer of MaskGIT`;
  return new OptionError(`${escapeText(location)} has ${there}`, {
    path: location,
    hint: transformer
      ? 'put the checkpoint of the VQGAN (last.ckpt beside its model.yaml, or a .pth or .safetensors file of it) into the same folder or one below it'
      : 'put MaskGIT_ImageNet_256.pth into the same folder or one below it; a VQGAN alone is no teacher',
  });
}

interface Inferred {
  readonly config: MaskgitConfig;
  readonly assumed: readonly AssumedSetting[];
}

/**
 * Configuration of a teacher from the shapes of its tensors, and what they do not show.
 *
 * @param given - settings that are known from elsewhere; they go before what is inferred.
 * @throws OptionError if the tensors are of another kind of model.
 */
function inferMaskgit(
  transformer: FoundCheckpoint,
  tokenizer: FoundCheckpoint,
  location: string,
  given: PlainObject,
): Inferred {
  const where = escapeText(location);
  const axis = (specs: SpecTree, name: string, index: number): number => {
    const length = specs[name]?.shape[index];
    if (length !== undefined) return length;
    throw new OptionError(`${where}: a public MaskGIT checkpoint has the tensor "${name}", this one has not`);
  };
  const specs = transformer.tensors;
  const known = requireObject(given['transformer'] ?? {}, `${maskgitName}.transformer`);
  const hidden = axis(specs, 'tok_emb.weight', 1);
  const numTokens = axis(specs, 'pos_emb', 1) - 1;
  const side = Math.sqrt(numTokens);
  if (!Number.isInteger(side) && known['grid'] === undefined)
    throw new OptionError(`${where}: the transformer has ${numTokens} positions, which is no square grid`, {
      path: location,
      hint: 'say the rows and columns: --set transformer.grid=[rows,columns]',
    });
  const codebookSize = axis(tokenizer.tensors, codebookName, 0);
  const rows = axis(specs, 'tok_emb.weight', 0);
  const numClasses = rows - codebookSize - 2;
  if (numClasses < 1)
    throw new OptionError(
      `${where}: the transformer (${rows} embeddings) does not fit the ${codebookSize} codes of the VQGAN: it needs one for each code, the mask, each class and "no class"`,
      { path: location, hint: 'transformer and VQGAN are of different models' },
    );
  const assumed: AssumedSetting[] = [];
  const otherwise = (key: string, value: unknown, reason: string): void => {
    const isGiven = key.split('.').reduce<unknown>((node, part) => (node as PlainObject | undefined)?.[part], given);
    if (isGiven === undefined) assumed.push({ key, value, reason });
  };
  if (known['heads'] === undefined && hidden % officialHeads !== 0)
    throw new OptionError(
      `${where}: the weights do not show the number of attention heads, and the usual ${officialHeads} do not divide the width ${hidden}`,
      { path: location, hint: 'say the number of heads: --set transformer.heads=<n>' },
    );
  otherwise('transformer.heads', officialHeads, 'weights do not show it; every official loader uses 16');
  if (Number.isInteger(side) && side > 1)
    otherwise('transformer.grid', [side, side], `weights show ${numTokens} positions; pictures are usually square`);
  const isImagenet = numClasses === 1000;
  const sampler = isImagenet ? imagenet256Config.sampler : undefined;
  otherwise('sampler', sampler ?? 'defaults', 'how it is sampled is not in the weights');
  if (isImagenet) otherwise('classNames', imagenetClassNames, 'a thousand classes, as ImageNet has; null for none');
  for (const [part, { prefix, alternatives, file }] of Object.entries({ transformer, tokenizer }))
    if (alternatives.length > 0)
      assumed.push({
        key: `checkpoint.${part}.prefix`,
        value: prefix,
        reason: `${escapeText(file, 200)} has it also under ${alternatives.map((other) => `"${escapeText(other, 60)}"`).join(', ')}`,
      });
  const grid = Number.isInteger(side) ? [side, side] : [1, numTokens];
  return {
    assumed,
    config: {
      transformer: {
        hidden,
        depth: countWhile((i) => `transformer.layers.${i}.0.norm.weight` in specs),
        heads: officialHeads,
        mlp: axis(specs, 'transformer.layers.0.1.fn.net.0.weight', 0),
        codebookSize,
        numClasses,
        grid: grid as [number, number],
        embeddingDeviation: 1,
      },
      tokenizer: { kind: 'vqgan', ...vqganConfigOf(tokenizer.tensors, known['grid'] ?? grid, axis) },
      ...(isImagenet ? { classNames: imagenetClassNames } : {}),
      ...(sampler ? { sampler } : {}),
    },
  };
}

function vqganConfigOf(
  specs: SpecTree,
  given: unknown,
  axis: (specs: SpecTree, name: string, index: number) => number,
): VqganConfig {
  const ch = axis(specs, 'encoder.conv_in.weight', 0);
  const z_channels = axis(specs, 'post_quant_conv.weight', 0);
  const levels = countWhile((i) => `encoder.down.${i}.block.0.conv1.weight` in specs);
  const grid = requirePair(given, `${maskgitName}.transformer.grid`);
  const resolution = Math.max(...grid) * 2 ** (levels - 1);
  const indices = Array.from({ length: levels }, (_, i) => i);
  return {
    embed_dim: axis(specs, codebookName, 1),
    n_embed: axis(specs, codebookName, 0),
    ddconfig: {
      ch,
      ch_mult: indices.map((i) => axis(specs, `encoder.down.${i}.block.0.conv1.weight`, 0) / ch),
      num_res_blocks: countWhile((j) => `encoder.down.0.block.${j}.conv1.weight` in specs),
      attn_resolutions: indices
        .filter((i) => `encoder.down.${i}.attn.0.norm.weight` in specs)
        .map((i) => Math.floor(resolution / 2 ** i)),
      resolution,
      z_channels,
      in_channels: axis(specs, 'encoder.conv_in.weight', 1),
      out_ch: axis(specs, 'decoder.conv_out.weight', 0),
      double_z: axis(specs, 'encoder.conv_out.weight', 0) === 2 * z_channels,
    },
    imageSize: [grid[0] * 2 ** (levels - 1), grid[1] * 2 ** (levels - 1)],
  };
}

function countWhile(has: (index: number) => boolean): number {
  let count = 0;
  while (has(count)) count++;
  return count;
}
