/**
 * The files of a generator directory: `config.json` (the description), `model.safetensors` (weights under the original
 * parameter names), where tokens become images `decoder.safetensors`, and the teacher's condition files. With the teacher
 * plugin's code they are all that sampling needs, in Node and in the browser; none of them can name code.
 */
import { OptionError } from '../errors.js';
import { parseGeneratorDescription, type GeneratorDescription, type LoadedGenerator } from '../generator/generator.js';
import { checkSameSpace } from '../distillation/algorithm.js';
import type { InspectedModel } from '../model/inspected-model.js';
import type { TeacherDefinition, TokenDecoder } from '../model/model.js';
import { escapeText } from '../text/escape-text.js';
import { readJsonFile } from '../storage/json-file.js';
import { inspectPart, readModelWeights, type ModelWeightsOptions } from '../storage/model-weights.js';
import type { InspectedPart } from '../storage/inspected-part.js';
import type { SafetensorsReadOptions } from '../storage/safetensors.js';
import type { FileContent } from '../storage/byte-stream.js';
import { streamSafetensors, writeSafetensors, type SafetensorsWriteOptions } from '../storage/safetensors-write.js';
import type { WeightSource } from '../storage/weight-source.js';
import type { TeacherPlugin } from '../plugin/teacher-plugin.js';
import type { TensorSource } from '../tensors/tensor-source.js';
import type { HostTree } from '../tensors/tensors.js';

/** Names of the files. */
export const generatorFileNames = {
  description: 'config.json',
  weights: 'model.safetensors',
  decoder: 'decoder.safetensors',
} as const;

/** What a generator directory is written from. */
export interface GeneratorContent<Weights = HostTree> extends Pick<LoadedGenerator, 'description' | 'decoderWeights'> {
  readonly weights: Weights;
  /** The teacher's. */
  readonly conditionFiles?: Readonly<Record<string, Uint8Array>>;
}

/** Content of a generator directory by file name. `options.float` 'F16' halves it. */
export function generatorFiles(
  generator: GeneratorContent,
  options: Pick<SafetensorsWriteOptions, 'float'> = {},
): Record<string, Uint8Array> {
  return filesOf(generator, (weights) => writeSafetensors(weights, { metadata: { format: 'pt' }, ...options }));
}

/** The same files, whose weights are read tensor by tensor while they are written. */
export function streamGeneratorFiles(
  generator: GeneratorContent<HostTree | TensorSource>,
  options: Pick<SafetensorsWriteOptions, 'float'> = {},
): Record<string, FileContent> {
  return filesOf(generator, (weights) => streamSafetensors(weights, { metadata: { format: 'pt' }, ...options }));
}

function filesOf<Weights, Content>(
  { description, weights, decoderWeights, conditionFiles = {} }: GeneratorContent<Weights>,
  encode: (weights: Weights | HostTree) => Content,
): Record<string, Uint8Array | Content> {
  for (const name of Object.values(generatorFileNames))
    if (name in conditionFiles)
      throw new OptionError(`teacher "${description.teacher.name}": its condition files must not be called "${name}"`);
  return {
    [generatorFileNames.description]: new TextEncoder().encode(`${JSON.stringify(description, null, 2)}\n`),
    [generatorFileNames.weights]: encode(weights),
    ...(decoderWeights ? { [generatorFileNames.decoder]: encode(decoderWeights) } : {}),
    ...conditionFiles,
  };
}

/**
 * Reads a generator directory.
 *
 * @param source - where the files are.
 * @param teachers - teacher plugins by name, those of `createRegistry`; the directory can choose among them, no more.
 * @throws OptionError if the description is wrong or its teacher is not among `teachers`.
 * @throws WeightError if the weights are damaged or of another architecture.
 */
