/** `dimo info`: plugins, the resolved configuration, a model, and every folder that dimo writes. */
import {
  describeOptions,
  generatorFileNames,
  OptionError,
  sizeOf,
  teacherDescriptionName,
  type AlgorithmRegistry,
  type SamplerRegistry,
  type SpecTree,
  type TeacherDefinition,
} from '@dimo/core';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { refuseTyped, severalStepsKeys } from '../config/ineffective.js';
import { didYouMeanPath } from '../config/nearest.js';
import { exitOk } from '../output/failure.js';
import type { TypedSettings } from '../flags/flags.js';
import { modelFolder } from '@dimo/pipeline';
import { withDistillPreset } from '../models/distill-preset.js';
import { inspectModel, type ModelToInspect } from '../models/inspect-model.js';
import { findGenerator, findTeacher, locateModel, presetLocation, presetNames } from '../models/models.js';
import { makePlan, type PlanRequest } from '../plan/plan.js';
import { measuredRates, readablePlan } from '../plan/plan-facts.js';
import { withArchitectures } from '../models/resolved-architectures.js';
import { readRunConfig, runConfigName } from '../run/folder.js';
import { samplerAsked } from '../models/sampler-asked.js';
import { openProject, type Project } from '../project/session.js';
import { print, printJson } from '../output/terminal.js';
import { folderFacts, importFacts } from './folder-facts.js';

/** Arguments of `info`. */
export interface InfoArguments {
  /** `plugins`, `samplers`, `algorithms`, `config`, a preset or a folder. */
  readonly what: string;
  readonly typed: TypedSettings;
  readonly json: boolean;
  readonly allowNonFinite: boolean;
  /** Measure the engine, so that the plan has times. */
  readonly bench: boolean;
}

/** Prints facts. */
export async function info(args: InfoArguments): Promise<number> {
  const idle = args.typed.settings.find(({ path }) => !isRead(args.what, path));
  if (idle)
    throw new OptionError(`${idle.where} has no effect on \`dimo info ${args.what}\``, {
      hint: '`dimo info config` prints the resolved settings',
    });
  if (['config', ...lists].includes(args.what) && args.allowNonFinite)
    throw new OptionError(`--allow-nonfinite has no effect on \`dimo info ${args.what}\``, { hint: 'leave it out' });
  const project = await openProject(args.typed, {
    onlyEffective: false,
    ...(args.what === 'config' ? { complete: withDistillPreset } : {}),
  });
  const { facts, subject } = await describe(args, project);
  if (subject?.tokenInit) refuseTyped(project, severalStepsKeys, 'a generator makes its samples in one step');
  const planned = subject ? await planFacts(subject, project, args) : {};
  const all = { ...facts, ...planned };
  if (args.json) printJson(all, 2);
  else print(stringify(readable(all)).trimEnd());
  return exitOk;
}

/** Classes that are listed for people. */
const shownClasses = 20;

function readable(facts: Record<string, unknown>): Record<string, unknown> {
  const { classes } = facts;
  if (!Array.isArray(classes) || classes.length <= shownClasses) return facts;
  return { ...facts, classes: [...classes.slice(0, shownClasses), `and ${classes.length - shownClasses} more`] };
}

/** Listed by name, from core and the plugins. */
const lists: readonly string[] = ['plugins', 'samplers', 'algorithms'];

/** Whether a setting changes what is told: the plan of a model is made for an engine, a sampler and a distillation. */
function isRead(what: string, key: string): boolean {
  if (what === 'config') return true;
  return !lists.includes(what) && /^(?:engine|sampler|sample|distill)(?:\.|$)/.test(key);
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
  project: Project,
  { json, bench }: InfoArguments,
): Promise<Record<string, unknown>> {
  const { registry } = project;
  const { config } = await withDistillPreset(project, registry, { plugin: subject.definition.name, config: {} });
  const parts = model && (await inspectModel(model, registry))?.parts;
  const rates = bench ? await measuredRates(config.engine, registry) : undefined;
  const plan = await makePlan({
    ...subject,
    config,
    rates,
    sampler: samplerAsked(project),
    samplers: registry.samplers,
  });
  return json ? { ...(parts ? { parts } : {}), plan } : readablePlan(parts, plan);
}

