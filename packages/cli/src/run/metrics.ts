/** `metrics.jsonl`: one JSON object per line, `{"step": 12, "generator/loss": 3.1, ...}`. */
import { appendText, isAbsentFile, openFileChecked, readFileChecked, writeFileAtomically } from '@dimo/backend-node';
import { DimoError, escapeText } from '@dimo/core';
import { dirname } from 'node:path';

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

/** Adds values to the last line of a log, if there is one. */
export async function amendMetrics(path: string, values: Readonly<Record<string, string | number>>): Promise<void> {
  const lines = await readMetrics(path);
  const last = lines.pop();
  if (!last) return;
  await writeFileAtomically(
    path,
    [...lines, { ...last, ...values }].map((line) => `${JSON.stringify(line)}\n`).join(''),
  );
}

/**
 * Reads a log; a last line that was cut by a kill is left out. No log is an empty one.
 *
 * @throws DimoError with code `io` if it cannot be read (it is no regular file, or a link out of its folder) or is longer
 *   than any log.
 */
export async function readMetrics(path: string): Promise<MetricsLine[]> {
  let bytes: Uint8Array;
  try {
    bytes = await readFileChecked(path, maximumBytes, dirname(path));
  } catch (error) {
    if (isAbsentFile(error)) return [];
    throw error;
  }
  const lines: MetricsLine[] = [];
  const decoder = new TextDecoder();
  // Line by line: neither the text nor the list of its lines is ever in memory whole.
  for (let start = 0; start < bytes.length;) {
    const newline = bytes.indexOf(10, start);
    const end = newline < 0 ? bytes.length : newline;
    const line = end - start <= maximumLineBytes ? parseLine(decoder.decode(bytes.subarray(start, end))) : undefined;
    if (line) lines.push(line);
    if (lines.length > maximumLines)
      throw new DimoError('io', `${escapeText(path)} has more than ${maximumLines} lines`, { path });
    start = end + 1;
  }
  return lines;
}

/** The last line of a log; undefined if it has none. Reads the end of the file alone. @throws DimoError as `readMetrics` */
export async function lastMetrics(path: string): Promise<MetricsLine | undefined> {
  let file;
  try {
    file = await openFileChecked(path, dirname(path));
  } catch (error) {
    if (isAbsentFile(error)) return undefined;
    throw error;
  }
  try {
    // Two lines: the last may have been cut by a kill.
    const bytes = await file.read(Math.max(0, file.length - 2 * maximumLineBytes), file.length);
    const lines = new TextDecoder().decode(bytes).split('\n');
    return lines.map(parseLine).findLast((line) => line !== undefined);
  } finally {
    await file.close().catch(() => undefined); // a run that goes on has written more meanwhile
  }
}

/** Several million steps. */
const maximumBytes = 2 ** 30;
const maximumLines = 5_000_000;
/** A line has some 300 bytes. */
const maximumLineBytes = 2 ** 16;

function parseLine(text: string): MetricsLine | undefined {
  try {
    const value = JSON.parse(text) as unknown;
    return typeof value === 'object' && value !== null && typeof (value as MetricsLine).step === 'number'
      ? (value as MetricsLine)
      : undefined;
  } catch {
    return undefined;
  }
}
