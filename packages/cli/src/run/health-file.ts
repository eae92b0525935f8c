/** `health.json`: how a run ended, for `dimo info`, the report and scripts. The last line of the metrics says it too. */
import { readFileChecked } from '@dimo/backend-node';
import type { TrainingSnapshot } from '@dimo/core';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Health, HealthVerdict, RunEnd } from './health.js';
import { writeFileAtomically } from './folder.js';
import { amendMetrics } from './metrics.js';

/** Name of the file in a run. */
export const healthFileName = 'health.json';

const verdicts: readonly HealthVerdict[] = ['good', 'doubtful', 'destroyed', 'unknown'];

/** Writes how a run ended. */
export async function writeHealth(run: string, step: number, health: Health): Promise<void> {
  await amendMetrics(join(run, 'metrics.jsonl'), { health: health.verdict });
  const content = { format: 'dimo-health', version: 1, step, ...health };
  await writeFileAtomically(join(run, healthFileName), `${JSON.stringify(content, null, 2)}\n`);
}

/** Removes the verdict of a run that goes on. */
export function forgetHealth(run: string): Promise<void> {
  return rm(join(run, healthFileName), { force: true });
}

/** How a run ended, or undefined if that is not known. */
export async function readHealth(run: string): Promise<(Health & { readonly step: number }) | undefined> {
  try {
    const text = new TextDecoder().decode(await readFileChecked(join(run, healthFileName), 2 ** 20, run));
    const { format, step, verdict, reasons, numbers } = JSON.parse(text) as Record<string, unknown>;
    const isWhole =
      format === 'dimo-health' &&
      typeof step === 'number' &&
      verdicts.includes(verdict as HealthVerdict) &&
      Array.isArray(reasons) &&
      typeof numbers === 'object' &&
      numbers !== null;
    if (!isWhole) return undefined;
    return {
      step,
      verdict: verdict as HealthVerdict,
      reasons: reasons.map(String),
      numbers: Object.fromEntries(Object.entries(numbers).filter(([, value]) => typeof value === 'number')),
    };
  } catch {
    return undefined;
  }
}

/** What is known of a training at its end. Its weights are finite: others cannot be saved. */
export function runEndOf({ step, counters }: Pick<TrainingSnapshot, 'step' | 'counters'>): RunEnd {
  return { steps: step, skipped: counters['skipped'] ?? 0, nonFinite: [] };
}
