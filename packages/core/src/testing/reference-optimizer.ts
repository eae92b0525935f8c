/** Adam and AdamW a second time, for tests: float64, one number at a time, with everything that belongs to an update. */
import type { OptimizerOptions } from '../training/optimizer-options.js';

/** Numbers by parameter name. */
export type Numbers = Record<string, number[]>;

/** One network in training. */
export interface ReferenceNetwork {
  parameters: Numbers;
  average: Numbers;
  firstMoments: Numbers;
  secondMoments: Numbers;
  /** Updates made. */
  updates: number;
}

/** Arguments of one update. */
export interface ReferenceUpdate {
  readonly gradients: Numbers;
  readonly learningRate: number;
  /** Limit of the average's decay; undefined for no average, or no update of it now. */
  readonly averageDecay?: number | undefined;
}

/** A network before its first update. */
export function referenceNetwork(parameters: Numbers): ReferenceNetwork {
  const copy = (fill?: number) =>
    Object.fromEntries(Object.entries(parameters).map(([name, values]) => [name, values.map((x) => fill ?? x)]));
  return { parameters: copy(), average: copy(), firstMoments: copy(0), secondMoments: copy(0), updates: 0 };
}

/** Root of the sum of all squares. */
export function normOf(gradients: Numbers): number {
  return Math.sqrt(
    Object.values(gradients)
      .flat()
      .reduce((sum, value) => sum + value * value, 0),
  );
}

/**
 * Makes one update in place: clip to the norm, add coupled decay, moments, bias corrections, decoupled decay, step; then
 * the average moves towards the new parameters with decay min(limit, (1 + s) / (10 + s)), s the updates before.
 */
export function referenceUpdate(network: ReferenceNetwork, options: OptimizerOptions, update: ReferenceUpdate): void {
  const { kind = 'adam', beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weightDecay = 0, clipNorm } = options;
  const norm = normOf(update.gradients);
  const clip = clipNorm === undefined ? 1 : Math.min(1, clipNorm / (norm + 1e-6));
  const t = network.updates + 1;
  const decay = update.averageDecay === undefined ? 1 : Math.min(update.averageDecay, t / (t + 9));
  for (const [name, values] of Object.entries(network.parameters))
    values.forEach((value, i) => {
      const gradient = update.gradients[name]![i]! * clip + (kind === 'adam' ? weightDecay * value : 0);
      const m = beta1 * network.firstMoments[name]![i]! + (1 - beta1) * gradient;
      const v = beta2 * network.secondMoments[name]![i]! + (1 - beta2) * gradient ** 2;
      const direction = m / (1 - beta1 ** t) / (Math.sqrt(v / (1 - beta2 ** t)) + epsilon);
      const shrunk = kind === 'adamw' ? value * (1 - update.learningRate * weightDecay) : value;
      const moved = shrunk - update.learningRate * direction;
      network.firstMoments[name]![i] = m;
      network.secondMoments[name]![i] = v;
      values[i] = moved;
      network.average[name]![i] = decay * network.average[name]![i]! + (1 - decay) * moved;
    });
  network.updates++;
}
