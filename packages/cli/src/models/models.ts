/**
 * Teachers and generators by what a person names: a preset, a folder, or a plugin with a configuration. Folders are
 * data: they can choose among the plugins that are loaded, never name code.
 */
import { folderWeightSource, isHubReference, pathInside, readFileChecked } from '@dimo/backend-node';
import {
  asTeacher,
  DimoError,
  generatorBundleSource,
  generatorFileNames,
  OptionError,
  readGenerator,
  readTeacherDescription,
  teacherDescriptionName,
  type LoadedGenerator,
  type PluginRegistry,
  type Teacher,
  type TeacherFiles,
  type TeacherPlugin,
  type WeightSource,
} from '@dimo/core';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { didYouMean, didYouMeanPath } from '../config/nearest.js';
import type { DimoConfig } from '../config/schema.js';
import { modelFolder, openSource, readImport, teacherFilesOf, type ImportedModel } from '@dimo/pipeline';
import { recognizeModel } from './model-layout.js';
import { loadRegistry } from '../project/plugins.js';
import { isRunFolder, partOfRun, withoutPart } from '../run/parts.js';

/** A teacher and where it came from. */
export interface FoundTeacher {
  readonly teacher: Teacher;
  /** `mnist`, or the folder. */
  readonly name: string;
}

/** The bundled model that is meant where none is named. */
export const defaultModel = 'mnist';

/** Name of the teacher that is trained where none is named. */
const defaultTeacherPlugin = 'maskgit';

/**
 * The teacher that a configuration names.
 *
 * @throws OptionError if there is no such teacher or its description is wrong; WeightError if its weights do not fit.
 */
export async function findTeacher(settings: DimoConfig['teacher'], registry: PluginRegistry): Promise<FoundTeacher> {
  const { source, plugin } = settings;
  if (plugin !== undefined) {
    const found = requireTeacherPlugin(plugin, registry);
    const preset = source === undefined ? undefined : presetOf(found, source);
    const folder = preset ?? source;
    const weights = folder === undefined ? emptySource : modelFolder(folder);
    return { teacher: await found.load(settings.config, weights), name: source ?? plugin };
  }
  const name = source ?? defaultModel;
  const preset = presetLocation(name, registry);
  if (preset) return { teacher: await preset.plugin.load({}, folderWeightSource(preset.folder)), name };
  const located = await locateModel(name, registry);
  if (!located) throw noTeacherError(name, registry);
  if (located.kind === 'generator')
    throw new OptionError(`"${name}" is a one-step generator, not a teacher`, {
      hint: isRunFolder(name) ? 'name the run of `dimo train teacher`' : 'name it with --model',
    });
  return { teacher: await loadTeacher(located, registry), name };
}

/** What to say where a name is that of no teacher. */
export function noTeacherError(name: string, registry: PluginRegistry): OptionError {
  return new OptionError(
    `teacher "${name}" is neither a bundled one (${presetNames(registry).join(', ') || 'none'}) nor the folder of a teacher${didYouMeanPath(name, presetNames(registry))}`,
    {
      hint: 'name the teacher/ folder of a run, written by `dimo train teacher`, a folder written by `dimo import`, or set teacher.plugin',
    },
  );
}

async function loadTeacher({ source, teacher }: LocatedModel, registry: PluginRegistry): Promise<Teacher> {
  const { name, config } = teacher ?? (await readTeacherDescription(source));
  return requireTeacherPlugin(name, registry).load(config, source);
}

/** Bundled teachers of all plugins. */
export function presetNames(registry: PluginRegistry): string[] {
  return [...registry.teachers.values()].flatMap((plugin) => Object.keys(plugin.presets ?? {}));
}

/** A preset's plugin and folder, or undefined if no plugin has one of that name. */
export function presetLocation(
  name: string,
  registry: PluginRegistry,
): { readonly plugin: TeacherPlugin; readonly folder: string } | undefined {
  for (const plugin of registry.teachers.values()) {
    const preset = presetOf(plugin, name);
    if (preset) return { plugin, folder: preset };
  }
  return undefined;
}

