/**
 * A released one-step generator: its transformer, and text encoder, tokenizer and VQ-VAE of its teacher, which is a release
 * or a folder of ours.
 */
import {
  escapeText,
  inspectPart,
  OptionError,
  type InspectedModel,
  type LoadedGenerator,
  type PlainObject,
  type TeacherFiles,
  type WeightSource,
} from '@dimo/core';
import { defineFromFiles, inspectSurroundings, readDecoder, savedConfig, teacherOptions } from './files.js';
import { releaseLayout } from './release/layout.js';
import { releaseOptions, type ReleaseConfig } from './release/options.js';
import {
  defineReleasedTransformer,
  inspectRelease,
  readReleasedSurroundings,
  readReleasedTransformer,
} from './release/read-release.js';
import { releasedGenerator, releasedTokenInit } from './release/release-teacher.js';
import { defineMeissonic, type MeissonicDefinition } from './teacher-config.js';
import type { MultimodalTransformer } from './transformer/multimodal-transformer.js';

/** A released generator and its teacher. */
export interface ReleasedSources {
  readonly generator: WeightSource;
  readonly teacher: TeacherFiles;
}

/**
 * Reads a released generator.
 *
 * @throws OptionError for a wrong configuration or parts that do not fit, WeightError for wrong weights.
 */
export async function readReleasedGenerator(
  config: PlainObject,
  { generator, teacher }: ReleasedSources,
): Promise<LoadedGenerator> {
  const options = optionsBeside(config, teacher);
  if (isRelease(teacher)) {
    const transformer = await readReleasedTransformer(generator, options);
    const surroundings = await readReleasedSurroundings(teacher.source, options);
    return releasedGenerator(transformer, surroundings, teacherOptions(options));
  }
  const own = await ownConfig(teacher);
  const grid = options.grid ?? gridOf(own);
  const { model, weights } = await readReleasedTransformer(generator, { ...options, grid });
  checkBelongs(model, own, generator.location);
  const definition = await defineFromFiles(joined(own, model, options), teacher.source);
  const decoderWeights = await readDecoder(definition, teacher.source);
  return {
    description: {
      format: 'dimo-generator',
      version: 1,
      teacher: { name: definition.name, config: definition.config },
      model: model.name,
      tokenInit: releasedTokenInit,
    },
    definition,
    weights,
    ...(decoderWeights ? { decoderWeights } : {}),
  };
}

/** Checks a released generator as `readReleasedGenerator` does, but for the numbers. @throws OptionError, WeightError */
export async function inspectReleasedGenerator(
  config: PlainObject,
  { generator, teacher }: ReleasedSources,
): Promise<InspectedModel> {
  const options = optionsBeside(config, teacher);
  if (isRelease(teacher)) {
    const { parts, ...found } = await inspectRelease(generator, options, teacher.source);
    const sizes = {
      transformer: found.transformer.config,
      vqvae: found.vqvae.config,
      textEncoder: found.textEncoder.config,
    };
    return { definition: defineMeissonic({ ...sizes, ...teacherOptions(options) }), parts };
  }
  const own = await ownConfig(teacher);
  const model = await defineReleasedTransformer(generator, { ...options, grid: options.grid ?? gridOf(own) });
  checkBelongs(model, own, generator.location);
  const definition = defineMeissonic(joined(own, model, options));
  return {
    definition,
    parts: [
      await inspectPart(generator, { name: 'transformer', ...releaseLayout.transformer, model, lenient: true }),
      ...(await inspectSurroundings(definition, teacher.source)),
    ],
  };
}

function isRelease({ config }: TeacherFiles): boolean {
  return 'layout' in config;
}

/** What was said of the generator, over what was said of the release of its teacher. */
function optionsBeside(config: PlainObject, { config: teacher }: TeacherFiles): ReleaseConfig {
  if (!('layout' in teacher)) return releaseOptions(config, 'released-generator');
  // The size of the transformer is that of the generator.
  const { layout: _layout, transformer: _transformer, ...said } = teacher;
  return releaseOptions({ ...said, ...config }, 'released-generator');
}

async function ownConfig({ config, source }: TeacherFiles): Promise<MeissonicDefinition> {
  return defineMeissonic({ ...(await savedConfig(source)), ...config });
}

function gridOf({ model }: MeissonicDefinition): readonly [number, number] {
  const [rows, columns] = model.tokenSpace.grid;
  return [rows, columns];
}

/** The teacher's configuration with the transformer of the generator. */
function joined(own: MeissonicDefinition, model: MultimodalTransformer, options: ReleaseConfig): PlainObject {
  return { ...own.config, ...teacherOptions(options), transformer: model.config };
}

/** @throws OptionError if the tokens or the text of generator and teacher are not of the same sizes. */
function checkBelongs(model: MultimodalTransformer, { model: teacher }: MeissonicDefinition, location: string): void {
  const sizes = ({ tokenSpace, condition, config }: MultimodalTransformer): [what: string, size: string][] => [
    ['codes', String(tokenSpace.codebookSize)],
    ['tokens', tokenSpace.grid.join(' x ')],
    ['channels of text', String(config.textWidth)],
    ['text tokens', String(config.textLength)],
    ['channels of pooled text', String(condition['pooledText']!.shape[0])],
  ];
  const expected = sizes(teacher);
  for (const [index, [what, found]] of sizes(model).entries())
    if (found !== expected[index]![1])
      throw new OptionError(
        `${escapeText(location)}: the released generator is made for ${found} ${what}, the teacher has ${expected[index]![1]}`,
        { path: location, hint: 'name the teacher that the generator was distilled from with --teacher' },
      );
}
