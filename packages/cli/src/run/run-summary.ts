/** What there is to say of a run in a line: what it makes, how far it is, and how it goes or went. */
import { isAbsentFile, isRunLocked } from '@dimo/backend-node';
import { readdir, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { readHealth } from './health-file.js';
import type { HealthVerdict } from './health.js';
import { lastMetrics, type MetricsLine } from './metrics.js';
import { isRunFolder, runState } from './parts.js';

/** `running`: a process has it; `finished`: all steps are saved; `stopped`: some are, and it can be resumed. */
export type RunCondition = 'running' | 'finished' | 'stopped';

/** A run. */
export interface RunSummary {
  readonly name: string;
  readonly path: string;
  /** `distill`, `train teacher`; undefined where its configuration does not say. */
  readonly command: string | undefined;
  readonly condition: RunCondition;
  /** Steps that the metrics tell of. */
  readonly step: number;
  readonly numSteps: number | undefined;
  readonly newestCheckpoint: number | undefined;
  /** The last line of the metrics. */
  readonly last: MetricsLine | undefined;
  /** Of a run that has ended. */
  readonly health: HealthVerdict | undefined;
  /** When its metrics were last written, milliseconds since 1970. */
  readonly changed: number | undefined;
}

/** What there is to say of a run. @throws DimoError if its files cannot be read. */
export async function summarizeRun(path: string): Promise<RunSummary> {
  const metricsPath = join(path, 'metrics.jsonl');
  const { command, newestCheckpoint, numSteps } = await runState(path);
  const last = await lastMetrics(metricsPath);
  const changed = await stat(metricsPath).then(
    ({ mtimeMs }) => mtimeMs,
    () => undefined,
  );
  const isWhole = numSteps !== undefined && (newestCheckpoint ?? 0) >= numSteps;
  return {
    name: basename(resolve(path)),
    path,
    command,
    condition: (await isRunLocked(path)) ? 'running' : isWhole ? 'finished' : 'stopped',
    step: last?.step ?? newestCheckpoint ?? 0,
    numSteps,
    newestCheckpoint,
    last,
    health: (await readHealth(path))?.verdict,
    changed,
  };
}

/** The runs in a folder, the latest first; none where there is no such folder. */
export async function runsIn(folder: string): Promise<string[]> {
  try {
    const entries = await readdir(folder, { withFileTypes: true });
    const paths = entries.filter((entry) => entry.isDirectory()).map(({ name }) => join(folder, name));
    return paths.filter((path) => isRunFolder(path));
  } catch (error) {
    if (isAbsentFile(error)) return [];
    throw error;
  }
}
