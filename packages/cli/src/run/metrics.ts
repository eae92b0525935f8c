/** `metrics.jsonl`: one JSON object per line, `{"step": 12, "generator/loss": 3.1, ...}`. */
import { appendText, isAbsentFile, readFileChecked, writeFileAtomically } from '@dimo/backend-node';
import { dirname } from 'node:path';

/** A longer log is not read: its text would not fit into one string. */
const maximumBytes = 2 ** 28;

/** Metrics of one step. */
export type MetricsLine = Readonly<Record<string, number>> & { readonly step: number };

/** Appends metrics to a file. */
export interface MetricsLog {
  write(step: number, metrics: Readonly<Record<string, number>>): void;
}

/**
 * Opens the log of a run.
 *
 * @param firstStep - lines of later steps, left by a run that was killed after its last checkpoint, are removed.
 */
export async function openMetricsLog(path: string, firstStep: number): Promise<MetricsLog> {
  const kept = (await readMetrics(path)).filter(({ step }) => step <= firstStep);
  await writeFileAtomically(path, kept.map((line) => `${JSON.stringify(line)}\n`).join(''));
  return {
    write(step, metrics) {
      // JSON has no NaN: numbers that are not finite are written as text, so that the event stays visible.
      const values = Object.entries(metrics).map(([name, value]) => [
        name,
        Number.isFinite(value) ? Number(value.toPrecision(7)) : String(value),
      ]);
      appendText(path, `${JSON.stringify({ step, ...Object.fromEntries(values) })}\n`);
    },
  };
}

/**
 * Reads a log; a last line that was cut by a kill is left out. No log is an empty one.
 *
 * @throws DimoError with code `io` if it cannot be read: it is no regular file, or a link out of its folder.
 */
export async function readMetrics(path: string): Promise<MetricsLine[]> {
  let text: string;
  try {
    text = new TextDecoder().decode(await readFileChecked(path, maximumBytes, dirname(path)));
  } catch (error) {
    if (isAbsentFile(error)) return [];
    throw error;
  }
  return text.split('\n').flatMap((line) => {
    try {
      const value = JSON.parse(line) as unknown;
      return typeof value === 'object' && value !== null && typeof (value as MetricsLine).step === 'number'
        ? [value as MetricsLine]
        : [];
    } catch {
      return [];
    }
  });
}
