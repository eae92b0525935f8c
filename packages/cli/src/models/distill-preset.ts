/** `distill.preset`: the settings of the official run on a kind of teacher, under those that a person gives. */
import {
  generatorFileNames,
  OptionError,
  pickOptions,
  readJsonFile,
  readTeacherDescription,
  type PluginRegistry,
  type TeacherPlugin,
} from '@dimo/core';
import { checkConfig } from '../config/check.js';
import { configError, mergedSections, type LoadedConfig } from '../config/load.js';
import type { DimoConfig } from '../config/schema.js';
import { defaultModel, locateModel, noTeacherError, presetLocation, requireTeacherPlugin } from './models.js';

/**
 * The configuration with the preset that it names, if it names one.
 *
 * @param teacher - what is distilled. @default the teacher of the configuration
 * @throws OptionError if there is no such teacher, or no official run on teachers of its kind.
 */
export async function withDistillPreset<Loaded extends Pick<LoadedConfig, 'config' | 'tree'>>(
  loaded: Loaded,
  registry: PluginRegistry,
  teacher: DimoConfig['teacher'] = loaded.config.teacher,
): Promise<Loaded> {
  const { preset, algorithm } = loaded.config.distill;
  if (preset === undefined) return loaded;
  if (algorithm !== 'dimo')
    throw new OptionError(`distill.preset "${preset}" has settings of the algorithm dimo, not of ${algorithm}`, {
      hint: 'leave it out, or set distill.algorithm to dimo',
    });
  const { name, officialDistillation } = await teacherPluginOf(teacher, registry);
  if (!officialDistillation)
    throw new OptionError(
      `distill.preset "${preset}": there is no official distillation of teachers of the kind "${name}"`,
      {
        hint: 'leave it out: the defaults are for small teachers; `dimo info plugins` lists the kinds of teachers',
      },
    );
  // With the defaults, so that short forms are sections, into which single keys can be merged.
  const official = resolved({ distill: officialDistillation });
  const { distill } = loaded.tree;
  return { ...loaded, config: resolved({ ...loaded.tree, distill: mergedSections(official.distill, distill) }) };
}

/** What the keys of the preset are set to, for people; undefined without one. */
export function presetSettings(
  { distill }: Pick<DimoConfig, 'distill'>,
  teacher: string,
  { teachers }: Pick<PluginRegistry, 'teachers'>,
): Record<string, unknown> | undefined {
  const { officialDistillation } = teachers.get(teacher) ?? {};
  if (distill.preset === undefined || !officialDistillation) return undefined;
  return { preset: distill.preset, ...pickOptions(officialDistillation as Record<string, never>, distill) };
}

function resolved(tree: Readonly<Record<string, unknown>>): DimoConfig {
  const { config, problems } = checkConfig(tree, () => 'distill.preset');
  if (!config) throw configError(problems);
  return config;
}

/** The plugin of a teacher, without reading its weights; of a generator, that of the teacher it was distilled from. */
export async function teacherPluginOf(
  { source, plugin }: Pick<DimoConfig['teacher'], 'source' | 'plugin'>,
  registry: PluginRegistry,
): Promise<TeacherPlugin> {
  if (plugin !== undefined) return requireTeacherPlugin(plugin, registry);
  const name = source ?? defaultModel;
  const preset = presetLocation(name, registry);
  if (preset) return preset.plugin;
  const located = await locateModel(name, registry);
  if (!located) throw noTeacherError(name, registry);
  if (located.teacher) return requireTeacherPlugin(located.teacher.name, registry);
  if (located.kind === 'teacher')
    return requireTeacherPlugin((await readTeacherDescription(located.source)).name, registry);
  const description = (await readJsonFile(located.source, generatorFileNames.description)) as {
    readonly teacher?: { readonly name?: unknown };
  };
  return requireTeacherPlugin(String(description.teacher?.name), registry);
}
