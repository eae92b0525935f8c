/**
 * A training in a run folder: the one loop of core with metrics, progress, samples, checkpoints and signals around it.
 * All training commands are this function with their own program.
 */
import {
  DimoError,
  NonFiniteError,
  openLatestCheckpoint,
  saveCheckpoint,
  specsOf,
  withTraining,
  type CheckpointIdentity,
  type Engine,
  type LiveTraining,
  type StepReport,
  type TrainingEnd,
  type TrainingOptions,
  type TrainingProgram,
  type TrainingSnapshot,
  type TrainingStart,
} from '@dimo/core';
import type { RunFolder } from '@dimo/backend-node';
import { join } from 'node:path';
import type { DimoConfig } from '../config/schema.js';
import { exitFailed, withExitCode } from '../output/failure.js';
import { shellQuoted } from '../flags/resume-command.js';
import { printError } from '../output/terminal.js';
import { fromGroups, groupsOnDevice } from './checkpoint-groups.js';
import { openMetricsLog, readMetrics } from './metrics.js';
import { createProgress, type Progress } from './progress.js';
import { listenForStop } from './signals.js';
import type { EventWriter, SummaryValue } from './tensorboard.js';
import { forgetHealth } from './health-file.js';

/** What a training command brings. */
export interface TrainRun<Draws, Made> {
  /** For progress lines: `distil`. */
  readonly label: string;
  /** `images/s` or `sequences/s`. */
  readonly unit: string;
  readonly program: TrainingProgram<Draws>;
  readonly engine: Engine;
  readonly run: RunFolder;
  readonly config: DimoConfig;
  /** What must be the same for a resumed run: settings that change its numbers, hashes of weights and data. */
  readonly identity: CheckpointIdentity;
  /** Continues from the newest checkpoint. */
  readonly resume: boolean;
  /** Where a run without a checkpoint starts. @default the program's initial state */
  readonly start?: () => Promise<TrainingStart>;
  readonly resumeOverride: readonly string[];
  readonly quiet: boolean;
  /** First parts of state names that never change and are made again by `program.initialState`: `teacher`. */
  readonly frozen?: readonly string[];
  /** Metrics on the progress line: name in the metrics, and as shown. */
  readonly shown: readonly (readonly [metric: string, label: string])[];
  readonly maxSkipped?: number;
  /** See `TrainingOptions.moveState`. @default false */
  readonly moveState?: boolean;
  /**
   * Watches the metrics of every step; those that a resumed run logged before come first.
   *
   * @returns warnings to show; those of steps before are not.
   */
  readonly observe?: (step: number, metrics: Readonly<Record<string, number>>) => readonly string[];
  /** After each step: sample grids. */
  readonly onStep?: (report: StepReport, tools: StepTools) => void | Promise<void>;
  /** Writes what was trained. Called when the training itself is saved, while its state is on the device. */
  finish(end: TrainingEnd): Promise<Made>;
}

/** What `onStep` can use. */
export interface StepTools {
  readonly note: (line: string) => void;
  /** Adds values to the TensorBoard log of this step. */
  readonly summary: (step: number, values: readonly SummaryValue[]) => void;
}

/** How a run ended. */
export interface TrainRunResult extends Pick<TrainingSnapshot, 'step' | 'counters'> {
  readonly stopped: boolean;
  /** Name of the signal that stopped it. */
  readonly stoppedBy: string | undefined;
  /** Seconds of training in this process. */
  readonly seconds: number;
}

/**
 * Runs a training to its end, or to a stop request; either way its state is saved when this returns.
 *
 * @throws DimoError; failures while training carry exit code 1 and name the last good checkpoint.
 */
