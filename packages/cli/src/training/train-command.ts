/** What the training commands share: a new or a resumed run, its engine, and the end of it. */
import type { RunFolder } from '@dimo/backend-node';
import { BackendUnavailableError, OptionError, type ChosenEngine, type Engine } from '@dimo/core';
import type { DimoConfig } from '../config/schema.js';
import { exitFailed, exitOk } from '../output/failure.js';
import { healthLine, type Health } from '../run/health.js';
import type { TrainingFlags } from '../flags/training-flags.js';
import { openExistingRun, openNewRun, readRunConfig, writeRunConfig } from '../run/folder.js';
import { writeHealth } from '../run/health-file.js';
import { engineOfRun } from '../run/parts.js';
import { writeResult, type TrainRunResult } from '../run/train-run.js';
import { openEngine, openProject, type OpenProjectOptions, type Project } from '../project/session.js';
import { resumeCommand } from '../flags/resume-command.js';
import { print, printError, printJson } from '../output/terminal.js';
import { formatDuration } from '../run/progress.js';

/** Everything a training command works with. */
export interface TrainingSession {
  readonly project: Project;
  readonly config: DimoConfig;
  readonly run: RunFolder;
  readonly engine: Engine;
  readonly resume: boolean;
}

/**
 * How a training command is named and what it does.
 *
 * `Inputs`: what was read and checked before the folder of the run was made.
 */
export interface TrainingCommand<R extends TrainRunResult, Inputs> {
  /** `distill`, `train teacher`. */
  readonly name: string;
  readonly flags: TrainingFlags;
  /** Adds to the configuration what follows from the teacher. */
  readonly complete?: OpenProjectOptions['complete'];
  /** Name of a new run's folder, where the user gives none. */
  fallbackName(project: Project): string;
  /**
   * Reads and checks the inputs, before anything is made on the disk.
   *
   * @returns what checks the rest once there is an engine.
   */
  check(project: Project): Promise<(engine: Engine) => Promise<Inputs>>;
  /** Trains. Called with the folder locked, so that nothing is computed for a folder that cannot be written. */
  train(session: TrainingSession, inputs: Inputs): Promise<R>;
  /** How it ended, as far as that can be said. */
  health(result: R, session: TrainingSession): Health;
  /** Lines for people about the result, the first one the most important. */
  describe(result: R, session: TrainingSession): string[];
  /** The same for `--json`. */
  facts(result: R, session: TrainingSession): Record<string, unknown>;
}

/** Runs a training command from its flags to its last line. */
export async function runTrainingCommand<R extends TrainRunResult, Inputs>(
  command: TrainingCommand<R, Inputs>,
): Promise<number> {
  const { flags, name } = command;
  const base = flags.resume === undefined ? undefined : await readRunConfig(flags.resume);
  const project = await openProject(flags.typed, { base, ...(command.complete ? { complete: command.complete } : {}) });
  const { config } = project;
  checkResume(flags, project);
  const prepare = await command.check(project);
  const { engine, explanation } = await openTrainingEngine(flags, project);
  try {
    const inputs = await prepare(engine);
    const run =
      flags.resume === undefined
        ? await openNewRun({ ...config.run, name: config.run.name, fallback: command.fallbackName(project) })
        : await openExistingRun(flags.resume);
    try {
      if (!flags.quiet) printError(`${explanation}\nrun folder ${run.path}`);
      const session: TrainingSession = { project, config, run, engine, resume: flags.resume !== undefined };
      if (flags.resume === undefined) await writeRunConfig(run.path, config, name);
      const result = await command.train(session, inputs);
      // Kept as the run's own only now: training refuses settings that were not allowed to differ.
      if (flags.resumeOverride.length > 0) await writeRunConfig(run.path, config, name);
      const health = command.health(result, session);
      await writeResult(run, result, () => writeHealth(run.path, result.step, health));
      finish(command, { result, health }, session);
      return exitCodeOfHealth(health, flags);
    } finally {
      await run.release();
    }
  } finally {
    await engine.dispose();
  }
}

/** Where a run is continued and no engine is named, that of its checkpoint: `auto` may have chosen another since. */
async function openTrainingEngine(
  { resume, resumeOverride }: TrainingFlags,
  { config, registry }: Project,
): Promise<Pick<ChosenEngine, 'engine' | 'explanation'>> {
  const isFree = config.engine.name === 'auto' && resume !== undefined && !resumeOverride.includes('engine');
  const saved = isFree ? await engineOfRun(resume) : undefined;
  if (saved === undefined || !registry.engines.has(saved)) return openEngine(config.engine, registry);
  try {
    const { engine } = await openEngine({ ...config.engine, name: saved }, registry);
    return { engine, explanation: `engine ${saved} on ${engine.info.device}, as before` };
  } catch (error) {
    // The checkpoint then says which engine it wants.
    if (error instanceof BackendUnavailableError) return openEngine(config.engine, registry);
    throw error;
  }
}

/** @throws OptionError for options that a run which is continued, or a new one, would ignore. */
function checkResume({ resume, resumeOverride }: TrainingFlags, { typed }: Project): void {
  if (resume === undefined && resumeOverride.length > 0)
    throw new OptionError('--resume-override is for a run that is continued', { hint: 'name the run with --resume' });
  for (const key of ['run.folder', 'run.name', 'distill.preset']) {
    const where = typed.get(key);
    if (resume !== undefined && where !== undefined)
      throw new OptionError(`${where} has no effect with --resume: ${resume} is continued where and as it is`, {
        hint: 'leave it out',
      });
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
  command: Pick<TrainingCommand<R, unknown>, 'flags' | 'name' | 'facts' | 'describe'>,
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
