/**
 * Folders of Meissonic teachers. Ours: `config.json`, `transformer.safetensors`, and where there are such parts
 * `vqvae.safetensors` and the files of condition-files.ts. The public one: see release/.
 */
import {
  escapeText,
  inspectPart,
  readJsonFile,
  readModelWeights,
  requireObject,
  type FileContent,
  type HostTree,
  type InspectedModel,
  type InspectedPart,
  type PlainObject,
  type SafetensorsWriteOptions,
  type SpecTree,
  type Teacher,
  type WeightSource,
} from '@dimo/core';
import { readClipTokenizer } from './clip/tokenizer-files.js';
import {
  conditionFiles,
  encodeJson,
  encodeWeights,
  readTokenizerFiles,
  streamWeights,
  textEncoderBase,
} from './condition-files.js';
import { checkTokenizerFits } from './clip/text-conditions.js';
import { releaseOptions, type ReleaseConfig } from './release/options.js';
import { inspectRelease, readRelease } from './release/read-release.js';
import { releaseTeacher, type ReleaseTeacherOptions } from './release/release-teacher.js';
import { defineMeissonic, type MeissonicDefinition } from './teacher-config.js';

const configName = 'config.json';
const transformerBase = 'transformer';
const vqvaeBase = 'vqvae';

/** How weights are written: `float: 'F16'` halves those that are in 32 bits. */
export type TeacherFileOptions = Pick<SafetensorsWriteOptions, 'float'>;

/** Content of a teacher's folder by file name, to be read by `readTeacher`. */
export function teacherFiles(teacher: TeacherContent, options: TeacherFileOptions = {}): Record<string, Uint8Array> {
  return teacherFilesOf(teacher, (weights) => encodeWeights(weights, options));
}

/** The same files, whose weights are encoded tensor by tensor while they are written. */
export function streamTeacherFiles(teacher: TeacherContent): Record<string, FileContent> {
  return teacherFilesOf(teacher, streamWeights);
}

type TeacherContent = Pick<Teacher, 'config' | 'weights' | 'decoderWeights' | 'conditionFiles'>;

function teacherFilesOf<Content>(
  { config, weights, decoderWeights, conditionFiles }: TeacherContent,
  encode: (weights: HostTree) => Content,
): Record<string, Uint8Array | Content> {
  return {
    [configName]: encodeJson(config),
    [`${transformerBase}.safetensors`]: encode(weights),
    ...(decoderWeights ? { [`${vqvaeBase}.safetensors`]: encode(decoderWeights) } : {}),
    ...conditionFiles?.(),
  };
}

/**
 * Reads a teacher: from a folder of ours, or, if the configuration says `layout: 'release'`, from the public release.
 *
 * @param config - of ours: replaces top-level keys of the folder's `config.json`, which may be absent if this is complete.
 *   Of a release: as `releaseOptions` says.
 * @throws OptionError for a wrong configuration, WeightError for weights that do not fit it.
 */
export async function readTeacher(config: PlainObject, source: WeightSource): Promise<Teacher> {
  if ('layout' in config) {
    const options = releaseOptions(config, 'release');
    return releaseTeacher(await readRelease(source, options), teacherOptions(options));
  }
  const definition = await defineFromFiles({ ...(await savedConfig(source)), ...config }, source);
  const weights = await readWeights(source, transformerBase, definition.model);
  const decoderWeights = await readDecoder(definition, source);
  return { ...definition, weights, ...(decoderWeights ? { decoderWeights } : {}) };
}

/** A definition with tokenizer and text encoder, if the configuration has one, from a folder of ours. */
export async function defineFromFiles(config: PlainObject, source: WeightSource): Promise<MeissonicDefinition> {
  const definition = defineMeissonic(config);
  const { textEncoder } = definition;
  if (!textEncoder) return definition;
  const tokenizer = await readClipTokenizer(source, '');
  const tokenizerFiles = await readTokenizerFiles(source, '');
  const encoderWeights = await readWeights(source, textEncoderBase, textEncoder);
  return defineMeissonic(config, {
    tokenizer,
    encoderWeights,
    files: () => conditionFiles(encoderWeights, tokenizerFiles),
  });
}

/** Checks a teacher as it is read, but for the numbers. @throws OptionError, WeightError */
export async function inspectTeacher(config: PlainObject, source: WeightSource): Promise<InspectedModel> {
  if ('layout' in config) {
    const options = releaseOptions(config, 'release');
    const { parts, ...found } = await inspectRelease(source, options);
    const sizes = {
      transformer: found.transformer.config,
      vqvae: found.vqvae.config,
      textEncoder: found.textEncoder.config,
    };
    return { definition: defineMeissonic({ ...sizes, ...teacherOptions(options) }), parts };
  }
  const definition = defineMeissonic({ ...(await savedConfig(source)), ...config });
  return {
    definition,
    parts: [
      await inspectPart(source, { name: 'transformer', folder: '', base: transformerBase, model: definition.model }),
      ...(await inspectSurroundings(definition, source)),
    ],
  };
}

/** Checks what a teacher of ours has beside its transformer. @throws OptionError, WeightError */
export async function inspectSurroundings(
  { decoder, config }: MeissonicDefinition,
  source: WeightSource,
): Promise<InspectedPart[]> {
  return [
    ...(decoder ? [await inspectPart(source, { name: 'decoder', folder: '', base: vqvaeBase, model: decoder })] : []),
    ...(await inspectConditions(config, source)),
  ];
}

/** The weights of the decoder of a teacher of ours. */
export async function readDecoder(
  { decoder }: MeissonicDefinition,
  source: WeightSource,
): Promise<HostTree | undefined> {
  return decoder && readWeights(source, vqvaeBase, decoder);
}

/** Checks tokenizer and text encoder of a folder of ours, if it has them. @throws OptionError, WeightError */
export async function inspectConditions(config: PlainObject, source: WeightSource): Promise<InspectedPart[]> {
  const { textEncoder } = defineMeissonic(config);
  if (!textEncoder) return [];
  checkTokenizerFits(await readClipTokenizer(source, ''), textEncoder);
  return [await inspectPart(source, { name: 'text encoder', folder: '', base: textEncoderBase, model: textEncoder })];
}

/** Content of the `config.json` of a folder of ours, if it has one. */
export async function savedConfig(source: WeightSource): Promise<PlainObject> {
  if (!(await source.list()).includes(configName)) return {};
  return requireObject(await readJsonFile(source, configName), `${escapeText(source.location)}/${configName}`);
}

/** What a released teacher is told besides its sizes. */
export function teacherOptions({
  sampler,
  negativePrompt,
  microConditions,
}: ReleaseConfig): Omit<ReleaseTeacherOptions, 'prompts'> {
  return {
    ...(sampler === undefined ? {} : { sampler }),
    ...(negativePrompt === undefined ? {} : { negativePrompt }),
    ...(microConditions === undefined ? {} : { microConditions }),
  };
}

interface SizedModel {
  readonly name: string;
  readonly parameters: SpecTree;
}

function readWeights(source: WeightSource, base: string, model: SizedModel): Promise<HostTree> {
  return readModelWeights(source, { folder: '', base, model, keepHalf: true });
}
