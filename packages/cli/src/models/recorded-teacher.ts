/** The teacher that a generator was distilled from, as its description records it. */
import { escapeText, OptionError, type LoadedGenerator, type PluginRegistry } from '@dimo/core';
import { existsSync } from 'node:fs';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import { findTeacher, locateModel, presetLocation, type FoundTeacher } from './models.js';

/** A generator and the name that it was found by. */
export interface NamedGenerator {
  readonly name: string;
  readonly generator: LoadedGenerator;
}

/** Folders above a generator in which a relative path is looked for, besides the current one. */
const foldersAbove = 4;

/**
 * The teacher of some generators.
 *
 * @returns undefined if none of them records one.
 * @throws OptionError if it is gone, is another one now, or the generators record different ones.
 */
export async function recordedTeacher(
  generators: readonly NamedGenerator[],
  registry: PluginRegistry,
): Promise<FoundTeacher | undefined> {
  const hint = 'name the teacher with --teacher, or measure the generators alone with --no-teacher';
  const records = generators.map(({ generator }) => generator.description.training?.['teacher']);
  const names = [...new Set(records.filter((name) => typeof name === 'string' && name !== ''))] as string[];
  if (names.length === 0) return undefined;
  if (names.length > 1)
    throw new OptionError(
      `eval: the generators were distilled from different teachers (${names.map((name) => escapeText(name)).join(', ')})`,
      { hint },
    );
  const [name] = names as [string];
  const { name: by, generator } = generators[records.indexOf(name)]!;
  const { description, definition } = generator;
  const found = await openRecorded(name, by, description.teacher, registry);
  if (!found)
    throw new OptionError(
      `eval: the teacher ${escapeText(name)}, which ${escapeText(by)} was distilled from, is not there`,
      { hint },
    );
  const facts = ({ model, name: kind }: Pick<typeof definition, 'model' | 'name'>): string =>
    JSON.stringify([kind, model.tokenSpace]);
  if (facts(found.teacher) !== facts(definition))
    throw new OptionError(
      `eval: the teacher ${escapeText(name)} is not the one that ${escapeText(by)} was distilled from: it has other tokens`,
      { hint },
    );
  return found;
}

async function openRecorded(
  name: string,
  by: string,
  plugin: LoadedGenerator['description']['teacher'],
  registry: PluginRegistry,
): Promise<FoundTeacher | undefined> {
  if (presetLocation(name, registry)) return findTeacher({ source: name, config: {} }, registry);
  // Relative paths were those of the folder that the distillation was started in.
  let above = dirname(resolve(by));
  const places = [name];
  for (let i = 0; !isAbsolute(name) && i < foldersAbove; i++, above = dirname(above)) places.push(join(above, name));
  for (const place of places) {
    if (place.startsWith('hf:') ? place !== name : !existsSync(place)) continue;
    const located = await locateModel(place, registry);
    if (located?.kind === 'teacher') return { ...(await findTeacher({ source: place, config: {} }, registry)), name };
    if (!located && registry.teachers.has(plugin.name))
      return { ...(await findTeacher({ source: place, plugin: plugin.name, config: plugin.config }, registry)), name };
  }
  // Teachers that are made from a configuration alone are recorded by their plugin.
  if (name !== plugin.name || !registry.teachers.has(name)) return undefined;
  return findTeacher({ plugin: name, config: plugin.config }, registry);
}