export async function trainRun<Draws, Made>(
  task: TrainRun<Draws, Made>,
): Promise<TrainRunResult & { readonly made: Made }> {
  const { program, run, config } = task;
  let lastSaved: string | undefined;
  let rescue: Rescue | undefined;
  const progressBox: { progress?: Progress; events?: EventWriter } = {};
  const stop = listenForStop(undefined, undefined, (line) =>
    progressBox.progress ? progressBox.progress.note(line) : printError(line),
  );
  try {
    const checkpoint = task.resume ? await restore(task) : undefined;
    const from = checkpoint ?? (await task.start?.());
    await forgetHealth(run.path);
    const firstStep = from?.step ?? 0;
    if (checkpoint) lastSaved = `step-${firstStep}`;
    const metricsPath = join(run.path, 'metrics.jsonl');
    const log = await openMetricsLog(metricsPath, firstStep);
    if (task.observe && firstStep > 0) {
      for (const { step, ...metrics } of await readMetrics(metricsPath)) task.observe(step, numbersOf(metrics));
    }
    const events = config.log.tensorboard ? (await import('./tensorboard.js')).createEventWriter(run.path) : undefined;
    const progress = createProgress({
      label: task.label,
      numSteps: program.numSteps,
      firstStep,
      batchSize: program.batchSize,
      unit: task.unit,
      everySeconds: config.log.everySeconds,
      quiet: task.quiet,
    });
    Object.assign(progressBox, { progress, events });
    const tools: StepTools = {
      note: (line) => progress.note(line),
      summary: (step, values) => events?.write(step, values),
    };
    const started = performance.now();
    let savedAt = started;
    let savedStep = checkpoint ? firstStep : -1;
    const save = async ({ step, counters, deviceState }: LiveTraining): Promise<void> => {
      if (step === savedStep) return;
      lastSaved = await saveCheckpoint(
        run.checkpoints,
        {
          step,
          groups: groupsOnDevice(deviceState, task.frozen ?? []),
          state: { counters: { ...counters } },
          identity: task.identity,
        },
        { keep: config.checkpoint.keep },
      );
      savedStep = step;
      savedAt = performance.now();
    };
    const options: TrainingOptions = {
      engine: task.engine,
      signal: stop.signal,
      ...(from ? { from } : {}),
      moveState: task.moveState ?? false,
      ...(task.maxSkipped === undefined ? {} : { maxSkippedInARow: task.maxSkipped }),
      onFailure: async (live, error) => {
        rescue = await saveAfterFailure(error, { live, save, savedStep: Math.max(savedStep, firstStep) });
      },
      onStep: async (report) => {
        const { step, metrics, counters } = report;
        if (step % config.log.everySteps === 0 || step === program.numSteps || report.skipped) {
          const all = report.skipped ? { ...metrics, skipped: counters['skipped'] ?? 0 } : metrics;
          log.write(step, all);
          tools.summary(
            step,
            Object.entries(all).map(([tag, scalar]) => ({ tag, scalar })),
          );
        }
        if (report.skipped)
          tools.note(
            `step ${step} was skipped: a loss or gradient was not finite (${counters['skipped'] ?? 1} so far)`,
          );
        for (const warning of task.observe?.(step, metrics) ?? []) tools.note(warning);
        await task.onStep?.(report, tools);
        progress.update({ step, numbers: shownNumbers(task, metrics) });
        if (isCheckpointDue(config.checkpoint, step, performance.now() - savedAt)) await save(report);
      },
    };
    return await withTraining(program, options, async (end) => {
      await save(end);
      progress.finish();
      const { step, counters, stopped } = end;
      const seconds = (performance.now() - started) / 1000;
      return { step, counters, stopped, stoppedBy: stop.received(), seconds, made: await task.finish(end) };
    });
  } catch (error) {
    progressBox.progress?.finish();
    throw progressBox.progress ? duringTraining(error, run.path, { lastSaved, rescue }) : error;
  } finally {
    progressBox.events?.close();
    stop.dispose();
  }
}

/** What became of the state of a run that failed. */
interface Rescue {
  /** Steps that it had completed. */
  readonly step?: number;
  /** Why they could not be saved. */
  readonly failure?: string;
}

