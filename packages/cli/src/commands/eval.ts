/** `dimo eval`: one table for a teacher at several steps and generators at one. */
import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { evaluationDataset } from '../datasets.js';
import { evaluationFileName, evaluationText, writeEvaluation } from '../evaluation-files.js';
import { evaluateModels } from '../evaluation.js';
import { exitOk } from '../failure.js';
import type { TypedSettings } from '../flags.js';
import { findGenerator, findTeacher } from '../models.js';
import { runConfigName } from '../run/folder.js';
import { openEngine, openProject } from '../session.js';
import { print, printError } from '../terminal.js';

/** Arguments of `evaluate`. */
export interface EvalArguments {
  readonly typed: TypedSettings;
  /** Generators. */
  readonly models: readonly string[];
  /** File for the numbers. @default eval.json in the generator's run, or here */
  readonly out: string | undefined;
  readonly withTeacher: boolean;
  readonly quiet: boolean;
  readonly json: boolean;
}

/** Measures, writes the numbers, prints the table. */
export async function evaluate(args: EvalArguments): Promise<number> {
  const project = await openProject(args.typed);
  const { config, registry } = project;
  const found = args.withTeacher ? await findTeacher(config.teacher, registry) : undefined;
  const generators = [];
  for (const name of args.models) generators.push({ name, generator: await findGenerator(name, registry) });
  const definition = found?.teacher ?? generators[0]?.generator.definition;
  const dataset = await evaluationDataset(project, definition?.decoder);
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
    if (args.json) print(JSON.stringify({ out, rows: evaluation.rows, pluginRows: evaluation.pluginRows }));
    else print(`${evaluationText(evaluation)}\nwritten: ${out}`);
    return exitOk;
  } finally {
    await engine.dispose();
  }
}

/** The run that the only generator belongs to. */
function runOf(models: readonly string[]): string | undefined {
  if (models.length !== 1) return undefined;
  return [models[0]!, dirname(resolve(models[0]!))].find((folder) => existsSync(join(folder, runConfigName)));
}
