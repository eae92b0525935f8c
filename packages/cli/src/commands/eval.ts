/** `dimo eval`: one table for a teacher at several steps and generators at one. */
import { generatorFileNames, OptionError, resolveSampler } from '@dimo/core';
import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { evaluationDataset } from '../project/datasets.js';
import { cardFigures, evaluationFileName, evaluationText, writeEvaluation } from '../evaluation/files.js';
import { checkEvaluation } from '../evaluation/requirements.js';
import { evaluateModels, type Evaluation } from '../evaluation/evaluation.js';
import { oneStepKeys, refuseTyped } from '../config/ineffective.js';
import { exitOk } from '../output/failure.js';
import type { TypedSettings } from '../flags/flags.js';
import { writeCardFigures } from '../models/model-card-file.js';
import { findGenerator, findTeacher, type FoundTeacher } from '../models/models.js';
import { recordedTeacher, type NamedGenerator } from '../models/recorded-teacher.js';
import { runConfigName } from '../run/folder.js';
import { partOfRun } from '../run/parts.js';
import { evaluateByFeatures, refuseWithoutFeatures, type FeatureArguments } from './eval-features.js';
import { openEngine, openProject, type Project } from '../project/session.js';
import { print, printError, printJson } from '../output/terminal.js';
import { tellUnfinished } from '../run/tell-unfinished.js';

/** Arguments of `evaluate`. */
export interface EvalArguments {
  readonly typed: TypedSettings;
  /** Generators. */
  readonly models: readonly string[];
  /** File for the numbers. @default eval.json in the generator's run, or here */
  readonly out: string | undefined;
  readonly withTeacher: boolean;
  /** Both `--teacher` and `--no-teacher` were typed. */
  readonly teacherIsContradicted?: boolean;
  readonly quiet: boolean;
  readonly json: boolean;
  /** Metrics in the features of an ONNX network. */
  readonly byFeatures: FeatureArguments;
}

/** Measures, writes the numbers, prints the table. */
export async function evaluate(args: EvalArguments): Promise<number> {
  const project = await openProject(args.typed);
  const { config, registry } = project;
  if (args.teacherIsContradicted)
    throw new OptionError('eval: --teacher and --no-teacher exclude each other; give one of them');
  if (!args.withTeacher)
    refuseTyped(project, ['teacher', 'eval.teacherSteps', 'sampler'], 'with --no-teacher no teacher is measured');
  if (args.models.length === 0) refuseTyped(project, oneStepKeys, 'no generator is measured; name one with --model');
  const generators: NamedGenerator[] = [];
  for (const name of args.models) generators.push({ name, generator: await findGenerator(name, registry) });
  const isByFeatures = args.byFeatures.features !== undefined;
  if (!isByFeatures) refuseWithoutFeatures(args.byFeatures);
  // A teacher of many steps takes hours for the numbers of papers: it is measured where it is named.
  const withTeacher = args.withTeacher && (!isByFeatures || isTeacherNamed(project));
  const found = withTeacher ? await teacherOf(project, generators) : undefined;
  if (found) {
    const { options } = resolveSampler(config.sampler, found.teacher.sampler, registry.samplers);
    if ('numSteps' in options)
      refuseTyped(project, ['sampler.numSteps'], 'the steps of the teacher are those of eval.teacherSteps');
    else refuseTyped(project, ['eval.teacherSteps'], 'this sampler takes as many passes as it needs');
  }
  await tellUnfinished([...args.models, found?.name], args);
  if (isByFeatures)
    return evaluateByFeatures(args.byFeatures, {
      ...{ project, teacher: found, generators, folder: runOf(args.models) ?? '.' },
      ...{ out: args.out, quiet: args.quiet, json: args.json },
    });
  const definition = found?.teacher ?? generators[0]?.generator.definition;
  // A dataset of tokens is named for completeness; nothing but its name fits such a teacher.
  if (definition && !definition.decoder && !registry.tokenDatasets.has(config.dataset))
    refuseTyped(project, ['dataset'], 'the teacher makes sequences, which are not compared with a dataset');
  const dataset = await evaluationDataset(project, definition?.decoder, args);
  for (const note of await checkEvaluation({ config, registry, dataset, definition }))
    if (!args.quiet) printError(note);
  const { engine, explanation } = await openEngine(config.engine, registry);
  try {
    if (!args.quiet) printError(explanation);
    const evaluation = await evaluateModels({
      engine,
      config,
      registry,
      dataset,
      teacher: found,
      generators,
      quiet: args.quiet,
      onProgress: (line) => {
        if (!args.quiet) printError(line);
      },
    });
    const out = args.out ?? join(runOf(args.models) ?? '.', evaluationFileName);
    await writeEvaluation(out, evaluation, { ...engine.info });
    for (const note of await putIntoCards(args.models, evaluation, engine.info.name)) if (!args.quiet) printError(note);
    const { rows, pluginRows, notes } = evaluation;
    const classNames = definition?.conditions.classNames;
    if (args.json)
      printJson({
        out,
        rows,
        pluginRows,
        notes,
        ...(found ? { teacher: found.name } : {}),
        models: args.models,
        ...(dataset ? { dataset: dataset.name } : {}),
        ...(classNames ? { classNames } : {}),
      });
    else print(`${evaluationText(evaluation)}\nwritten: ${out}`);
    return exitOk;
  } finally {
    await engine.dispose();
  }
}

/** Whether the user says which teacher. */
function isTeacherNamed({ given }: Project): boolean {
  return [...given].some((key) => key === 'teacher' || key.startsWith('teacher.'));
}

/** The teacher that was named; else the one that the generators record; without generators the default one. */
async function teacherOf(project: Project, generators: readonly NamedGenerator[]): Promise<FoundTeacher | undefined> {
  const { config, registry } = project;
  if (isTeacherNamed(project) || generators.length === 0) return findTeacher(config.teacher, registry);
  const recorded = await recordedTeacher(generators, registry);
  if (!recorded) printError('note: no teacher is measured, because the generators record none; name it with --teacher');
  return recorded;
}

/** Puts the figures into the model cards of the runs and folders that were measured; gives what was left as it is. */
async function putIntoCards(models: readonly string[], evaluation: Evaluation, engine: string): Promise<string[]> {
  const figures = cardFigures(evaluation, engine);
  const notes: string[] = [];
  for (const model of figures ? models : []) {
    const folder = partOfRun(model, 'generator') ?? model;
    if (!existsSync(join(folder, generatorFileNames.description))) continue;
    const note = await writeCardFigures(folder, figures!);
    if (note !== undefined) notes.push(note);
  }
  return notes;
}

/** The run that the only generator belongs to. */
function runOf(models: readonly string[]): string | undefined {
  if (models.length !== 1) return undefined;
  return [models[0]!, dirname(resolve(models[0]!))].find((folder) => existsSync(join(folder, runConfigName)));
}
