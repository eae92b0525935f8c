/**
 * Files of a teacher's folder: `config.json`, `transformer.safetensors`, `tokenizer.safetensors`. A folder with the
 * first and the last of them is a tokenizer's. In place of a safetensors file there may be the public checkpoint of the
 * original: a `.pth` or `.bin` file for the transformer, a `.ckpt` file for the VQGAN.
 */
import {
  escapeText,
  inspectPart,
  readJsonFile,
  readModelWeights,
  requireObject,
  streamSafetensors,
  unfinishedDownload,
  WeightError,
  writeSafetensors,
  type ByteStream,
  type FileContent,
  type HostTree,
  type InspectedModel,
  type InspectedPart,
  type ModelWeightsOptions,
  type PlainObject,
  type SafetensorsWriteOptions,
  type SpecTree,
  type Teacher,
  type WeightSource,
} from '@dimo/core';
import {
  checkpointParts,
  findCheckpoints,
  inspectCheckpoint,
  readCheckpoint,
  readCheckpoints,
  type Checkpoint,
  type CheckpointPart,
  type Checkpoints,
} from './checkpoints.js';
import { defineMaskgit, maskgitName, type MaskgitDefinition } from './teacher-config.js';
import { defineTokenizer, type DefinedTokenizer } from './tokenizer/any-tokenizer.js';

/** Names of the files. */
export const teacherFileNames = {
  config: 'config.json',
  transformer: 'transformer.safetensors',
  tokenizer: 'tokenizer.safetensors',
} as const;

/** How weights are written: `float: 'F16'` halves them. */
export type TeacherFileOptions = Pick<SafetensorsWriteOptions, 'float'>;

/** Content of a teacher's folder by file name, to be read by `readTeacher`. */
export function teacherFiles(teacher: TeacherContent, options: TeacherFileOptions = {}): Record<string, Uint8Array> {
  return teacherFilesOf(teacher, (weights) => encodeWeights(weights, options));
}

/** The same files, whose weights are encoded tensor by tensor while they are written. */
export function streamTeacherFiles(teacher: TeacherContent): Record<string, FileContent> {
  return teacherFilesOf(teacher, streamWeights);
}

type TeacherContent = Pick<Teacher, 'config' | 'weights' | 'decoderWeights'>;

