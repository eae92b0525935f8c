/** `metrics.jsonl`: one JSON object per line, `{"step": 12, "generator/loss": 3.1, ...}`. */
import { DimoError } from '@dimo/core';
import { appendFileSync, existsSync } from 'node:fs';
import { readFile, rename, writeFile } from 'node:fs/promises';

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
  if (existsSync(path)) {
    const kept = (await readMetrics(path)).filter(({ step }) => step <= firstStep);
    const temporary = `${path}.tmp-${process.pid}`;
    await writeFile(temporary, kept.map((line) => `${JSON.stringify(line)}\n`).join(''));
    await rename(temporary, path);
  }
  return {
    write(step, metrics) {
      // JSON has no NaN: numbers that are not finite are written as text, so that the event stays visible.
      const values = Object.entries(metrics).map(([name, value]) => [
        name,
        Number.isFinite(value) ? Number(value.toPrecision(7)) : String(value),
      ]);
      appendFileSync(path, `${JSON.stringify({ step, ...Object.fromEntries(values) })}\n`);
    },
  };
}

/** Adds values to the last line of a log, if there is one. */
export async function amendMetrics(path: string, values: Readonly<Record<string, string | number>>): Promise<void> {
  if (!existsSync(path)) return;
  const lines = await readMetrics(path);
  const last = lines.pop();
  if (!last) return;
  const temporary = `${path}.tmp-${process.pid}`;
  await writeFile(temporary, [...lines, { ...last, ...values }].map((line) => `${JSON.stringify(line)}\n`).join(''));
  await rename(temporary, path);
}

/**
 * Reads a log; a last line that was cut by a kill is left out.
 *
 * @throws DimoError with code `io` if the file cannot be read.
 */
export async function readMetrics(path: string): Promise<MetricsLine[]> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    throw new DimoError('io', `cannot read ${path}`, { path, cause });
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
