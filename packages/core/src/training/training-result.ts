/** What every training program does at the end of a step: numbers to log, counters, and the policy for NaN. */
import { NonFiniteError } from '../errors.js';
import type { NonFinitePolicy } from './optimizer.js';
import type { HostTree } from '../tensors/tensors.js';
import type { Counters, StepResult } from './training.js';

/** One optimizer update of a step. */
export interface UpdateOutputs {
  /** The counter of updates that it advances. */
  readonly counter: string;
  /** float32 scalars, `applied` (0 or 1) among them; the others become metrics. */
  readonly outputs: HostTree;
  /** Prepended to the names of its metrics: `generator/`. @default '' */
  readonly prefix?: string;
}

/** Arguments of `finishStep`. */
export interface FinishStepOptions {
  /** For messages. */
  readonly program: string;
  readonly step: number;
  readonly counters: Counters;
  readonly policy: NonFinitePolicy;
  readonly updates: readonly UpdateOutputs[];
  /** Further metrics. */
  readonly metrics: Readonly<Record<string, number>>;
}

/**
 * Metrics and new counters of a step. If an update was not applied and the policy is `throw`, the result holds the
 * NonFiniteError that ends the run, beside the counters of a skipped step: the state is that of one.
 */
export function finishStep(options: FinishStepOptions): StepResult {
  const { program, step, policy, updates } = options;
  const metrics: Record<string, number> = { ...options.metrics };
  const counters: Record<string, number> = { ...options.counters };
  let skipped = false;
  let failure: NonFiniteError | undefined;
  for (const { counter, outputs, prefix = '' } of updates) {
    for (const [name, { shape, data }] of Object.entries(outputs))
      if (name !== 'applied' && shape.length === 0) metrics[`${prefix}${name}`] = data[0]!;
    if (outputs['applied']!.data[0] === 1) {
      counters[counter] = (counters[counter] ?? 0) + 1;
      continue;
    }
    if (policy === 'throw')
      failure ??= new NonFiniteError(
        `${program}: step ${step} (counted from 0): ${prefix}loss is ${outputs['loss']!.data[0]}, ${prefix}gradientNorm is ${outputs['gradientNorm']!.data[0]}; both must be finite`,
        { hint: 'resume from the last checkpoint with a lower learning rate, or set onNonFinite to "skip"' },
      );
    skipped = true;
  }
  if (skipped) counters['skipped'] = (counters['skipped'] ?? 0) + 1;
  return { metrics, counters, ...(skipped ? { skipped } : {}), ...(failure ? { failure } : {}) };
}
