/** The host's half of the multi-step sampler: random numbers, and the choice of the tokens that stay. */
import { requireInteger } from './check-options.js';
import { checkSpecTree } from './check-tensors.js';
import { NonFiniteError } from './errors.js';
import type { MultiStepPlan, ResolvedMultiStepOptions } from './multi-step.js';
import { sequenceLength, type TokenSpace } from './model.js';
import { randomStream, type RandomStream } from './random.js';
import { randomTokenDraws, tokenDrawSpec, type SamplingOptions } from './sampling.js';
import { sizeOf } from './tensors.js';

/** Random numbers of one batch, by step; the same arguments give the same numbers. */
export interface MultiStepDraws {
  /** As `tokenDrawSpec` says, with a leading batch axis. */
  tokenDraws(step: number): Float32Array;
  /** [batch * L]: standard Gumbel, for `linear` confidence. */
  gumbel(step: number): ArrayLike<number>;
  /** [batch * L]: uniform in [0, 1), for the steps with random confidence. */
  randomConfidence(step: number): ArrayLike<number>;
}

/** What a batch of draws is for. */
export interface MultiStepDrawSize {
  readonly batchSize: number;
  readonly tokenSpace: TokenSpace;
  readonly sampling?: SamplingOptions;
}

/**
 * Draws from the counter-based generator. Sample `firstSample + b` depends on the seed and its own index alone, so that
 * the batch size changes nothing.
 */
export function randomMultiStepDraws(
  seed: number,
  firstSample: number,
  { batchSize, tokenSpace, sampling = {} }: MultiStepDrawSize,
): MultiStepDraws {
  requireInteger(batchSize, 'sampler: batchSize');
  // Checked now: the numbers themselves are drawn when a step needs them.
  randomStream(seed, firstSample, 'multi-step');
  checkSpecTree('sampler: draws', { tokens: { dtype: 'float32', shape: [batchSize, sequenceLength(tokenSpace)] } });
  const rows = (name: string, step: number, size: number, draw: (random: RandomStream) => Float32Array) => {
    const values = new Float32Array(batchSize * size);
    for (let b = 0; b < batchSize; b++)
      values.set(draw(randomStream(seed, firstSample + b, `multi-step/${name}/${step}`)), b * size);
    return values;
  };
  const length = sequenceLength(tokenSpace);
  const uniforms = (name: string, step: number) => rows(name, step, length, (random) => random.uniform(length));
  const perSample = sizeOf(tokenDrawSpec(tokenSpace, sampling).shape);
  return {
    tokenDraws: (step) => rows('tokens', step, perSample, (random) => randomTokenDraws(random, perSample, sampling)),
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
  const { length } = plan;
  const takesAll = step === options.numSteps - 1 && !options.reference;
  const confidence = takesAll ? new Float64Array(plan.tokens.length) : confidences(decision);
  checkConfidence(confidence);
  const leftInBatch = plan.isMasked.reduce((sum, masked) => sum + masked, 0);
  for (let start = 0; start < plan.tokens.length; start += length) {
    const masked = [];
    for (let i = start; i < start + length; i++) if (plan.isMasked[i]) masked.push(i);
    masked.sort((i, j) => confidence[j]! - confidence[i]! || i - j);
    const wanted = options.reference ? Math.min(decision.count, leftInBatch) : takesAll ? length : decision.count;
    for (const i of masked.slice(0, Math.max(0, wanted))) {
      plan.tokens[i] = drawnTokens[i]!;
      plan.isMasked[i] = 0;
    }
  }
}

/** A position whose confidence is no number has no place in the order. @throws NonFiniteError */
function checkConfidence(confidence: Float64Array): void {
  const wrong = confidence.findIndex((value) => Number.isNaN(value));
  if (wrong >= 0)
    throw new NonFiniteError(`sampler: the confidence of position ${wrong} is no number; were too few draws given?`);
}

/** Confidence of every position, in float64; those of decided positions are not used. */
export function confidences(decision: ConfidenceStep): Float64Array {
  const { step, logProbabilities, draws, options } = decision;
  const { confidence, choiceTemperature, finalChoiceTemperature, numSteps } = options;
  switch (confidence) {
    case 'linear': {
      const progress = numSteps === 1 ? 1 : step / (numSteps - 1);
      const scale = choiceTemperature + (finalChoiceTemperature - choiceTemperature) * progress;
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
