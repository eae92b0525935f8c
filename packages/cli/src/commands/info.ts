/** `dimo info`: plugins, the resolved configuration, a teacher, a generator or a run. */
import { OptionError, sizeOf, type SpecTree, type TeacherDefinition } from '@dimo/core';
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
import { print } from '../terminal.js';

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
  print(args.json ? JSON.stringify(facts, null, 2) : stringify(facts).trimEnd());
  return exitOk;
}

async function factsOf(args: InfoArguments, project: Project): Promise<Record<string, unknown>> {
  const { what } = args;
  const { registry, config } = project;
  if (what === 'plugins') return pluginFacts(project);
  if (what === 'config') return { ...(await withArchitectures(config, registry)) };
  if (presetLocation(what, registry) || existsSync(join(what, 'teacher.json'))) {
    const { teacher } = await findTeacher({ source: what, config: {} }, registry);
    return { teacher: teacher.name, ...definitionFacts(teacher) };
  }
  // Both: the folder is neither, and reading it as a run says so.
  if (existsSync(join(what, 'config.json')) && existsSync(join(what, runConfigName))) await readRunConfig(what);
  if (existsSync(join(what, 'config.json'))) return generatorFacts(args, project, what);
  if (existsSync(join(what, runConfigName))) return runFacts(args, project);
  const located = await locateModel(what, registry);
  if (located?.kind === 'generator') return generatorFacts(args, project, what);
  if (located) {
    const { teacher } = await findTeacher({ source: what, config: {} }, registry);
    return { teacher: teacher.name, files: located.source.location, ...definitionFacts(teacher) };
  }
  throw new OptionError(
    `"${what}" is neither plugins, config, a bundled teacher, nor a folder of a teacher, generator, import or run${didYouMeanPath(what, ['plugins', 'config', ...presetNames(registry)])}`,
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

async function runFacts(args: InfoArguments, project: Project): Promise<Record<string, unknown>> {
  const { folderCheckpointStore, pathInside } = await import('@dimo/backend-node');
  const { listCheckpoints } = await import('@dimo/core');
  const checkpoints = await listCheckpoints(folderCheckpointStore(join(args.what, 'checkpoints'), args.what));
  const generator = await pathInside(args.what, 'generator');
  return {
    run: args.what,
    checkpoints: [...checkpoints],
    ...(existsSync(join(generator, 'config.json')) ? await generatorFacts(args, project, generator) : {}),
  };
}

function countParameters(parameters: SpecTree): number {
  return Object.values(parameters).reduce((sum, { shape }) => sum + sizeOf(shape), 0);
}