/** Folder of a plugin's preset. */
function presetOf(plugin: TeacherPlugin, name: string): string | undefined {
  const preset = Object.hasOwn(plugin.presets ?? {}, name) ? plugin.presets?.[name] : undefined;
  return preset && fileURLToPath(preset.location);
}

/** A teacher plugin by name. @throws OptionError */
export function requireTeacherPlugin(name: string, registry: PluginRegistry): TeacherPlugin {
  const plugin = registry.teachers.get(name);
  if (plugin) return plugin;
  throw new OptionError(
    `no plugin provides the teacher "${name}"; known are ${[...registry.teachers.keys()].join(', ')}${didYouMean(name, registry.teachers.keys())}`,
    {
      hint: 'add the package or file that provides it with --plugin, or under `plugins` of your configuration',
    },
  );
}

/** The plugin of the teacher that is to be trained. @throws OptionError */
export function trainedTeacherPlugin(
  { teacher }: Pick<DimoConfig, 'teacher'>,
  registry: PluginRegistry,
): TeacherPlugin {
  return requireTeacherPlugin(teacher.plugin ?? defaultTeacherPlugin, registry);
}

const emptySource: WeightSource = {
  location: 'no folder (teacher.source is not set)',
  list: () => Promise.resolve([]),
  read: (name) =>
    Promise.reject(
      new DimoError('io', `this teacher reads ${name}, but no folder with weights was named`, {
        hint: 'set teacher.source (--teacher) to the folder',
      }),
    ),
};

/** A model that was found, not read yet. */
export interface LocatedModel {
  readonly kind: 'teacher' | 'generator';
  readonly source: WeightSource;
  /** For public layouts: the plugin that reads it, and its configuration. */
  readonly teacher?: { readonly name: string; readonly config: Readonly<Record<string, unknown>> };
  /** For released generators: the teacher whose files they lack. */
  readonly ofTeacher?: TeacherFiles;
}

/**
 * Finds a model by folder (of a teacher, a generator, a run, an import, or in a public layout) or as `hf:...` in the cache
 * of the hub.
 *
 * @returns undefined if nothing is there, or nothing that is known.
 */
export async function locateModel(name: string, registry: PluginRegistry): Promise<LocatedModel | undefined> {
  const isOnHub = isHubReference(name);
  if (!isOnHub && !existsSync(name)) return undefined;
  if (!isOnHub) {
    const imported = await readImport(name);
    if (imported) return followImport(imported, registry);
    const part = async (folder: string): Promise<WeightSource> =>
      folderWeightSource(await pathInside(name, folder), { boundary: name });
    if (partOfRun(name, 'generator') !== undefined) return { kind: 'generator', source: await part('generator') };
    if (partOfRun(name, 'teacher') !== undefined) return { kind: 'teacher', source: await part('teacher') };
    if (isRunFolder(name)) throw await withoutPart(name, 'generator');
    // A generator beside other things, without the rest of its run.
    const inside = join(name, 'generator');
    if (existsSync(join(inside, generatorFileNames.description)) && !existsSync(join(name, teacherDescriptionName)))
      return { kind: 'generator', source: await part('generator') };
  }
  const source = isOnHub ? await openSource(name) : modelFolder(name);
  const layout = await recognizeModel(source, registry);
  if (!layout) return undefined;
  return { kind: layout.kind, source, ...(layout.teacher ? { teacher: layout.teacher } : {}) };
}

async function followImport(imported: ImportedModel, registry: PluginRegistry): Promise<LocatedModel> {
  const { kind, source, teacher, teacherSource } = imported;
  return {
    kind,
    source: await openSource(source),
    ...(teacher ? { teacher } : {}),
    ...(teacher && teacherSource !== undefined
      ? { ofTeacher: await teacherFilesOf(imported, teacherSource, requireTeacherPlugin(teacher.name, registry)) }
      : {}),
  };
}

/** A generator, or a teacher that is sampled in several steps. */
export type FoundModel =
  | { readonly kind: 'generator'; readonly generator: LoadedGenerator }
  | { readonly kind: 'teacher'; readonly teacher: Teacher };

/**
 * A model to be sampled, by folder, safetensors file of a whole generator, or name; a name of a preset means its generator.
 * A generator of several passes comes as what it is to samplers, a teacher.
 *
 * @throws OptionError if there is none; WeightError if its weights do not fit.
 */
