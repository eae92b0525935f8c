/**
 * Health of a distillation: the auxiliary model must be able to follow the generator, and the generator must keep its
 * diversity. Both fail silently: accuracy and a calm average look best exactly when modes are being lost.
 */

/** Watches metrics of the steps and warns, each thing once. */
export interface HealthWatch {
  /** @returns warnings that are new with this step. */
  observe(step: number, metrics: Readonly<Record<string, number>>): string[];
  /** State in one line, for the end of a run. */
  summary(): string | undefined;
}

/** Total variation between teacher and auxiliary model above which training oscillates (good runs end near 0.1). */
const highVariation = 0.3;
/** Part of its largest value that the token entropy may fall to before it means fewer and fewer different images. */
const lowEntropyPart = 0.4;
/** Steps over which the observations are averaged. */
const window = 50;

/** Makes a watch for a run of `numSteps`. */
export function watchHealth(numSteps: number): HealthWatch {
  const variation = slidingMean(window);
  const entropy = slidingMean(window);
  const warned = new Set<string>();
  let highestEntropy = 0;
  /** Early on the auxiliary model still has to find the generator. */
  const settled = Math.max(2 * window, Math.min(300, 0.3 * numSteps));
  return {
    observe(step, metrics) {
      const values = {
        variation: metrics['generator/totalVariation'],
        entropy: metrics['generator/tokenEntropy'],
      };
      if (values.variation !== undefined) variation.add(values.variation);
      if (values.entropy !== undefined) {
        entropy.add(values.entropy);
        if (step >= settled && entropy.isFull()) highestEntropy = Math.max(highestEntropy, entropy.mean());
      }
      const warnings: [key: string, text: string][] = [];
      if (step >= settled && variation.isFull() && variation.mean() > highVariation)
        warnings.push([
          'variation',
          `warning: auxiliary model and teacher differ by ${variation.mean().toFixed(2)} in total variation (good runs: below 0.15 by now); generator and auxiliary model chase each other: lower beta1 and the generator's learning rate`,
        ]);
      if (step >= settled && entropy.isFull() && entropy.mean() < lowEntropyPart * highestEntropy)
        warnings.push([
          'entropy',
          `warning: the token entropy fell from ${highestEntropy.toFixed(2)} to ${entropy.mean().toFixed(2)} nats: the generator is collapsing to few images; lower teacherGuidance, beta1 or the learning rate`,
        ]);
      return warnings.flatMap(([key, text]) => {
        if (warned.has(key)) return [];
        warned.add(key);
        return [text];
      });
    },
    summary() {
      if (!variation.hasAny() || !entropy.hasAny()) return undefined;
      return `health: total variation auxiliary/teacher ${variation.mean().toFixed(3)}, token entropy ${entropy.mean().toFixed(2)} nats`;
    },
  };
}

function slidingMean(size: number) {
  const values: number[] = [];
  return {
    add(value: number) {
      values.push(value);
      if (values.length > size) values.shift();
    },
    isFull: () => values.length === size,
    hasAny: () => values.length > 0,
    mean: () => values.reduce((sum, value) => sum + value, 0) / values.length,
  };
}
