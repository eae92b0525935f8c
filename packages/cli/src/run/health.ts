/**
 * Health of a distillation: the auxiliary model must be able to follow the generator, and the generator must keep its
 * diversity. Both fail silently: accuracy and a calm average look best exactly when modes are being lost.
 */
import { formatNumber } from './progress.js';

/** How a training ended. `unknown`: too little of it was seen to tell. */
export type HealthVerdict = 'good' | 'doubtful' | 'destroyed' | 'unknown';

/** A verdict with its reasons, in words. */
export interface Health {
  readonly verdict: HealthVerdict;
  /** Empty where nothing is wrong. */
  readonly reasons: readonly string[];
  /** The numbers behind it. */
  readonly numbers: Readonly<Record<string, number>>;
}

/** What is known of a run at its end. */
export interface RunEnd {
  /** Steps done in all, and those of them that were skipped because something was not finite. */
  readonly steps: number;
  readonly skipped: number;
  /** Names of result tensors that hold NaN or infinity. */
  readonly nonFinite: readonly string[];
}

/** Watches metrics of the steps and warns, each thing once. */
export interface HealthWatch {
  /** @returns warnings that are new with this step. */
  observe(step: number, metrics: Readonly<Record<string, number>>): string[];
  /** How it ended. `samples`: the last ones of the generator, if there are any. */
  verdict(end: RunEnd, samples?: FinalSamples): Health;
}

/** Samples of the finished generator. */
export interface FinalSamples {
  /** Tokens, a row for each sample. */
  readonly rows: readonly (readonly number[])[];
  /** What each was asked for; samples of the same condition should differ. */
  readonly conditions: readonly string[];
}

/** Total variation between teacher and auxiliary model above which training oscillates (good runs end near 0.1). */
const highVariation = 0.3;
/** Total variation at which the two have lost each other. */
const lostVariation = 0.6;
/** Part of its largest value that the token entropy may fall to before it means fewer and fewer different images. */
const lowEntropyPart = 0.4;
/** Part of its first value below which nothing is left of the token entropy. */
const lostEntropyPart = 0.1;
/** Nats below which a teacher is as good as deterministic, and a generator like it has not collapsed. */
const leastEntropy = 0.1;
/** Steps over which the observations are averaged. */
const window = 50;
/** Steps that say something about a run. */
const leastSteps = 10;

/** Makes a watch for a run of `numSteps`. */
export function watchHealth(numSteps: number): HealthWatch {
  const variation = slidingMean(window);
  const entropy = slidingMean(window);
  let firstEntropy = 0;
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
        if (step <= leastSteps) firstEntropy = Math.max(firstEntropy, values.entropy);
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
    verdict(end, samples) {
      const { destroyed, doubtful } = endProblems(end);
      const numbers: Record<string, number> = {};
      if (variation.hasAny()) numbers['totalVariation'] = variation.mean();
      if (entropy.hasAny()) numbers['tokenEntropy'] = entropy.mean();
      if (end.steps >= leastSteps && variation.hasAny() && entropy.hasAny()) {
        const start = Math.max(highestEntropy, firstEntropy);
        const text = `the token entropy fell from ${start.toFixed(2)} to ${entropy.mean().toFixed(2)} nats`;
        if (start > leastEntropy) {
          const isLost = entropy.mean() < lostEntropyPart * start || entropy.mean() < lowEntropyPart * highestEntropy;
          if (isLost) destroyed.push(`${text}: the generator collapsed to few images`);
          const sameness = samples && describeSameness(samples);
          if (sameness !== undefined) destroyed.push(sameness);
        }
        const difference = `auxiliary model and teacher differ by ${variation.mean().toFixed(2)} in total variation`;
        if (variation.mean() > lostVariation) destroyed.push(`${difference}: what the generator learned is noise`);
        else if (variation.mean() > highVariation) doubtful.push(`${difference}; good runs end below 0.15`);
      }
      if (!variation.hasAny()) {
        // Another algorithm, without an auxiliary model: its samples are all that there is to see.
        const sameness = samples && describeSameness(samples);
        if (sameness !== undefined) destroyed.push(sameness);
      }
      return judge({ destroyed, doubtful, isKnown: end.steps >= leastSteps && variation.hasAny() }, numbers);
    },
  };
}

