/**
 * Teachers and generators by what a person names: a preset, a folder, or a plugin with a configuration. Folders are
 * data: they can choose among the plugins that are loaded, never name code.
 */
import { folderWeightSource } from '@dimo/backend-node';
import {
  DimoError,
  OptionError,
  readGenerator,
  writeSafetensors,
  type LoadedGenerator,
  type PluginRegistry,
  type Teacher,
  type TeacherPlugin,
  type WeightSource,
} from '@dimo/core';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { DimoConfig } from './config/schema.js';
import { loadRegistry } from './plugins.js';

/** A teacher and where it came from. */
export interface FoundTeacher {
  readonly teacher: Teacher;
  /** `mnist`, or the folder. */
  readonly name: string;
}

/** Name of the description in a teacher's folder, beside the plugin's own files. */
export const teacherDescriptionName = 'teacher.json';

/** Description of a teacher's folder; plain JSON. */
export interface TeacherDescription {
  readonly format: 'dimo-teacher';
  readonly version: 1;
  readonly teacher: { readonly name: string; readonly config: Readonly<Record<string, unknown>> };
  /** How it was made. Informative. */
  readonly training?: Readonly<Record<string, unknown>>;
}

/**
 * The teacher that a configuration names.
 *
 * @throws OptionError if there is no such teacher or its description is wrong; WeightError if its weights do not fit.
 */
export async function findTeacher(settings: DimoConfig['teacher'], registry: PluginRegistry): Promise<FoundTeacher> {
  const { source, plugin } = settings;
  if (plugin !== undefined) {
    const found = requireTeacherPlugin(plugin, registry);
    const weights = source === undefined ? emptySource : folderWeightSource(source);
    return { teacher: await found.load(settings.config, weights), name: source ?? plugin };
  }
  const name = source ?? 'mnist';
  const preset = presetLocation(name, registry);
  if (preset) return { teacher: await preset.plugin.load({}, folderWeightSource(preset.folder)), name };
  if (!existsSync(join(name, teacherDescriptionName)))
    throw new OptionError(
      `teacher "${name}" is neither a bundled one (${presetNames(registry).join(', ') || 'none'}) nor a folder with ${teacherDescriptionName}`,
      { hint: 'name the teacher/ folder of a run, written by `dimo train teacher`, or set teacher.plugin' },
    );
  const weights = folderWeightSource(name);
  const description = await readTeacherDescription(weights);
  const found = requireTeacherPlugin(description.name, registry);
  return { teacher: await found.load(description.config, weights), name };
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
    const preset = Object.hasOwn(plugin.presets ?? {}, name) ? plugin.presets?.[name] : undefined;
    if (preset) return { plugin, folder: fileURLToPath(preset.location) };
  }
  return undefined;
}

/** A teacher plugin by name. @throws OptionError */
export function requireTeacherPlugin(name: string, registry: PluginRegistry): TeacherPlugin {
  const plugin = registry.teachers.get(name);
  if (plugin) return plugin;
  throw new OptionError(
    `no plugin provides the teacher "${name}"; known are ${[...registry.teachers.keys()].join(', ')}`,
    {
      hint: 'add the package or file that provides it with --plugin, or under `plugins` of your configuration',
    },
  );
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

async function readTeacherDescription(source: WeightSource): Promise<TeacherDescription['teacher']> {
  const where = `${source.location}/${teacherDescriptionName}`;
  const value = parseJson(await source.read(teacherDescriptionName), where);
  if (isRecord(value) && value['format'] === 'dimo-teacher' && value['version'] === 1 && isRecord(value['teacher'])) {
    const { name, config } = value['teacher'];
    if (typeof name === 'string' && isRecord(config)) return { name, config };
  }
  throw new OptionError(
    `${where}: must be { "format": "dimo-teacher", "version": 1, "teacher": { "name", "config" } }`,
  );
}

/** Content of a teacher's folder: the files of its plugin, and the description that names it. */
export function teacherFolderFiles(
  teacher: Teacher,
  plugin: TeacherPlugin,
  training: Readonly<Record<string, unknown>>,
): Record<string, Uint8Array> {
  const description: TeacherDescription = {
    format: 'dimo-teacher',
    version: 1,
    teacher: { name: plugin.name, config: teacher.config },
    training,
  };
  const metadata = { format: 'pt' };
  return {
    ...(plugin.files?.(teacher) ?? {
      'model.safetensors': writeSafetensors(teacher.weights, { metadata }),
      ...(teacher.decoderWeights
        ? { 'decoder.safetensors': writeSafetensors(teacher.decoderWeights, { metadata }) }
        : {}),
    }),
    [teacherDescriptionName]: new TextEncoder().encode(`${JSON.stringify(description, null, 2)}\n`),
  };
}

function parseJson(bytes: Uint8Array, where: string): unknown {
  if (bytes.length > 2 ** 20) throw new OptionError(`${where}: has ${bytes.length} bytes, at most 1 MiB is allowed`);
  try {
    return JSON.parse(new TextDecoder().decode(bytes)) as unknown;
  } catch (cause) {
    throw new OptionError(`${where}: is not JSON`, { cause });
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
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
  const preset = presetLocation(name, registry);
  const candidates = [
    ...(preset ? [join(preset.folder, 'generator')] : []),
    name,
    join(name, 'generator'), // a run folder
  ];
  const folder = candidates.find((candidate) => existsSync(join(candidate, 'config.json')));
  if (folder === undefined)
    throw new OptionError(
      preset
        ? `the bundled teacher "${name}" comes without a generator`
        : `"${name}" is not a generator: no config.json in it`,
      { hint: 'name the generator/ folder of a run, made by `dimo distill`' },
    );
  return readGenerator(folderWeightSource(folder), registry.teachers, options);
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
