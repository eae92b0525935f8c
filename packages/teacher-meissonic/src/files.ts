/**
 * Folders of Meissonic teachers. Ours: `config.json`, `transformer.safetensors`, and where there are such parts
 * `vqvae.safetensors` and the files of condition-files.ts. The public one: see release/.
 */
import {
  escapeText,
  OptionError,
  readJsonFile,
  readModelWeights,
  requireObject,
  type HostTree,
  type LoadedGenerator,
  type PlainObject,
  type SafetensorsWriteOptions,
  type SpecTree,
  type Teacher,
  type WeightSource,
} from '@dimo/core';
import { readClipTokenizer } from './clip/tokenizer-files.js';
import { conditionFiles, encodeJson, encodeWeights, readTokenizerFiles, textEncoderBase } from './condition-files.js';
import {
  readRelease,
  readReleasedSurroundings,
  readReleasedTransformer,
  type ReleaseOptions,
} from './release/read-release.js';
import { releasedGenerator, releaseTeacher } from './release/release-teacher.js';
import { defineMeissonic, type MeissonicDefinition } from './teacher-config.js';
import { timestepModes } from './transformer/timestep.js';

const configName = 'config.json';
const transformerBase = 'transformer';
const vqvaeBase = 'vqvae';

/** How weights are written: `float: 'F16'` halves those that are in 32 bits. */
export type TeacherFileOptions = Pick<SafetensorsWriteOptions, 'float'>;

/** Content of a teacher's folder by file name, to be read by `readTeacher`. */
export function teacherFiles(
  teacher: Pick<Teacher, 'config' | 'weights' | 'decoderWeights' | 'conditionFiles'>,
  options: TeacherFileOptions = {},
): Record<string, Uint8Array> {
  const { config, weights, decoderWeights } = teacher;
  return {
    [configName]: encodeJson(config),
    [`${transformerBase}.safetensors`]: encodeWeights(weights, options),
    ...(decoderWeights ? { [`${vqvaeBase}.safetensors`]: encodeWeights(decoderWeights, options) } : {}),
    ...teacher.conditionFiles?.(),
  };
}

/**
 * Reads a teacher: from a folder of ours, or, if the configuration says `layout: 'release'`, from the public release.
 *
 * @param config - of ours: replaces top-level keys of the folder's `config.json`, which may be absent if this is complete.
 *   Of a release: `layout`, and `grid` and `timestepMode` as in `ReleaseOptions`.
 * @throws OptionError for a wrong configuration, WeightError for weights that do not fit it.
 */
export async function readTeacher(config: PlainObject, source: WeightSource): Promise<Teacher> {
  if ('layout' in config) return releaseTeacher(await readRelease(source, releaseOptions(config, 'release')));
  const files = await source.list();
  const saved = files.includes(configName)
    ? requireObject(await readJsonFile(source, configName), `${escapeText(source.location)}/${configName}`)
    : {};
  const definition = await defineFromFiles({ ...saved, ...config }, source);
  const { model, decoder } = definition;
  const weights = await readWeights(source, transformerBase, model);
  if (!decoder) return { ...definition, weights };
  return { ...definition, weights, decoderWeights: await readWeights(source, vqvaeBase, decoder) };
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

/**
 * A released one-step generator: its transformer, the rest from the release of its teacher.
 *
 * @throws OptionError for a wrong configuration or parts that do not fit, WeightError for wrong weights.
 */
export async function readReleasedGenerator(
  config: PlainObject,
  { generator, teacher }: { readonly generator: WeightSource; readonly teacher: WeightSource },
): Promise<LoadedGenerator> {
  const options = releaseOptions(config, 'released-generator');
  const transformer = await readReleasedTransformer(generator, options);
  return releasedGenerator(transformer, await readReleasedSurroundings(teacher, options));
}

function releaseOptions(config: PlainObject, layout: 'release' | 'released-generator'): ReleaseOptions {
  const { layout: given, grid, timestepMode, ...rest } = config as PlainObject & ReleaseOptions;
  const unknown = Object.keys(rest)[0];
  if (unknown !== undefined)
    throw new OptionError(
      `meissonic has no option "${escapeText(unknown)}" for the public layout; known are layout, grid, timestepMode`,
    );
  if (given !== layout)
    throw new OptionError(`meissonic.layout must be "${layout}" here, got ${JSON.stringify(given) ?? 'nothing'}`);
  if (timestepMode !== undefined && !timestepModes.includes(timestepMode))
    throw new OptionError(`meissonic.timestepMode must be one of ${timestepModes.join(', ')}`);
  return { ...(grid === undefined ? {} : { grid }), ...(timestepMode === undefined ? {} : { timestepMode }) };
}

function readWeights(
  source: WeightSource,
  base: string,
  model: { readonly name: string; readonly parameters: SpecTree },
): Promise<HostTree> {
  return readModelWeights(source, { folder: '', base, model, keepHalf: true });
}