/** Saves what a failed run has computed since its last checkpoint, if it is good. Never throws. */
async function saveAfterFailure(
  error: unknown,
  {
    live,
    save,
    savedStep,
  }: {
    readonly live: LiveTraining;
    readonly save: (live: LiveTraining) => Promise<void>;
    readonly savedStep: number;
  },
): Promise<Rescue | undefined> {
  // The folder is another process's now.
  if (DimoError.isInstance(error) && error.code === 'locked') return undefined;
  const { step } = live;
  if (step <= savedStep) return undefined;
  try {
    await save(live);
    return { step };
  } catch (second) {
    return { step, failure: second instanceof Error ? second.message : String(second) };
  }
}

/** Without values that were not finite, which a log holds as text. */
function numbersOf(line: Readonly<Record<string, unknown>>): Record<string, number> {
  return Object.fromEntries(
    Object.entries(line).filter((entry): entry is [string, number] => typeof entry[1] === 'number'),
  );
}

function isCheckpointDue(rule: DimoConfig['checkpoint'], step: number, millisecondsSince: number): boolean {
  return (
    (rule.everySteps > 0 && step % rule.everySteps === 0) ||
    (rule.everyMinutes > 0 && millisecondsSince >= rule.everyMinutes * 60_000)
  );
}

function shownNumbers(
  task: Pick<TrainRun<never, never>, 'shown'>,
  metrics: Readonly<Record<string, number>>,
): (readonly [string, number])[] {
  return task.shown.flatMap(([metric, label]) => (metric in metrics ? [[label, metrics[metric]!] as const] : []));
}

/** The newest good checkpoint, to be read tensor by tensor; undefined if the run has none yet. */
async function restore<Draws>(task: TrainRun<Draws, unknown>): Promise<TrainingStart | undefined> {
  const opened = await openLatestCheckpoint(task.run.checkpoints, {
    identity: task.identity,
    override: task.resumeOverride,
    onWarning: (message) => printError(`warning: ${message}`),
  });
  if (!opened) return undefined;
  const { step, groups, close } = opened;
  try {
    const counters = (opened.state as { counters?: Record<string, number> } | null)?.counters ?? {};
    const specs = specsOf(task.program.initialState());
    return { step, counters, state: fromGroups(groups, specs, task.frozen ?? []), close };
  } catch (error) {
    await close();
    throw error;
  }
}

/**
 * Writes what a training has made. If that fails, the error says that the training itself is saved.
 *
 * @throws as `trainRun`.
 */
export async function writeResult<T>(
  run: RunFolder,
  { step }: Pick<TrainRunResult, 'step'>,
  write: () => Promise<T>,
): Promise<T> {
  try {
    return await write();
  } catch (error) {
    throw duringTraining(error, run.path, { lastSaved: `step-${step}`, rescue: undefined });
  }
}

/** Failures from the first step on end with code 1 and name what can be continued, and what could not be saved. */
function duringTraining(
  error: unknown,
  path: string,
  { lastSaved, rescue }: { readonly lastSaved: string | undefined; readonly rescue: Rescue | undefined },
): unknown {
  if (DimoError.isInstance(error) && error.code === 'locked') return error;
  const lost =
    rescue?.failure === undefined
      ? undefined
      : `the state${rescue.step === undefined ? '' : ` after step ${rescue.step}`} could not be saved: ${rescue.failure}`;
  const continued = lastSaved
    ? `the last good checkpoint is ${lastSaved}${rescue && !lost ? ', saved just now' : ''}; continue with --resume ${shellQuoted(path)}`
    : undefined;
  const described = DimoError.isInstance(error) ? error : unexpected(error);
  const hint = [described.hint, lost, continued].filter((part) => part !== undefined).join('; ');
  const Kind = described.code === 'non-finite' ? NonFiniteError : undefined;
  const options = { hint: hint === '' ? undefined : hint, path: described.path, cause: error };
  return withExitCode(
    Kind ? new Kind(described.message, options) : new DimoError(described.code, described.message, options),
    exitFailed,
  );
}

/** An error of a plugin, of a library or of the system. */
function unexpected(error: unknown): DimoError {
  const message = error instanceof Error ? error.message : String(error);
  const isOfSystem = error instanceof Error && 'syscall' in error;
  return isOfSystem
    ? new DimoError('io', message)
    : new DimoError('internal', `unexpected failure: ${message}`, { hint: 'run again with --debug and report it' });
}
