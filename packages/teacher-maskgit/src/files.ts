/**
 * Files of a teacher's folder: `config.json`, `transformer.safetensors`, `tokenizer.safetensors`. A folder with the
 * first and the last of them is a tokenizer's. In place of a safetensors file there may be the public checkpoint of the
 * original: a `.pth` or `.bin` file for the transformer, a `.ckpt` file for the VQGAN.
 */
import {
  checkWeights,
  decodeText,
  escapeText,
  OptionError,
  readSafetensors,
  requireObject,
  WeightError,
  writeSafetensors,
  type HostTree,
  type PlainObject,
  type SafetensorsWriteOptions,
  type SpecTree,
  type Teacher,
  type WeightSource,
} from '@dimo/core';
import { defineMaskgit } from './teacher-config.js';
import { defineTokenizer, type DefinedTokenizer } from './tokenizer/any-tokenizer.js';
import { readTorchStateDict } from './torch/state-dict.js';

/** Names of the files. */
export const teacherFileNames = {
  config: 'config.json',
  transformer: 'transformer.safetensors',
  tokenizer: 'tokenizer.safetensors',
} as const;

/** A configuration larger than this is refused. */
const maximumConfigBytes = 2 ** 20;

/** How weights are written: `float: 'F16'` halves them. */
export type TeacherFileOptions = Pick<SafetensorsWriteOptions, 'float'>;

/** Content of a teacher's folder by file name, to be read by `readTeacher`. */
export function teacherFiles(
  teacher: Pick<Teacher, 'config' | 'weights' | 'decoderWeights'>,
  options: TeacherFileOptions = {},
): Record<string, Uint8Array> {
  const { config, weights, decoderWeights } = teacher;
  return {
    [teacherFileNames.config]: encodeJson(config),
    [teacherFileNames.transformer]: encodeWeights(weights, options),
    ...(decoderWeights ? { [teacherFileNames.tokenizer]: encodeWeights(decoderWeights, options) } : {}),
  };
}

/** A tokenizer with its weights. */
export interface LoadedTokenizer extends DefinedTokenizer {
  readonly weights: HostTree;
}

/** Content of a tokenizer's folder by file name, to be read by `readTokenizer`. */
export function tokenizerFiles(
  { config, weights }: Pick<LoadedTokenizer, 'config' | 'weights'>,
  options: TeacherFileOptions = {},
): Record<string, Uint8Array> {
  return {
    [teacherFileNames.config]: encodeJson({ tokenizer: config }),
    [teacherFileNames.tokenizer]: encodeWeights(weights, options),
  };
}

/**
 * Reads the tokenizer of a tokenizer's or a teacher's folder.
 *
 * @throws OptionError for a wrong configuration, WeightError for weights that do not fit it.
 */
export async function readTokenizer(source: WeightSource): Promise<LoadedTokenizer> {
  const config = await readConfig(source);
  const where = `${escapeText(source.location)}/${teacherFileNames.config}: tokenizer`;
  const defined = defineTokenizer(requireObject(config['tokenizer'], where), where);
  const { name, parameters } = defined.tokenizer;
  return { ...defined, weights: await readWeights(source, teacherFileNames.tokenizer, { name, parameters }) };
}

/**
 * Reads a teacher's folder.
 *
 * @param config - replaces top-level keys of the folder's `config.json`, which may be absent if this is complete.
 * @throws OptionError for a wrong configuration, WeightError for weights that do not fit it.
 */
export async function readTeacher(config: PlainObject, source: WeightSource): Promise<Teacher> {
  const files = await source.list();
  const saved = files.includes(teacherFileNames.config) ? await readConfig(source) : {};
  const definition = defineMaskgit({ ...saved, ...config });
  const { model, decoder } = definition;
  const weights = await readWeights(source, teacherFileNames.transformer, model);
  if (!decoder) return { ...definition, weights };
  return { ...definition, weights, decoderWeights: await readWeights(source, teacherFileNames.tokenizer, decoder) };
}

/** Files of PyTorch that hold each kind of weights, by ending; read where there is no safetensors file. */
const torchEndings: Readonly<Record<string, readonly string[]>> = {
  [teacherFileNames.transformer]: ['.pth', '.pt', '.bin'],
  [teacherFileNames.tokenizer]: ['.ckpt'],
};

async function readWeights(
  source: WeightSource,
  file: string,
  model: { readonly name: string; readonly parameters: SpecTree },
): Promise<HostTree> {
  const files = await source.list();
  const endings = torchEndings[file]!;
  const torchFiles = files.filter((name) => endings.some((ending) => name.endsWith(ending)));
  const chosen = files.includes(file) ? file : torchFiles[0];
  if (chosen === undefined || (chosen !== file && torchFiles.length > 1))
    throw new WeightError(
      `${escapeText(source.location)}: expected the weights of ${model.name} in ${file} or in one ${endings.join(' or ')} file, found ${files.map((name) => escapeText(name)).join(', ') || 'no files'}`,
      {
        path: `${source.location}/${file}`,
        hint: 'name the folder of a teacher that `dimo train teacher` has written, or a preset',
      },
    );
  const path = `${source.location}/${chosen}`;
  const check = (tensors: SpecTree): void => checkWeights(tensors, model.parameters, { model: model.name, path });
  const bytes = await source.read(chosen);
  if (chosen !== file)
    // The checkpoint of a VQGAN also holds the networks of its training losses.
    return readTorchStateDict(bytes, { path, check, only: (name) => !name.startsWith('loss.') });
  const { tensors } = readSafetensors(bytes, { path });
  check(tensors);
  return tensors;
}

async function readConfig(source: WeightSource): Promise<PlainObject> {
  const where = `${escapeText(source.location)}/${teacherFileNames.config}`;
  const bytes = await source.read(teacherFileNames.config);
  if (bytes.length > maximumConfigBytes)
    throw new OptionError(`${where}: has ${bytes.length} bytes, at most ${maximumConfigBytes} are allowed`);
  const text = decodeText(bytes, where);
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (cause) {
    throw new OptionError(`${where}: is not JSON`, { path: source.location, cause });
  }
  return requireObject(parsed, where);
}

function encodeWeights(weights: HostTree, options: TeacherFileOptions): Uint8Array {
  return writeSafetensors(weights, { metadata: { format: 'pt' }, ...options });
}

function encodeJson(value: unknown): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify(value, null, 2)}\n`);
}
