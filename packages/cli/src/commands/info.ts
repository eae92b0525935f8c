/** `dimo info`: plugins, the resolved configuration, a teacher, a generator or a run. */
import { OptionError, sizeOf, type SpecTree, type TeacherDefinition } from '@dimo/core';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { exitOk } from '../failure.js';
import type { TypedSettings } from '../flags.js';
import { modelFolder } from '../imported-model.js';
import { inspectModel, type ModelToInspect } from '../inspect-model.js';
import { findGenerator, findTeacher, locateModel, presetLocation } from '../models.js';
import { makePlan, type PlanRequest } from '../plan/plan.js';
import { measuredRates, readablePlan } from '../plan/plan-facts.js';
import { runConfigName } from '../run/folder.js';
import { openProject, type Project } from '../session.js';
import { print } from '../terminal.js';

/** Arguments of `info`. */
export interface InfoArguments {
  /** `plugins`, `config`, a preset or a folder. */
  readonly what: string;
  readonly typed: TypedSettings;
  readonly json: boolean;
  readonly allowNonFinite: boolean;
  /** Measure the engine, so that the plan has times. */
  readonly bench: boolean;
}

/** Prints facts. */
export async function info(args: InfoArguments): Promise<number> {
  const project = await openProject(args.typed);
  const { facts, subject } = await describe(args, project);
  const planned = subject ? await planFacts(subject, project, args) : {};
  const all = { ...facts, ...planned };
  print(args.json ? JSON.stringify(all, null, 2) : stringify(all).trimEnd());
  return exitOk;
}

/** What a plan is made for. */
interface Subject extends Pick<PlanRequest, 'definition' | 'tokenInit'> {
  /** Where its files are. */
  readonly model?: ModelToInspect | undefined;
}

interface Described {
  readonly facts: Record<string, unknown>;
  readonly subject?: Subject;
}

/** Parts on the disk and the plan; numbers for programs, units for people. */
async function planFacts(
  { model, ...subject }: Subject,
  { registry, config }: Project,
  { json, bench }: InfoArguments,
): Promise<Record<string, unknown>> {
  const parts = model && (await inspectModel(model, registry))?.parts;
  const rates = bench ? await measuredRates(config.engine, registry) : undefined;
  const plan = await makePlan({ ...subject, config, rates });
  return json ? { ...(parts ? { parts } : {}), plan } : readablePlan(parts, plan);
}

async function describe(args: InfoArguments, project: Project): Promise<Described> {
  const { what } = args;
  const { registry, config } = project;
  if (what === 'plugins') return { facts: pluginFacts(project) };
  if (what === 'config') return { facts: { ...config } };
  const preset = presetLocation(what, registry);
  if (preset || existsSync(join(what, 'teacher.json'))) {
    const { teacher } = await findTeacher({ source: what, config: {} }, registry);
    const model: ModelToInspect = {
      source: modelFolder(preset?.folder ?? what),
      layout: { kind: 'teacher', ...(preset ? { teacher: { name: preset.plugin.name, config: {} } } : {}) },
    };
    return { facts: { teacher: teacher.name, ...definitionFacts(teacher) }, subject: { definition: teacher, model } };
  }
  if (existsSync(join(what, 'config.json'))) return generatorFacts(args, project, what);
  if (existsSync(join(what, runConfigName))) return runFacts(args, project);
  const located = await locateModel(what, registry);
  if (located?.kind === 'generator') return generatorFacts(args, project, what);
  if (located) {
    const { teacher } = await findTeacher({ source: what, config: {} }, registry);
    const { source, teacher: layout } = located;
    return {
      facts: { teacher: teacher.name, files: source.location, ...definitionFacts(teacher) },
      subject: {
        definition: teacher,
        model: { source, layout: { kind: 'teacher', ...(layout ? { teacher: layout } : {}) } },
      },
    };
  }
  throw new OptionError(
    `"${what}" is neither plugins, config, a bundled teacher, nor a folder of a teacher, generator, import or run`,
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

async function generatorFacts(args: InfoArguments, { registry }: Project, folder: string): Promise<Described> {
  const { description, definition } = await findGenerator(folder, registry, { allowNonFinite: args.allowNonFinite });
  const located = await locateModel(folder, registry);
  const model: ModelToInspect | undefined = located && {
    source: located.source,
    teacherSource: located.teacherSource,
    layout: { kind: 'generator', ...(located.teacher ? { teacher: located.teacher } : {}) },
  };
  return {
    facts: {
      generator: folder,
      teacher: description.teacher.name,
      tokenInit: description.tokenInit,
      ...(description.temperature === undefined ? {} : { temperature: description.temperature }),
      ...(description.training ? { training: description.training } : {}),
      ...definitionFacts(definition),
    },
    subject: { definition, tokenInit: description.tokenInit, model },
  };
}

async function runFacts(args: InfoArguments, project: Project): Promise<Described> {
  const { folderCheckpointStore } = await import('@dimo/backend-node');
  const { listCheckpoints } = await import('@dimo/core');
  const checkpoints = await listCheckpoints(folderCheckpointStore(join(args.what, 'checkpoints')));
  const generator = join(args.what, 'generator');
  const described = existsSync(join(generator, 'config.json'))
    ? await generatorFacts(args, project, generator)
    : { facts: {} };
  return { ...described, facts: { run: args.what, checkpoints: [...checkpoints], ...described.facts } };
}

function countParameters(parameters: SpecTree): number {
  return Object.values(parameters).reduce((sum, { shape }) => sum + sizeOf(shape), 0);
}
