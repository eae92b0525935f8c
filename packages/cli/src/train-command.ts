/** What the training commands share: a new or a resumed run, its engine, and the end of it. */
import type { RunFolder } from '@dimo/backend-node';
import type { Engine } from '@dimo/core';
import type { DimoConfig } from './config/schema.js';
import { exitOk } from './failure.js';
import type { TrainingFlags } from './flags.js';
import { openExistingRun, openNewRun, readRunConfig, writeRunConfig } from './run/folder.js';
import type { TrainRunResult } from './run/train-run.js';
import { openEngine, openProject, type Project } from './session.js';
import { print, printError } from './terminal.js';
import { formatDuration } from './run/progress.js';

/** Everything a training command works with. */
export interface TrainingSession {
  readonly project: Project;
  readonly config: DimoConfig;
  readonly run: RunFolder;
  readonly engine: Engine;
  readonly resume: boolean;
}

/** How a training command is named and what it does. */
export interface TrainingCommand<R extends TrainRunResult> {
  /** `distill`, `train teacher`. */
  readonly name: string;
  readonly flags: TrainingFlags;
  /** Name of a new run's folder, where the user gives none. */
  fallbackName(project: Project): string;
  /** Trains. Called with the folder locked, so that nothing is computed for a folder that cannot be written. */
  train(session: TrainingSession): Promise<R>;
  /** Lines for people about the result, the first one the most important. */
  describe(result: R, session: TrainingSession): string[];
  /** The same for `--json`. */
  facts(result: R, session: TrainingSession): Record<string, unknown>;
}

/** Runs a training command from its flags to its last line. */
export async function runTrainingCommand<R extends TrainRunResult>(command: TrainingCommand<R>): Promise<number> {
  const { flags, name } = command;
  const base = flags.resume === undefined ? undefined : await readRunConfig(flags.resume);
  const project = await openProject(flags.typed, base === undefined ? {} : { base });
  const { config } = project;
  const run =
    flags.resume === undefined
      ? await openNewRun({ ...config.run, name: config.run.name, fallback: command.fallbackName(project) })
      : await openExistingRun(flags.resume);
  try {
    const { engine, explanation } = await openEngine(config.engine, project.registry);
    try {
      if (!flags.quiet) printError(`${explanation}\nrun folder ${run.path}`);
      const session: TrainingSession = { project, config, run, engine, resume: flags.resume !== undefined };
      if (flags.resume === undefined) await writeRunConfig(run.path, config, name);
      const result = await command.train(session);
      // Kept as the run's own only now: training refuses settings that were not allowed to differ.
      if (flags.resumeOverride.length > 0) await writeRunConfig(run.path, config, name);
      finish(command, result, session);
      return exitOk;
    } finally {
      await engine.dispose();
    }
  } finally {
    await run.release();
  }
}

function finish<R extends TrainRunResult>(command: TrainingCommand<R>, result: R, session: TrainingSession): void {
  const { flags, name } = command;
  if (flags.json) {
    const { step, stopped, seconds } = result;
    print(JSON.stringify({ run: session.run.path, step, stopped, seconds, ...command.facts(result, session) }));
    return;
  }
  if (result.stopped)
    print(
      `stopped by ${result.stoppedBy ?? 'request'} after step ${result.step}, saved; continue with: dimo ${name} --resume ${session.run.path}`,
    );
  else print(`done: ${result.step} steps in ${formatDuration(result.seconds)}`);
  for (const line of command.describe(result, session)) print(line);
}
