/** Checks a model by its small files and headers, whatever its layout. */
import {
  inspectGenerator,
  OptionError,
  readTeacherDescription,
  type InspectedModel,
  type PluginRegistry,
  type TeacherFiles,
  type WeightSource,
} from '@dimo/core';
import type { ModelLayout } from './model-layout.js';

/** A model that was found, with the files that its parts are in. */
export interface ModelToInspect {
  readonly layout: Pick<ModelLayout, 'kind' | 'teacher'>;
  readonly source: WeightSource;
  /** For a released generator: its teacher. */
  readonly ofTeacher?: TeacherFiles | undefined;
}

/**
 * Checks names, shapes and that the parts belong together; no weights are read.
 *
 * @returns undefined for a plugin that cannot tell before it loads.
 * @throws OptionError, WeightError for what would not load.
 */
export async function inspectModel(
  { layout, source, ofTeacher }: ModelToInspect,
  { teachers }: Pick<PluginRegistry, 'teachers'>,
): Promise<InspectedModel | undefined> {
  if (!layout.teacher && layout.kind === 'generator') return inspectGenerator(source, teachers);
  const { name, config } = layout.teacher ?? (await readTeacherDescription(source));
  const plugin = teachers.get(name);
  if (!plugin)
    throw new OptionError(
      `${source.location}: made with the teacher "${name}", which no plugin provides; known are ${[...teachers.keys()].join(', ')}`,
      { path: source.location, hint: 'name the plugin of that teacher with --plugin' },
    );
  return plugin.inspect?.(config, source, ofTeacher);
}
