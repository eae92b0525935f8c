/**
 * What a prompt needs, as files of our own folders: `text_encoder.safetensors`, and the tokenizer in `tokenizer.json` with
 * the two small files that say how it treats its special tokens.
 */
import {
  escapeText,
  halfFloatsOf,
  readJsonFile,
  readSmallFile,
  requireObject,
  streamSafetensors,
  writeSafetensors,
  type ByteStream,
  type HostTree,
  type SafetensorsWriteOptions,
  type WeightSource,
} from '@dimo/core';
import { readMergeLines } from './clip/tokenizer-files.js';

/** Beginning of the encoder's file names, as `readModelWeights` takes it. */
export const textEncoderBase = 'text_encoder';

const settingsNames = ['tokenizer_config.json', 'special_tokens_map.json'];
/** The vocabulary of CLIP has 0.8 MB, its merges 0.5 MB. */
const maximumBytes = 2 ** 26;

/** Content of the files by name; weights in 16 bits stay so. */
export function conditionFiles(
  encoderWeights: HostTree,
  tokenizerFiles: Readonly<Record<string, Uint8Array>>,
): Record<string, Uint8Array> {
  return { [`${textEncoderBase}.safetensors`]: encodeWeights(encoderWeights), ...tokenizerFiles };
}

/** Weights as a file; those in 16 bits stay so. */
export function encodeWeights(weights: HostTree, options: Pick<SafetensorsWriteOptions, 'float'> = {}): Uint8Array {
  return writeSafetensors(weights, {
    metadata: { format: 'pt' },
    dtypeOf: (_, tensor) => halfFloatsOf(tensor)?.format,
    ...options,
  });
}

/** The same file, encoded tensor by tensor while it is written. */
export function streamWeights(weights: HostTree): ByteStream {
  return streamSafetensors(weights, {
    metadata: { format: 'pt' },
    dtypeOf: (name) => halfFloatsOf(weights[name]!)?.format,
  });
}

/**
 * The files of a tokenizer that `readClipTokenizer` reads from the root of a folder of ours.
 *
 * @param folder - where it is in the source, as transformers writes it; empty for the root.
 */
export async function readTokenizerFiles(source: WeightSource, folder: string): Promise<Record<string, Uint8Array>> {
  const names = await source.list();
  const at = (name: string) => (folder === '' ? name : `${folder}/${name}`);
  const files: Record<string, Uint8Array> = {
    'tokenizer.json': names.includes(at('vocab.json'))
      ? encodeJson({
          model: { type: 'BPE', vocab: await vocabulary(), merges: await readMergeLines(source, at('merges.txt')) },
        })
      : await readSmallFile(source, at('tokenizer.json'), maximumBytes),
  };
  for (const name of settingsNames)
    if (names.includes(at(name))) files[name] = await readSmallFile(source, at(name), maximumBytes);
  return files;

  async function vocabulary(): Promise<unknown> {
    const name = at('vocab.json');
    return requireObject(await readJsonFile(source, name, { maximumBytes }), escapeText(`${source.location}/${name}`));
  }
}

/** JSON as a file. */
export function encodeJson(value: unknown): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify(value)}\n`);
}
