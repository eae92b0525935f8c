/** `dimo info`: plugins, the resolved configuration, a model, and every folder that dimo writes. */
import {
  generatorFileNames,
  OptionError,
  sizeOf,
  teacherDescriptionName,
  type SpecTree,
  type TeacherDefinition,
} from '@dimo/core';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { didYouMeanPath } from '../config/nearest.js';
import { exitOk } from '../failure.js';
import type { TypedSettings } from '../flags.js';
import { findGenerator, findTeacher, locateModel, presetLocation, presetNames } from '../models.js';
import { withArchitectures } from '../resolved-architectures.js';
import { readRunConfig, runConfigName } from '../run/folder.js';
import { openProject, type Project } from '../session.js';
import { print, printJson } from '../terminal.js';
import { folderFacts, importFacts } from './folder-facts.js';

/** Arguments of `info`. */
export interface InfoArguments {
  /** `plugins`, `config`, a preset or a folder. */
  readonly what: string;
  readonly typed: TypedSettings;
  readonly json: boolean;
  readonly allowNonFinite: boolean;
}

/** Prints facts. */
export async function info(args: InfoArguments): Promise<number> {
  if (args.what !== 'config' && args.typed.settings.length > 0)
    throw new OptionError(`${args.typed.settings[0]!.where} has no effect on \`dimo info ${args.what}\``, {
      hint: '`dimo info config` prints the resolved settings',
    });
  if ((args.what === 'config' || args.what === 'plugins') && args.allowNonFinite)
    throw new OptionError(`--allow-nonfinite has no effect on \`dimo info ${args.what}\``, { hint: 'leave it out' });
  const project = await openProject(args.typed, { onlyEffective: false });
  const facts = await factsOf(args, project);
  if (args.json) printJson(facts, 2);
  else print(stringify(facts).trimEnd());
  return exitOk;
}

async function factsOf(args: InfoArguments, project: Project): Promise<Record<string, unknown>> {
  const { what } = args;
  const { registry, config } = project;
  if (what === 'plugins') return pluginFacts(project);
  if (what === 'config') return { ...(await withArchitectures(config, registry)) };
  if (presetLocation(what, registry)) return teacherFacts(project, what);
  // Both: the folder is neither, and reading it as a run says so.
  if (existsSync(join(what, 'config.json')) && existsSync(join(what, runConfigName))) await readRunConfig(what);
  const facts = await folderFacts(what, (folder, kind) =>
    kind === 'teacher' ? teacherFacts(project, folder) : generatorFacts(args, project, folder),
  );
  if (facts) return facts;
  if (existsSync(join(what, teacherDescriptionName))) return teacherFacts(project, what);
  if (existsSync(join(what, generatorFileNames.description)) || what.endsWith('.safetensors'))
    return generatorFacts(args, project, what);
  const located = await locateModel(what, registry);
  const from = existsSync(what) ? await importFacts(what) : {};
  if (located?.kind === 'generator') return { ...from, ...(await generatorFacts(args, project, what)) };
  if (located) return { ...from, ...(await teacherFacts(project, what)), files: located.source.location };
  throw new OptionError(
    `"${what}" is neither plugins, config, a bundled teacher, nor a folder of a run, teacher, tokenizer, generator, checkpoint, import or evaluation${didYouMeanPath(what, ['plugins', 'config', ...presetNames(registry)])}`,
  );
}

function pluginFacts({ registry }: Project): Record<string, unknown> {
  const named = (items: ReadonlyMap<string, { readonly description?: string }>) =>
    Object.fromEntries([...items].map(([name, item]) => [name, item.description ?? '']));
  return {
    plugins: registry.plugins.map(({ name }) => name),
    engines: [...registry.engines.keys()],
    teachers: named(registry.teachers),
    presets: Object.fromEntries(
      [...registry.teachers.values()].flatMap((plugin) =>
        Object.entries(plugin.presets ?? {}).map(([name, preset]) => [name, preset.description]),
      ),
    ),
    datasets: named(registry.datasets),
    tokenDatasets: named(registry.tokenDatasets),
    metrics: named(registry.metrics),
  };
}

function definitionFacts({ model, decoder, conditions, config }: TeacherDefinition): Record<string, unknown> {
  const { codebookSize, numLogits, maskTokenId, grid } = model.tokenSpace;
  return {
    model: model.name,
    parameters: countParameters(model.parameters),
    tokens: { codebookSize, numLogits, maskTokenId, grid: [...grid] },
    ...(decoder
      ? {
          decoder: decoder.name,
          decoderParameters: countParameters(decoder.parameters),
          imageShape: [...decoder.imageShape],
        }
      : { decoder: 'none: the tokens are the product' }),
    ...(conditions.classNames ? { classes: [...conditions.classNames] } : {}),
    config,
  };
}

async function generatorFacts(
  args: InfoArguments,
  { registry }: Project,
  folder: string,
): Promise<Record<string, unknown>> {
  const { description, definition } = await findGenerator(folder, registry, { allowNonFinite: args.allowNonFinite });
  return {
    generator: folder,
    teacher: description.teacher.name,
    tokenInit: description.tokenInit,
    ...(description.temperature === undefined ? {} : { temperature: description.temperature }),
    ...(description.training ? { training: description.training } : {}),
    ...definitionFacts(definition),
  };
}

async function teacherFacts({ registry }: Project, source: string): Promise<Record<string, unknown>> {
  const { teacher } = await findTeacher({ source, config: {} }, registry);
  return { teacher: teacher.name, ...definitionFacts(teacher) };
}

function countParameters(parameters: SpecTree): number {
  return Object.values(parameters).reduce((sum, { shape }) => sum + sizeOf(shape), 0);
}