interface Problems {
  readonly destroyed: string[];
  readonly doubtful: string[];
}

/** Problems of any training: weights or steps that are not finite. */
export function endProblems({ steps, skipped, nonFinite }: RunEnd): Problems {
  const destroyed: string[] = [];
  const doubtful: string[] = [];
  if (nonFinite.length > 0) destroyed.push(`the result holds NaN or infinity (${nonFinite.slice(0, 3).join(', ')})`);
  const text = `${skipped} of ${steps} steps were skipped, because a loss or gradient was not finite`;
  if (steps > 0 && skipped > 0.5 * steps) destroyed.push(text);
  else if (steps > 0 && skipped > 0.05 * steps) doubtful.push(text);
  return { destroyed, doubtful };
}

/** The verdict that problems add up to. */
export function judge(
  { destroyed, doubtful, isKnown }: Problems & { readonly isKnown: boolean },
  numbers: Readonly<Record<string, number>> = {},
): Health {
  const verdict = destroyed.length > 0 ? 'destroyed' : doubtful.length > 0 ? 'doubtful' : isKnown ? 'good' : 'unknown';
  return { verdict, reasons: [...destroyed, ...doubtful], numbers };
}

/** The verdict of a teacher's training, from the loss of its first and last steps. */
export function teacherHealth(
  end: RunEnd,
  losses: { readonly first: number; readonly last: number; readonly frequencies: number; readonly numTokens: number },
): Health {
  const { destroyed, doubtful } = endProblems(end);
  const { first, last, frequencies, numTokens } = losses;
  const isKnown = end.steps >= leastSteps && Number.isFinite(last);
  if (isKnown && last > Math.log(numTokens) + 0.1 && last > first + 0.2)
    destroyed.push(
      `a masked token costs ${last.toFixed(2)} nats, more than a guess among ${numTokens} (${Math.log(numTokens).toFixed(2)})`,
    );
  else if (end.steps >= 4 * window && last > frequencies)
    doubtful.push(
      `a masked token costs ${last.toFixed(2)} nats, no less than the frequencies of the tokens alone (${frequencies.toFixed(2)})`,
    );
  return judge({ destroyed, doubtful, isKnown }, Number.isFinite(last) ? { maskedNll: last } : {});
}

/** The verdict of a tokenizer's training, from its error on test images and the codes in use. */
export function tokenizerHealth(
  end: RunEnd,
  { testError, variance, perplexity }: { testError: number; variance: number; perplexity: number | undefined },
): Health {
  const { destroyed, doubtful } = endProblems(end);
  const isKnown = end.steps >= 2 * window;
  if (!Number.isFinite(testError)) destroyed.push('reconstructions of test images are not finite');
  else if (isKnown && testError >= 0.9 * variance && variance > 0)
    destroyed.push(
      `reconstructions are no better than the mean image (error ${testError.toFixed(4)}, variance ${variance.toFixed(4)})`,
    );
  if (isKnown && perplexity !== undefined && perplexity < 1.5) destroyed.push('one code stands for everything');
  return judge({ destroyed, doubtful, isKnown }, { testError, ...(perplexity === undefined ? {} : { perplexity }) });
}

/** One line for people. */
export function healthLine({ verdict, reasons, numbers }: Health): string {
  const shown = Object.entries(numbers).map(([name, value]) => `${name} ${formatNumber(value)}`);
  const why = reasons.length > 0 ? [reasons.join('; ')] : [];
  return `health: ${[verdict, ...why].join(': ')}${shown.length > 0 ? ` (${shown.join(', ')})` : ''}`;
}

/** What is wrong with samples that are too much alike, if anything. */
function describeSameness({ rows, conditions }: FinalSamples): string | undefined {
  const texts = rows.map((row) => row.join());
  const different = new Set(texts).size;
  if (rows.length > 1 && different === 1) return `all ${rows.length} samples are the same`;
  const numConditions = new Set(conditions).size;
  const perCondition = new Set(texts.map((text, i) => `${conditions[i] ?? ''} ${text}`)).size;
  return numConditions > 1 && rows.length >= 4 * numConditions && perCondition <= numConditions
    ? `all samples of one class are the same`
    : undefined;
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
