/** Files of a tokenizer's folder: `config.json` and `tokenizer.safetensors`, or the checkpoint of a VQGAN in its place. */
import {
  escapeText,
  readJsonFile,
  requireObject,
  streamSafetensors,
  writeSafetensors,
  type FileContent,
  type HostTree,
  type SafetensorsWriteOptions,
  type WeightSource,
} from '@dimo/core';
import { findWeights, readWeights, type CheckpointPart, type FolderPart } from '@dimo/core/weight-files';
import { defineTokenizer, type DefinedTokenizer } from './any-tokenizer.js';
import { codebookName, type Tokenizer } from './tokenizer.js';

/** Names of the files. */
export const tokenizerFileNames = { config: 'config.json', tokenizer: 'tokenizer.safetensors' } as const;

/** What tells the VQGAN in a checkpoint of another program. */
export const vqganCheckpoint: CheckpointPart = {
  description: 'its VQGAN',
  anchors: [codebookName, 'encoder.conv_in.weight', 'decoder.conv_out.weight'],
};

/** A tokenizer with its weights. */
export interface LoadedTokenizer extends DefinedTokenizer {
  readonly weights: HostTree;
}

/** Where the weights of a tokenizer are in a folder. */
export function tokenizerPart(model: Tokenizer): FolderPart {
  return { ...vqganCheckpoint, file: tokenizerFileNames.tokenizer, endings: '.ckpt', model };
}

/** Content of a tokenizer's folder by file name, to be read by `readTokenizer`. */
export function tokenizerFiles(
  { config, weights }: Pick<LoadedTokenizer, 'config' | 'weights'>,
  options: Pick<SafetensorsWriteOptions, 'float'> = {},
): Record<string, Uint8Array> {
  return {
    [tokenizerFileNames.config]: encodeConfig(config),
    [tokenizerFileNames.tokenizer]: writeSafetensors(weights, { metadata, ...options }),
  };
}

/** The same files, whose weights are encoded tensor by tensor while they are written. */
export function streamTokenizerFiles({
  config,
  weights,
}: Pick<LoadedTokenizer, 'config' | 'weights'>): Record<string, FileContent> {
  return {
    [tokenizerFileNames.config]: encodeConfig(config),
    [tokenizerFileNames.tokenizer]: streamSafetensors(weights, { metadata }),
  };
}

const metadata = { format: 'pt' };

function encodeConfig(config: LoadedTokenizer['config']): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify({ tokenizer: config }, null, 2)}\n`);
}

/**
 * Reads the tokenizer of a tokenizer's or a teacher's folder.
 *
 * @throws OptionError for a wrong configuration, WeightError for weights that do not fit it.
 */
export async function readTokenizer(source: WeightSource): Promise<LoadedTokenizer> {
  const path = `${escapeText(source.location)}/${tokenizerFileNames.config}`;
  const config = requireObject(await readJsonFile(source, tokenizerFileNames.config), path);
  const where = `${path}: tokenizer`;
  const defined = defineTokenizer(requireObject(config['tokenizer'], where), where);
  const places = await findWeights(
    source,
    { tokenizer: tokenizerPart(defined.tokenizer) },
    { hint: 'name the folder of a tokenizer or a teacher that `dimo train` has written, or a preset' },
  );
  return { ...defined, weights: await readWeights(source, places['tokenizer']!) };
}
