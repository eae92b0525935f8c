/**
 * Files of a teacher's folder: `config.json`, `transformer.safetensors`, `tokenizer.safetensors`. In place of a safetensors
 * file there may be the public checkpoint of the original: a `.pth` or `.bin` file for the transformer, a `.ckpt` file for
 * the VQGAN.
 */
import {
  escapeText,
  mergeObjects,
  OptionError,
  readJsonFile,
  requireObject,
  streamSafetensors,
  writeSafetensors,
  type ByteStream,
  type FileContent,
  type HostTree,
  type InspectedModel,
  type PlainObject,
  type SafetensorsWriteOptions,
  type Teacher,
  type TeacherFiles,
  type WeightSource,
} from '@dimo/core';
import {
  findCheckpoints,
  findWeights,
  inspectWeights,
  readCheckpoints,
  readWeights,
  type CheckpointPart,
  type FolderPart,
  type FoundCheckpoint,
  type WeightPlace,
} from '@dimo/core/weight-files';
import { tokenizerFileNames, tokenizerPart, vqganCheckpoint } from '@dimo/tokenizers';
import { defineMaskgit, maskgitName, type MaskgitDefinition } from './teacher-config.js';

/** Names of the files. */
export const teacherFileNames = {
  ...tokenizerFileNames,
  transformer: 'transformer.safetensors',
} as const;

/** What tells the transformer in a checkpoint of another program. */
const transformerCheckpoint: CheckpointPart = {
  description: 'the transformer of MaskGIT',
  anchors: ['tok_emb.weight', 'pos_emb', 'transformer.layers.0.0.norm.weight'],
};

const missingHint = 'name the folder of a teacher that `dimo train teacher` has written, or a preset';

const teacherParts = ['transformer', 'tokenizer'] as const;

/**
 * The public checkpoints of a teacher among the files of a source.
 *
 * @param checkpoint - what is said of their places, `{ transformer: 'file' }`.
 * @throws OptionError, WeightError as `findCheckpoints`.
 */
export function findTeacherCheckpoints(
  source: WeightSource,
  checkpoint: unknown,
): Promise<{ readonly transformer?: FoundCheckpoint; readonly tokenizer?: FoundCheckpoint }> {
  return findCheckpoints(
    source,
    { transformer: transformerCheckpoint, tokenizer: vqganCheckpoint },
    readCheckpoints(checkpoint, teacherParts, `${maskgitName}.checkpoint`),
  );
}

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

/**
 * Reads a teacher's folder.
 *
 * @param config - replaces top-level keys of the folder's `config.json`, which may be absent if this is complete. Its
 *   `checkpoint` says in which files of other programs the weights are.
 * @throws OptionError for a wrong configuration, WeightError for weights that do not fit it.
 */
export async function readTeacher(config: PlainObject, source: WeightSource): Promise<Teacher> {
  const { definition, transformer, tokenizer } = await openTeacher(config, source);
  const weights = await readWeights(source, transformer);
  if (!tokenizer) return { ...definition, weights };
  return { ...definition, weights, decoderWeights: await readWeights(source, tokenizer) };
}

/** Checks a teacher's folder as `readTeacher` does, but for the numbers. @throws OptionError, WeightError */
export async function inspectTeacher(config: PlainObject, source: WeightSource): Promise<InspectedModel> {
  const { definition, transformer, tokenizer } = await openTeacher(config, source);
  const parts = [await inspectWeights(source, transformer, 'transformer')];
  if (tokenizer) parts.push(await inspectWeights(source, tokenizer, 'decoder'));
  return { definition, parts };
}

/**
 * A teacher's definition and where its decoder is; its transformer is not looked at.
 *
 * @param changes - settings over those of the teacher.
 * @throws OptionError for a wrong configuration or a teacher without decoder, WeightError if its weights are not there.
 */
export async function openDecoder({ config, source }: TeacherFiles, changes: PlainObject): Promise<OpenedDecoder> {
  const { checkpoint, settings } = await settingsOf(config, source);
  const definition = defineMaskgit(mergeObjects(settings, changes));
  const { decoder } = definition;
  if (!decoder)
    throw new OptionError(`${escapeText(source.location)}: the teacher has no tokenizer that makes its tokens images`, {
      path: source.location,
      hint: 'name a teacher that makes images',
    });
  const { tokenizer } = readCheckpoints(checkpoint, teacherParts, `${maskgitName}.checkpoint`);
  const places = await findWeights(
    source,
    { tokenizer: tokenizerPart(decoder) },
    { given: tokenizer ? { tokenizer } : {}, hint: missingHint },
  );
  return { definition, decoder: places['tokenizer']! };
}

/** Where the decoder of a teacher is. */
export interface OpenedDecoder {
  readonly definition: MaskgitDefinition;
  readonly decoder: WeightPlace;
}

async function settingsOf(
  config: PlainObject,
  source: WeightSource,
): Promise<{ readonly checkpoint: unknown; readonly settings: PlainObject }> {
  const files = await source.list();
  const saved = files.includes(teacherFileNames.config) ? await readConfig(source) : {};
  const { checkpoint, ...settings } = config;
  return { checkpoint, settings: { ...saved, ...settings } };
}

async function openTeacher(
  config: PlainObject,
  source: WeightSource,
): Promise<{
  readonly definition: MaskgitDefinition;
  readonly transformer: WeightPlace;
  readonly tokenizer: WeightPlace | undefined;
}> {
  const { checkpoint, settings } = await settingsOf(config, source);
  const definition = defineMaskgit(settings);
  const { model, decoder } = definition;
  const file = teacherFileNames.transformer;
  const transformer: FolderPart = { ...transformerCheckpoint, file, endings: '.pth, .pt or .bin', model };
  const places = await findWeights(
    source,
    { transformer, ...(decoder ? { tokenizer: tokenizerPart(decoder) } : {}) },
    {
      given: readCheckpoints(checkpoint, teacherParts, `${maskgitName}.checkpoint`),
      hint: missingHint,
    },
  );
  return { definition, transformer: places['transformer']!, tokenizer: places['tokenizer'] };
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
