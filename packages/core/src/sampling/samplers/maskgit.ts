/**
 * MaskGIT's confidence decoding (Chang et al., arXiv 2202.04200) with a guidance ramp and Gumbel noise on the confidences,
 * as in Halton-MaskGIT: every step keeps the most confident of the drawn tokens.
 */
import { z } from 'zod';
import { NonFiniteError } from '../../errors.js';
import { finite } from '../../options/fields.js';
import { tokensPerStep, unmaskingSchedules } from '../../model/schedule.js';
import type { SamplingPlan } from '../plan.js';
import { defineSampler, guidanceScaleAt, stepOptions, tokenOptions, type Pass } from '../sampler.js';
import type { SamplerRandom } from '../sampler-random.js';

const options = z.strictObject({
  ...stepOptions,
  schedule: z.enum(unmaskingSchedules).default('arccos').describe('How many tokens each step decides.'),
  confidence: z
    .enum(['linear', 'warm-up', 'random'])
    .default('linear')
    .describe(
      'linear: log-probability of the drawn token plus Gumbel noise times the choice temperature of the step. warm-up: random in the first two steps, then the probability. random: always random.',
    ),
  choiceTemperature: finite(0).default(4.5).describe('Gumbel noise on the confidences at the first step.'),
  finalChoiceTemperature: finite(0).default(0).describe('The same at the last step; linear in between.'),
  ...tokenOptions,
});

/** Options of the sampler, defaults filled in. */
export type MaskgitOptions = z.output<typeof options>;

/** The sampler. With `reference` the number of tokens of a step is limited by what is left in the whole batch, as in the original. */
export const maskgitSampler = defineSampler({
  name: 'maskgit',
  description: 'keeps the most confident tokens of each step (MaskGIT, arXiv 2202.04200)',
  options,
  maximumPasses: ({ numSteps }) => numSteps,
  async *run({ options, plan, denoise, random }) {
    const scheduleOf = (wanted: number): number[] =>
      wanted === 0 ? [] : tokensPerStep(options.schedule, options.numSteps, wanted);
    // Of the tokens that each sample wants; the original counts known ones too.
    const schedules = Array.from({ length: plan.batchSize }, (_, sample) =>
      scheduleOf(options.reference ? plan.length : plan.maskedIn(sample).length),
    );
    for (let step = 0; step < options.numSteps && plan.isOpen(); step++) {
      const pass = await denoise({
        guidanceScale: guidanceScaleAt(options, step),
        stepsLeft: options.numSteps - 1 - step,
        statistics: ['logProbabilities'],
      });
      keepMostConfident(plan, { step, counts: schedules.map((counts) => counts[step] ?? 0), pass, random, options });
      yield;
    }
  },
});

/** What a step decides from. */
export interface ConfidenceDecision {
  readonly step: number;
  /** Tokens that the schedule wants decided, of each sample. */
  readonly counts: readonly number[];
  readonly pass: Pick<Pass, 'tokens' | 'logProbabilities'>;
  readonly random: SamplerRandom;
  readonly options: MaskgitOptions;
}

/** As many tokens of a sample as its count says, at most what is left, and everything in the last step. Ties go to the first position. */
export function keepMostConfident(plan: SamplingPlan, decision: ConfidenceDecision): void {
  const { step, counts, pass, options } = decision;
  const takesAll = step === options.numSteps - 1 && !options.reference;
  const confidence = takesAll ? new Float64Array(plan.tokens.length) : confidences(decision);
  checkConfidence(confidence);
  const leftInBatch = plan.masked().length;
  const wantedOf = (count: number): number =>
    options.reference ? Math.min(count, leftInBatch) : takesAll ? plan.length : count;
  for (let sample = 0; sample < plan.batchSize; sample++) {
    const masked = plan.maskedIn(sample).sort((i, j) => confidence[j]! - confidence[i]! || i - j);
    for (const i of masked.slice(0, Math.max(0, wantedOf(counts[sample]!)))) plan.unmask(i, pass.tokens[i]!);
  }
}

/** A position whose confidence is no number has no place in the order. @throws NonFiniteError */
function checkConfidence(confidence: Float64Array): void {
  const wrong = confidence.findIndex((value) => Number.isNaN(value));
  if (wrong >= 0)
    throw new NonFiniteError(`sampler: the confidence of position ${wrong} is no number; were too few draws given?`);
}

/** Confidence of every position, in float64; those of decided positions are not used. */
export function confidences({ step, pass, random, options }: ConfidenceDecision): Float64Array {
  const { confidence, choiceTemperature, finalChoiceTemperature, numSteps } = options;
  switch (confidence) {
    case 'linear': {
      const progress = numSteps === 1 ? 1 : step / (numSteps - 1);
      const scale = choiceTemperature + (finalChoiceTemperature - choiceTemperature) * progress;
      if (scale === 0) return Float64Array.from(pass.logProbabilities);
      const gumbel = random.gumbel(step);
      return Float64Array.from(pass.logProbabilities, (value, i) => value + scale * gumbel[i]!);
    }
    case 'warm-up':
      return step < 2
        ? Float64Array.from(random.uniform('confidence', step))
        : Float64Array.from(pass.logProbabilities, (value) => Math.exp(value));
    case 'random':
      return Float64Array.from(random.uniform('confidence', step));
    default:
      return confidence satisfies never;
  }
}