async function describe(args: InfoArguments, project: Project): Promise<Described> {
  const { what } = args;
  const { registry, config } = project;
  if (what === 'plugins') return { facts: pluginFacts(project) };
  if (what === 'samplers') return { facts: slotFacts(registry.samplers) };
  if (what === 'algorithms') return { facts: slotFacts(registry.algorithms) };
  if (what === 'config') return { facts: { ...(await withArchitectures(config, registry)) } };
  if (presetLocation(what, registry)) return teacherFacts(project, what);
  // Both: the folder is neither, and reading it as a run says so.
  if (existsSync(join(what, 'config.json')) && existsSync(join(what, runConfigName))) await readRunConfig(what);
  let subject: Subject | undefined;
  const facts = await folderFacts(what, async (folder, kind) => {
    const model =
      kind === 'teacher' ? await teacherFacts(project, folder) : await generatorFacts(args, project, folder);
    subject ??= model.subject;
    return model.facts;
  });
  if (facts) return { facts, ...(subject ? { subject } : {}) };
  if (existsSync(join(what, teacherDescriptionName))) return teacherFacts(project, what);
  if (existsSync(join(what, generatorFileNames.description)) || what.endsWith('.safetensors'))
    return generatorFacts(args, project, what);
  const located = await locateModel(what, registry);
  const from = existsSync(what) ? await importFacts(what) : {};
  if (located?.kind === 'generator') {
    const described = await generatorFacts(args, project, what);
    return { ...described, facts: { ...from, ...described.facts } };
  }
  if (located) {
    const { source, teacher: layout } = located;
    const model: ModelToInspect = { source, layout: { kind: 'teacher', ...(layout ? { teacher: layout } : {}) } };
    const described = await teacherFacts(project, what, model);
    return { ...described, facts: { ...from, ...described.facts, files: source.location } };
  }
  throw new OptionError(
    `"${what}" is neither plugins, samplers, algorithms, config, a bundled teacher, nor a folder of a run, teacher, tokenizer, generator, checkpoint, import or evaluation${didYouMeanPath(what, [...lists, 'config', ...presetNames(registry)])}`,
  );
}

/** One line for each sampler or algorithm, and its options with their defaults. */
function slotFacts(slot: SamplerRegistry | AlgorithmRegistry): Record<string, unknown> {
  return Object.fromEntries(
    [...slot.values()].map(({ name, description, options }) => [
      name,
      {
        description,
        options: Object.fromEntries(
          describeOptions(options).map((option) => [
            option.name,
            `${option.default === undefined ? '' : `${JSON.stringify(option.default)}: `}${option.description}`,
          ]),
        ),
      },
    ]),
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
    samplers: named(registry.samplers),
    algorithms: named(registry.algorithms),
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
    ofTeacher: located.ofTeacher,
    layout: { kind: 'generator', ...(located.teacher ? { teacher: located.teacher } : {}) },
  };
  return {
    facts: {
      generator: folder,
      teacher: description.teacher.name,
      ...(description.algorithm === undefined ? {} : { algorithm: description.algorithm }),
      ...(description.tokenInit ? { tokenInit: description.tokenInit } : { sampler: description.sampler }),
      ...(description.temperature === undefined ? {} : { temperature: description.temperature }),
      ...(description.training ? { training: description.training } : {}),
      ...definitionFacts(definition),
    },
    subject: { definition, ...(description.tokenInit ? { tokenInit: description.tokenInit } : {}), model },
  };
}

async function teacherFacts({ registry }: Project, name: string, located?: ModelToInspect): Promise<Described> {
  const { teacher } = await findTeacher({ source: name, config: {} }, registry);
  const { officialDistillation } = registry.teachers.get(teacher.name) ?? {};
  const preset = presetLocation(name, registry);
  const model: ModelToInspect = located ?? {
    source: modelFolder(preset?.folder ?? name),
    layout: { kind: 'teacher', ...(preset ? { teacher: { name: preset.plugin.name, config: {} } } : {}) },
  };
  return {
    facts: {
      teacher: teacher.name,
      ...definitionFacts(teacher),
      ...(officialDistillation ? { officialDistillation } : {}),
    },
    subject: { definition: teacher, model },
  };
}

function countParameters(parameters: SpecTree): number {
  return Object.values(parameters).reduce((sum, { shape }) => sum + sizeOf(shape), 0);
}