function teacherFilesOf<Content>(
  { config, weights, decoderWeights }: TeacherContent,
  encode: (weights: HostTree) => Content,
): Record<string, Uint8Array | Content> {
  return {
    [teacherFileNames.config]: encodeJson(config),
    [teacherFileNames.transformer]: encode(weights),
    ...(decoderWeights ? { [teacherFileNames.tokenizer]: encode(decoderWeights) } : {}),
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

/** The same files, whose weights are encoded tensor by tensor while they are written. */
export function streamTokenizerFiles({
  config,
  weights,
}: Pick<LoadedTokenizer, 'config' | 'weights'>): Record<string, FileContent> {
  return {
    [teacherFileNames.config]: encodeJson({ tokenizer: config }),
    [teacherFileNames.tokenizer]: streamWeights(weights),
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
  const places = await placesOf(source, {}, { tokenizer: name });
  return { ...defined, weights: await readWeights(source, places.tokenizer, { name, parameters }) };
}

/**
 * Reads a teacher's folder.
 *
 * @param config - replaces top-level keys of the folder's `config.json`, which may be absent if this is complete. Its
 *   `checkpoint` says in which files of other programs the weights are.
 * @throws OptionError for a wrong configuration, WeightError for weights that do not fit it.
 */
export async function readTeacher(config: PlainObject, source: WeightSource): Promise<Teacher> {
  const { definition, places } = await openTeacher(config, source);
  const { model, decoder } = definition;
  const weights = await readWeights(source, places.transformer, model);
  if (!decoder) return { ...definition, weights };
  return { ...definition, weights, decoderWeights: await readWeights(source, places.tokenizer, decoder) };
}

/** Checks a teacher's folder as `readTeacher` does, but for the numbers. @throws OptionError, WeightError */
export async function inspectTeacher(config: PlainObject, source: WeightSource): Promise<InspectedModel> {
  const { definition, places } = await openTeacher(config, source);
  const { model, decoder } = definition;
  const transformer = await inspectWeights(source, places.transformer, { model, part: 'transformer' });
  if (!decoder) return { definition, parts: [transformer] };
  const decoding = await inspectWeights(source, places.tokenizer, { model: decoder, part: 'decoder' });
  return { definition, parts: [transformer, decoding] };
}

/** A part's weights: our own file, or a checkpoint of another program. */
type WeightPlace = { readonly file: string; readonly isOwn: true } | (Checkpoint & { readonly isOwn: false });

async function openTeacher(
  config: PlainObject,
  source: WeightSource,
): Promise<{ readonly definition: MaskgitDefinition; readonly places: Record<CheckpointPart, WeightPlace> }> {
  const files = await source.list();
  const saved = files.includes(teacherFileNames.config) ? await readConfig(source) : {};
  const { checkpoint, ...settings } = config;
  const definition = defineMaskgit({ ...saved, ...settings });
  const { model, decoder } = definition;
  const given = readCheckpoints(checkpoint, `${maskgitName}.checkpoint`);
  const names = { transformer: model.name, ...(decoder ? { tokenizer: decoder.name } : {}) };
  return { definition, places: await placesOf(source, given, names) };
}

/** Where the weights of the named parts are; the place of a part without a name is of no use. */
async function placesOf(
  source: WeightSource,
  given: Checkpoints,
  modelNames: Readonly<Partial<Record<CheckpointPart, string>>>,
): Promise<Record<CheckpointPart, WeightPlace>> {
  const files = await source.list();
  const needed = checkpointParts.filter(
    (part) => modelNames[part] !== undefined && (given[part] || !files.includes(teacherFileNames[part])),
  );
  const found = needed.length === 0 ? {} : await findCheckpoints(source, given, needed);
  const place = (part: CheckpointPart): WeightPlace => {
    const checkpoint = found[part];
    if (checkpoint) return { file: checkpoint.file, prefix: checkpoint.prefix, isOwn: false };
    const file = teacherFileNames[part];
    if (!needed.includes(part)) return { file, isOwn: true };
    const endings = part === 'transformer' ? '.pth, .pt or .bin' : '.ckpt';
    throw new WeightError(
      `${escapeText(source.location)}: expected the weights of ${modelNames[part]} in ${file} or in one ${endings} file, found ${listedNames(files)}`,
      {
        path: `${source.location}/${file}`,
        hint:
          unfinishedDownload(files) ??
          'name the folder of a teacher that `dimo train teacher` has written, or a preset',
      },
    );
  };
  return { transformer: place('transformer'), tokenizer: place('tokenizer') };
}

interface SizedModel {
  readonly name: string;
  readonly parameters: SpecTree;
}

async function readWeights(source: WeightSource, place: WeightPlace, model: SizedModel): Promise<HostTree> {
  return place.isOwn ? readModelWeights(source, ownFile(place.file, model)) : readCheckpoint(source, place, model);
}

async function inspectWeights(
  source: WeightSource,
  place: WeightPlace,
  { model, part }: { readonly model: SizedModel; readonly part: string },
): Promise<InspectedPart> {
  if (place.isOwn) return inspectPart(source, { name: part, ...ownFile(place.file, model) });
  const { fileNames: _, ...inspected } = await inspectCheckpoint(source, place, { model, part });
  return inspected;
}

function ownFile(file: string, model: SizedModel): ModelWeightsOptions {
  return { folder: '', base: file.replace(/\.safetensors$/, ''), model };
}

function listedNames(files: readonly string[]): string {
  const shown = files.slice(0, 8).map((name) => escapeText(name, 120));
  return `${shown.join(', ') || 'no files'}${files.length > shown.length ? ` and ${files.length - shown.length} more` : ''}`;
}

async function readConfig(source: WeightSource): Promise<PlainObject> {
  const where = `${escapeText(source.location)}/${teacherFileNames.config}`;
  return requireObject(await readJsonFile(source, teacherFileNames.config), where);
}

function streamWeights(weights: HostTree): ByteStream {
  return streamSafetensors(weights, { metadata: { format: 'pt' } });
}

function encodeWeights(weights: HostTree, options: TeacherFileOptions): Uint8Array {
  return writeSafetensors(weights, { metadata: { format: 'pt' }, ...options });
}

function encodeJson(value: unknown): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify(value, null, 2)}\n`);
}
