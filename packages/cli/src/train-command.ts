/** What the training commands share: a new or a resumed run, its engine, and the end of it. */
import type { RunFolder } from '@dimo/backend-node';
import type { Engine } from '@dimo/core';
import type { DimoConfig } from './config/schema.js';
import { exitFailed, exitOk } from './failure.js';
import { healthLine, type Health } from './health.js';
import type { TrainingFlags } from './program.js';
import { openExistingRun, openNewRun, readRunConfig, writeRunConfig } from './run/folder.js';
import { forgetHealth, writeHealth } from './run/health-file.js';
import type { TrainRunResult } from './run/train-run.js';
import { openEngine, openProject, type Project } from './session.js';
import { resumeCommand } from './resume-command.js';
import { print, printError, printJson } from './terminal.js';
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
  /** How it ended, as far as that can be said. */
  health(result: R, session: TrainingSession): Health;
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
      await forgetHealth(run.path);
      const result = await command.train(session);
      // Kept as the run's own only now: training refuses settings that were not allowed to differ.
      if (flags.resumeOverride.length > 0) await writeRunConfig(run.path, config, name);
      const health = command.health(result, session);
      await writeHealth(run.path, result.step, health);
      finish(command, { result, health }, session);
      return exitCodeOfHealth(health, flags);
    } finally {
      await engine.dispose();
    }
  } finally {
    await run.release();
  }
}

/** A destroyed result fails the command where that was asked for. */
export function exitCodeOfHealth(
  { verdict }: Pick<Health, 'verdict'>,
  { strictHealth }: Pick<TrainingFlags, 'strictHealth'>,
): number {
  return strictHealth && verdict === 'destroyed' ? exitFailed : exitOk;
}

function finish<R extends TrainRunResult>(
  command: TrainingCommand<R>,
  { result, health }: { readonly result: R; readonly health: Health },
  session: TrainingSession,
): void {
  const { flags, name } = command;
  const resume = resumeCommand(name, session.run.path, flags.typed, session.config.plugins);
  if (flags.json) {
    const { step, stopped, seconds } = result;
    printJson({
      run: session.run.path,
      step,
      stopped,
      ...(stopped ? { resume } : {}),
      seconds,
      ...command.facts(result, session),
      health,
    });
    if (health.verdict === 'destroyed') printError(`warning: ${healthLine(health)}`);
    return;
  }
  if (result.stopped)
    print(`stopped by ${result.stoppedBy ?? 'request'} after step ${result.step}, saved; continue with:\n  ${resume}`);
  else print(`done: ${result.step} steps in ${formatDuration(result.seconds)}`);
  for (const line of command.describe(result, session)) print(line);
  if (health.verdict !== 'unknown') print(`${health.verdict === 'good' ? '' : 'warning: '}${healthLine(health)}`);
}
