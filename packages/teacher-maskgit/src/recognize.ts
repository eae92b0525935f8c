/**
 * MaskGIT teachers without a description of ours: a folder that this plugin has written, or the public checkpoints (one
 * `.pth` file of the transformer, one `.ckpt` file of the VQGAN), whose sizes are read from the shapes of their tensors.
 */
import {
  escapeText,
  OptionError,
  readJsonFile,
  type RecognizedWeights,
  type SpecTree,
  type WeightSource,
} from '@dimo/core';
import { teacherFileNames } from './files.js';
import { imagenet256Config } from './imagenet.js';
import type { MaskgitConfig } from './teacher-config.js';
import { codebookName } from './tokenizer/tokenizer.js';
import { readTorchSpecs } from './torch/state-dict.js';
import type { VqganConfig } from './vqgan/config.js';

/** Cannot be read from the weights; every official loader uses 16. */
const officialHeads = 16;

/** Recognizes a MaskGIT teacher. @throws OptionError, WeightError if it is one, but incomplete or of another version */
export async function recognizeMaskgit(source: WeightSource): Promise<RecognizedWeights | undefined> {
  const files = (await source.list()).filter((name) => !name.includes('/'));
  const { config, transformer, tokenizer } = teacherFileNames;
  if (files.includes(config) && files.includes(transformer)) {
    const saved = await readJsonFile(source, config);
    if (typeof saved !== 'object' || saved === null || !('transformer' in saved)) return undefined;
    const own = [config, transformer, tokenizer].filter((name) => files.includes(name));
    return { kind: 'teacher', description: 'MaskGIT teacher', config: {}, files: own };
  }
  const torch = files.filter((name) => /\.(?:pth|pt|bin)$/.test(name));
  const vqgan = files.filter((name) => name.endsWith('.ckpt'));
  if (torch.length !== 1 || vqgan.length !== 1) return undefined;
  const [transformerFile, vqganFile] = [torch[0]!, vqgan[0]!];
  const specs = await readTorchSpecs(source, transformerFile);
  if (!specs['tok_emb.weight'] || !specs['pos_emb']) return undefined;
  const tokenizerSpecs = await readTorchSpecs(source, vqganFile, { only: (name) => !name.startsWith('loss.') });
  const found = maskgitConfigOf(specs, tokenizerSpecs, source.location);
  const [rows, columns] = found.transformer!.grid as readonly [number, number];
  const { numClasses } = found.transformer!;
  return {
    kind: 'teacher',
    description: `public MaskGIT checkpoints, ${rows} x ${columns} tokens, ${numClasses} classes`,
    config: { ...found },
    files: [transformerFile, vqganFile],
  };
}

/**
 * Configuration of a teacher from the shapes of its tensors.
 *
 * @throws OptionError if the tensors are of another kind of model.
 */
export function maskgitConfigOf(transformer: SpecTree, tokenizer: SpecTree, where: string): MaskgitConfig {
  const axis = (specs: SpecTree, name: string, index: number): number => {
    const length = specs[name]?.shape[index];
    if (length === undefined)
      throw new OptionError(
        `${escapeText(where)}: a public MaskGIT checkpoint has the tensor "${name}", this one has not`,
      );
    return length;
  };
  const hidden = axis(transformer, 'tok_emb.weight', 1);
  const side = Math.sqrt(axis(transformer, 'pos_emb', 1) - 1);
  const codebookSize = axis(tokenizer, codebookName, 0);
  const numClasses = axis(transformer, 'tok_emb.weight', 0) - codebookSize - 2;
  if (!Number.isInteger(side) || numClasses < 1)
    throw new OptionError(
      `${escapeText(where)}: the transformer (${axis(transformer, 'tok_emb.weight', 0)} embeddings, ${side * side} positions) does not fit the ${codebookSize} codes of the VQGAN`,
    );
  const depth = countWhile((i) => `transformer.layers.${i}.0.norm.weight` in transformer);
  return {
    transformer: {
      hidden,
      depth,
      heads: officialHeads,
      mlp: axis(transformer, 'transformer.layers.0.1.fn.net.0.weight', 0),
      codebookSize,
      numClasses,
      grid: [side, side],
      embeddingDeviation: 1,
    },
    tokenizer: { kind: 'vqgan', ...vqganConfigOf(tokenizer, side, axis) },
    ...(numClasses === 1000 ? { sampler: imagenet256Config.sampler! } : {}),
  };
}

function vqganConfigOf(
  specs: SpecTree,
  side: number,
  axis: (specs: SpecTree, name: string, index: number) => number,
): VqganConfig {
  const ch = axis(specs, 'encoder.conv_in.weight', 0);
  const z_channels = axis(specs, 'post_quant_conv.weight', 0);
  const levels = countWhile((i) => `encoder.down.${i}.block.0.conv1.weight` in specs);
  const resolution = side * 2 ** (levels - 1);
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
    imageSize: resolution,
  };
}

function countWhile(has: (index: number) => boolean): number {
  let count = 0;
  while (has(count)) count++;
  return count;
}
