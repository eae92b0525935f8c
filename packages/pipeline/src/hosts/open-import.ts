/** Models that a folder only names: what `dimo import` wrote. The files are where they were, or in the cache of the hub. */
import { isHubReference } from '@dimo/backend-node';
import {
  OptionError,
  readTeacherDescription,
  teacherDescriptionName,
  type TeacherFiles,
  type TeacherPlugin,
} from '@dimo/core';
import { once, pluginFor, readModelFolder, type ModelFolder, type TeacherPlugins } from '../model/read-model.js';
import { openSource, readImport, type ImportedModel } from './imported-model.js';

/**
 * The model that the import in a folder names.
 *
 * @returns undefined if the folder holds no import.
 * @throws OptionError if it is wrong, or what it names is not there any more.
 */
export async function openImport(folder: string, plugins: TeacherPlugins): Promise<ModelFolder | undefined> {
  if (isHubReference(folder)) return undefined;
  const imported = await readImport(folder);
  if (!imported) return undefined;
  const source = await openSource(imported.source);
  const { kind, teacher } = imported;
  if (!teacher) return readModelFolder(source, plugins);
  const plugin = await pluginFor(teacher.name, plugins, source);
  if (kind === 'teacher') return { teacher: once(() => plugin.load(teacher.config, source)) };
  const load = plugin.loadReleasedGenerator;
  if (!load || imported.teacherSource === undefined)
    throw new OptionError(`${folder}: names a generator without its teacher, whose decoder it uses`, {
      path: folder,
      hint: 'import it again: dimo import <generator> --teacher <folder or hf:owner/repository>',
    });
  const ofTeacher = await teacherFilesOf(imported, imported.teacherSource, plugin);
  return { generator: once(() => load(teacher.config, { generator: source, teacher: ofTeacher })) };
}

/**
 * Where the teacher of a released generator is; where the import does not say its configuration, its files do.
 *
 * @param place - `teacherSource` of the import.
 */
export async function teacherFilesOf(
  { teacherConfig }: Pick<ImportedModel, 'teacherConfig'>,
  place: string,
  plugin: TeacherPlugin,
): Promise<TeacherFiles> {
  const source = await openSource(place);
  if (teacherConfig) return { source, config: teacherConfig };
  if ((await source.list()).includes(teacherDescriptionName))
    return { source, config: (await readTeacherDescription(source)).config };
  return { source, config: (await plugin.recognize?.(source, {}, 'teacher'))?.config ?? {} };
}
