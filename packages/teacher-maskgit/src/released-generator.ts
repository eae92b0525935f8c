/**
 * Published one-step generators of MaskGIT: the weights of a transformer alone. Architecture, classes and decoder are those
 * of the teacher that it was distilled from.
 */
import {
  escapeText,
  officialDistillation,
  OptionError,
  refuseUnknownKeys,
  requireObject,
  resolveSampling,
  resolveTokenInit,
  type GeneratorTokenInit,
  type InspectedModel,
  type LoadedGenerator,
  type PlainObject,
  type RecognizedWeights,
  type TeacherFiles,
  type WeightSource,
} from '@dimo/core';
import { inspectWeights, readWeights, type FoundCheckpoint, type WeightPlace } from '@dimo/core/weight-files';
import { findTeacherCheckpoints, openDecoder } from './files.js';
import { maskgitName, type MaskgitDefinition } from './teacher-config.js';

/** What a checkpoint of a transformer is recognized as, if it is a generator. */
export function recognizedGenerator(
  { file, prefix, tensors }: FoundCheckpoint,
  given: PlainObject,
  kindReason: string | undefined,
): RecognizedWeights {
  const { checkpoint: _checkpoint, ...settings } = given;
  const { temperature } = samplingOf(settings);
  const tokenInit = tokenInitOf(settings);
  const isGiven = (key: keyof GeneratorTokenInit): boolean =>
    key in requireObject(settings['tokenInit'] ?? {}, `${maskgitName}.tokenInit`);
  const reason = 'weights do not show it; as the official code samples its generators';
  return {
    kind: 'generator',
    description: `one-step generator of MaskGIT, width ${tensors['tok_emb.weight']?.shape[1]}`,
    config: { ...settings, layout: 'released-generator', checkpoint: { transformer: { file, prefix } } },
    files: [file],
    assumed: [
      ...(['maskRatio', 'embeddingNoise'] as const)
        .filter((key) => !isGiven(key))
        .map((key) => ({ key: `tokenInit.${key}`, value: tokenInit[key], reason })),
      ...('temperature' in settings ? [] : [{ key: 'temperature', value: temperature, reason }]),
    ],
    ...(kindReason === undefined ? {} : { kindReason }),
  };
}

/** Where the parts of a released generator are, and what they make. */
interface OpenedGenerator {
  readonly definition: MaskgitDefinition;
  readonly description: LoadedGenerator['description'];
  readonly transformer: WeightPlace;
  readonly decoder: WeightPlace;
}

/**
 * Reads a released generator: its transformer, and the decoder of its teacher.
 *
 * @throws OptionError if the two do not belong together, WeightError for weights that do not fit.
 */
export async function readReleasedGenerator(
  config: PlainObject,
  sources: { readonly generator: WeightSource; readonly teacher: TeacherFiles },
): Promise<LoadedGenerator> {
  const { definition, description, transformer, decoder } = await openGenerator(config, sources);
  return {
    description,
    definition,
    weights: await readWeights(sources.generator, transformer),
    decoderWeights: await readWeights(sources.teacher.source, decoder),
  };
}

/** Checks a released generator as `readReleasedGenerator` does, but for the numbers. @throws OptionError, WeightError */
export async function inspectReleasedGenerator(
  config: PlainObject,
  sources: { readonly generator: WeightSource; readonly teacher: TeacherFiles },
): Promise<InspectedModel> {
  const { definition, transformer, decoder } = await openGenerator(config, sources);
  return {
    definition,
    parts: [
      await inspectWeights(sources.generator, transformer, 'transformer'),
      await inspectWeights(sources.teacher.source, decoder, 'decoder'),
    ],
  };
}

async function openGenerator(
  { layout: _layout, checkpoint, tokenInit, temperature, ...settings }: PlainObject,
  { generator, teacher }: { readonly generator: WeightSource; readonly teacher: TeacherFiles },
): Promise<OpenedGenerator> {
  const { definition, decoder } = await openDecoder(teacher, settings);
  const found = (await findTeacherCheckpoints(generator, checkpoint)).transformer;
  if (!found)
    throw new OptionError(`${escapeText(generator.location)} does not hold the transformer of MaskGIT any more`, {
      path: generator.location,
      hint: 'import it again',
    });
  checkBelongs(found, definition, [generator.location, teacher.source.location]);
  const { model } = definition;
  return {
    definition,
    description: {
      format: 'dimo-generator',
      version: 1,
      teacher: { name: maskgitName, config: definition.config },
      model: model.name,
      tokenInit: tokenInitOf({ tokenInit }),
      ...(temperature === undefined ? {} : { temperature: samplingOf({ temperature }).temperature }),
    },
    transformer: { file: found.file, prefix: found.prefix, isOwn: false, model },
    decoder,
  };
}

/** Tensors whose shapes tell the size of a transformer, and what the numbers are. */
const telling: readonly (readonly [name: string, meaning: string])[] = [
  ['tok_emb.weight', 'codes, mask and classes by width'],
  ['pos_emb', 'positions by width'],
  ['transformer.layers.0.1.fn.net.0.weight', 'width of the MLP'],
];

/** @throws OptionError if the transformer is of another size than its teacher. */
function checkBelongs(
  { tensors }: FoundCheckpoint,
  { model }: MaskgitDefinition,
  [generator, teacher]: readonly [string, string],
): void {
  const blocks = (names: object): number =>
    Object.keys(names).filter((name) => /^transformer\.layers\.\d+\.0\.norm\.weight$/.test(name)).length;
  const pairs = [
    ...telling.map(([name, meaning]) => [
      `${name} (${meaning})`,
      `[${tensors[name]?.shape.join(', ') ?? ''}]`,
      `[${model.parameters[name]?.shape.join(', ') ?? ''}]`,
    ]),
    ['number of blocks', String(blocks(tensors)), String(blocks(model.parameters))],
  ];
  const wrong = pairs.filter(([, found, expected]) => found !== expected);
  if (wrong.length === 0) return;
  const differences = wrong.map(([what, found, expected]) => `${what} ${found}, of the teacher ${expected}`);
  throw new OptionError(
    `${escapeText(generator)} was not distilled from the teacher ${escapeText(teacher)}: ${differences.join('; ')}`,
    { path: generator, hint: 'name the teacher that the generator was distilled from with --teacher' },
  );
}

/** What the pass begins with: as the official code samples, unless something else is given. */
function tokenInitOf(given: PlainObject): GeneratorTokenInit {
  const where = `${maskgitName}.tokenInit`;
  const own = requireObject(given['tokenInit'] ?? {}, where);
  refuseUnknownKeys(own, ['maskRatio', 'embeddingNoise'], where);
  const { maskRatio, embeddingNoise } = resolveTokenInit({ ...officialDistillation.tokenInit, ...own }, where);
  return { maskRatio, embeddingNoise: embeddingNoise.scale, noiseDeviation: 1 };
}

function samplingOf({ temperature }: PlainObject): { readonly temperature: number } {
  return resolveSampling(temperature === undefined ? {} : { temperature: temperature as number }, maskgitName);
}