export async function findModel(
  name: string,
  registry: PluginRegistry,
  options: { readonly allowNonFinite?: boolean } = {},
): Promise<FoundModel> {
  const found = await findAnyModel(name, registry, options);
  return found.kind === 'generator' && found.generator.description.sampler
    ? { kind: 'teacher', teacher: asTeacher(found.generator) }
    : found;
}

async function findAnyModel(
  name: string,
  registry: PluginRegistry,
  options: { readonly allowNonFinite?: boolean },
): Promise<FoundModel> {
  const preset = presetLocation(name, registry);
  const bundled = preset && join(preset.folder, 'generator');
  if (bundled !== undefined && existsSync(join(bundled, generatorFileNames.description)))
    return asFound(await readGenerator(folderWeightSource(bundled), registry.teachers, options));
  if (name.endsWith('.safetensors') && existsSync(name)) {
    const source = generatorBundleSource(await readFileChecked(name), name);
    return asFound(await readGenerator(source, registry.teachers, options));
  }
  const located = await locateModel(name, registry);
  // A description that is wrong says so itself.
  if (!located && existsSync(join(name, generatorFileNames.description)))
    return asFound(await readGenerator(modelFolder(name), registry.teachers, options));
  if (!located)
    throw new OptionError(
      preset
        ? `the bundled teacher "${name}" comes without a generator`
        : `"${name}" is not a generator: neither a folder of one nor of a run${didYouMeanPath(name, presetNames(registry))}`,
      { hint: 'name the generator/ folder of a run, made by `dimo distill`, or a folder written by `dimo import`' },
    );
  return loadLocatedModel(located, registry, options);
}

/** Reads a model that was found. @throws OptionError, WeightError, NonFiniteError */
export async function loadLocatedModel(
  located: LocatedModel,
  registry: PluginRegistry,
  options: { readonly allowNonFinite?: boolean } = {},
): Promise<FoundModel> {
  if (located.kind === 'teacher') return { kind: 'teacher', teacher: await loadTeacher(located, registry) };
  return asFound(await readLocatedGenerator(located, registry, options));
}

function asFound(generator: LoadedGenerator): FoundModel {
  return { kind: 'generator', generator };
}

async function readLocatedGenerator(
  { source, teacher, ofTeacher }: LocatedModel,
  registry: PluginRegistry,
  options: { readonly allowNonFinite?: boolean },
): Promise<LoadedGenerator> {
  if (!teacher) return readGenerator(source, registry.teachers, options);
  if (!ofTeacher)
    throw new OptionError(`${source.location} holds the model of a generator alone, without decoder and text encoder`, {
      path: source.location,
      hint: 'join it with its teacher: dimo import <generator> --teacher <folder or hf:owner/repository>',
    });
  const { loadReleasedGenerator } = requireTeacherPlugin(teacher.name, registry);
  if (!loadReleasedGenerator)
    throw new OptionError(`the teacher plugin "${teacher.name}" reads no released generators`);
  return loadReleasedGenerator(teacher.config, { generator: source, teacher: ofTeacher });
}

/**
 * A generator by folder, run folder, or name of a preset that has one.
 *
 * @throws OptionError if there is none; WeightError if its weights do not fit.
 */
export async function findGenerator(
  name: string,
  registry: PluginRegistry,
  options: { readonly allowNonFinite?: boolean } = {},
): Promise<LoadedGenerator> {
  const found = await findAnyModel(name, registry, options);
  if (found.kind === 'generator') return found.generator;
  throw new OptionError(`"${name}" is a teacher, not a generator`, { hint: 'name it with --teacher' });
}

/**
 * Loads a generator directory with the built-in teachers (and those of `plugins`).
 *
 * @param directory - written by `dimo distill`.
 * @example
 * const generator = await loadGenerator('runs/mnist-one-step/generator');
 */
export async function loadGenerator(
  directory: string,
  options: { readonly plugins?: readonly string[] } = {},
): Promise<LoadedGenerator> {
  return findGenerator(directory, await loadRegistry(options.plugins ?? [], process.cwd(), ['teachers']));
}
