/** The host's half of the multi-step sampler: random numbers, and the choice of the tokens that stay. */
import type { MultiStepPlan, ResolvedMultiStepOptions } from './multi-step.js';
import { randomStream } from './random.js';

/** Random numbers of one batch, by step; the same arguments give the same numbers. All arrays are [batch * L]. */
export interface MultiStepDraws {
  /** Uniform in [0, 1), for drawing tokens. */
  uniforms(step: number): Float32Array;
  /** Standard Gumbel, for `linear` confidence. */
  gumbel(step: number): ArrayLike<number>;
  /** Uniform in [0, 1), for the steps with random confidence. */
  randomConfidence(step: number): ArrayLike<number>;
}

/**
 * Draws from the counter-based generator. Sample `firstSample + b` depends on the seed and its own index alone, so that
 * the batch size changes nothing.
 */
export function randomMultiStepDraws(
  seed: number,
  firstSample: number,
  size: { readonly batchSize: number; readonly length: number },
): MultiStepDraws {
  const { batchSize, length } = size;
  const uniforms = (name: string, step: number): Float32Array => {
    const values = new Float32Array(batchSize * length);
    for (let b = 0; b < batchSize; b++)
      values.set(randomStream(seed, firstSample + b, `multi-step/${name}/${step}`).uniform(length), b * length);
    return values;
  };
  return {
    uniforms: (step) => uniforms('tokens', step),
    // A uniform of exactly 0 stands for the half of its cell, 2^-25.
    gumbel: (step) => Float64Array.from(uniforms('gumbel', step), (u) => -Math.log(-Math.log(Math.max(u, 2 ** -25)))),
    randomConfidence: (step) => uniforms('confidence', step),
  };
}

/** What a step of the sampler decides from. */
export interface ConfidenceStep {
  readonly step: number;
  /** Tokens that the schedule wants decided. */
  readonly count: number;
  /** [batch * L]. */
  readonly drawnTokens: Int32Array;
  /** Of the drawn tokens, [batch * L]. */
  readonly logProbabilities: Float32Array;
  readonly draws: MultiStepDraws;
  readonly options: ResolvedMultiStepOptions;
}

/**
 * Keeps the most confident of the drawn tokens at masked positions: `count` per sample, at most what is left, and
 * everything that is left in the last step. With `reference` the number is min(count, what is left in the whole batch),
 * as in the original. Ties go to the first position. Changes the plan.
 */
export function selectConfident(plan: MultiStepPlan, decision: ConfidenceStep): void {
  const { step, options, drawnTokens } = decision;
  const confidence = confidences(decision);
  const { length } = plan;
  const isLast = step === options.numSteps - 1;
  const leftInBatch = plan.isMasked.reduce((sum, masked) => sum + masked, 0);
  for (let start = 0; start < plan.tokens.length; start += length) {
    const masked = [];
    for (let i = start; i < start + length; i++) if (plan.isMasked[i]) masked.push(i);
    masked.sort((i, j) => confidence[j]! - confidence[i]! || i - j);
    const wanted = options.reference ? Math.min(decision.count, leftInBatch) : isLast ? length : decision.count;
    for (const i of masked.slice(0, Math.max(0, wanted))) {
      plan.tokens[i] = drawnTokens[i]!;
      plan.isMasked[i] = 0;
    }
  }
}

/** Confidence of every position, in float64; those of decided positions are not used. */
export function confidences(decision: ConfidenceStep): Float64Array {
  const { step, logProbabilities, draws, options } = decision;
  const { confidence, choiceTemperature, numSteps } = options;
  switch (confidence) {
    case 'linear': {
      const scale = numSteps === 1 ? 0 : choiceTemperature * (1 - step / (numSteps - 1));
      if (scale === 0) return Float64Array.from(logProbabilities);
      const gumbel = draws.gumbel(step);
      return Float64Array.from(logProbabilities, (value, i) => value + scale * gumbel[i]!);
    }
    case 'warm-up':
      return step < 2
        ? Float64Array.from(draws.randomConfidence(step))
        : Float64Array.from(logProbabilities, (value) => Math.exp(value));
    case 'random':
      return Float64Array.from(draws.randomConfidence(step));
    default:
      return confidence satisfies never;
  }
}