export async function readGenerator(
  source: WeightSource,
  teachers: ReadonlyMap<string, TeacherPlugin>,
  options: Pick<SafetensorsReadOptions, 'allowNonFinite'> = {},
): Promise<LoadedGenerator> {
  const { description, plugin } = await readDescription(source, teachers);
  const { config } = description.teacher;
  const teacher = plugin.defineFrom ? await plugin.defineFrom(config, source) : plugin.define(config);
  const definition = generatorDefinition(plugin, teacher, description, source);
  const { model, decoder } = definition;
  // Tensor by tensor, and what is in 16 bits stays so: a large model must not be in memory several times.
  const read = (file: string, of: SizedModel): Promise<HostTree> =>
    readModelWeights(source, { ...weightFile(file, of), keepHalf: true, ...options });
  const weights = await read(generatorFileNames.weights, model);
  if (!decoder) return { description, definition, weights };
  const decoderWeights = await read(generatorFileNames.decoder, decoder);
  return { description, definition, weights, decoderWeights };
}

/** A generator whose files were checked without reading the weights. */
export interface InspectedGenerator extends InspectedModel {
  readonly description: GeneratorDescription;
}

/**
 * Checks a generator directory as `readGenerator` does, but for the numbers: small files and headers alone are read.
 *
 * @throws OptionError, WeightError as `readGenerator`.
 */
export async function inspectGenerator(
  source: WeightSource,
  teachers: ReadonlyMap<string, TeacherPlugin>,
): Promise<InspectedGenerator> {
  const { description, plugin } = await readDescription(source, teachers);
  const { config } = description.teacher;
  const definition = generatorDefinition(plugin, plugin.define(config), description, source);
  const { model, decoder } = definition;
  const { weights, decoder: decoderFile } = generatorFileNames;
  const inspect = (name: string, file: string, of: SizedModel): Promise<InspectedPart> =>
    inspectPart(source, { name, ...weightFile(file, of) });
  const parts = [
    await inspect('generator', weights, model),
    ...(decoder ? [await inspect('decoder', decoderFile, decoder)] : []),
    ...((await plugin.inspectConditions?.(config, source)) ?? []),
  ];
  return { description, definition, parts };
}

type SizedModel = Pick<TokenDecoder, 'name' | 'parameters'>;

function weightFile(file: string, model: SizedModel): ModelWeightsOptions {
  return { folder: '', base: file.replace(/\.safetensors$/, ''), model };
}

async function readDescription(
  source: WeightSource,
  teachers: ReadonlyMap<string, TeacherPlugin>,
): Promise<{ readonly description: GeneratorDescription; readonly plugin: TeacherPlugin }> {
  const where = escapeText(`${source.location}/${generatorFileNames.description}`);
  const description = parseGeneratorDescription(await readJsonFile(source, generatorFileNames.description), where);
  const { name } = description.teacher;
  const plugin = teachers.get(name);
  if (!plugin)
    throw new OptionError(
      `${where}: made with the teacher "${escapeText(name)}", which no plugin provides; known are ${[...teachers.keys()].join(', ') || 'none'}`,
      { path: source.location, hint: 'name the plugin of that teacher in your own configuration, or with --plugin' },
    );
  return { description, plugin };
}

/** The teacher's conditions and decoder with the generator's own model and sampler, if it has such. */
function generatorDefinition(
  plugin: TeacherPlugin,
  teacher: TeacherDefinition,
  { architecture, sampler, model: name, teacher: { name: teacherName } }: GeneratorDescription,
  { location }: WeightSource,
): TeacherDefinition {
  const { model } = architecture ? plugin.define(architecture) : teacher;
  const where = escapeText(`${location}/${generatorFileNames.description}`);
  if (model.name !== name)
    throw new OptionError(
      `${where}: holds a generator of the model "${escapeText(name)}", the teacher plugin "${teacherName}" defines "${model.name}"`,
      { path: location },
    );
  if (architecture) checkSameSpace(teacher.model, model, 'generator');
  return { ...teacher, model, ...(sampler ? { sampler } : {}) };
}
