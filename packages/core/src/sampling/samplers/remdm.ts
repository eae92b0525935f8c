/**
 * ReMDM (Wang et al., arXiv 2503.00307): ancestral sampling that masks decided tokens again with probability sigma, so that
 * later passes can correct earlier ones, and keeps the marginals of the chain.
 */
import { z } from 'zod';
import { finite } from '../../options/fields.js';
import { maskedFraction, timeOptions, timeSteps } from '../mask-time.js';
import type { SamplingPlan } from '../plan.js';
import { defineSampler, guidanceScaleAt, stepOptions, tokenOptions } from '../sampler.js';

const options = z.strictObject({
  ...stepOptions,
  numSteps: stepOptions.numSteps.default(32).describe('Steps.'),
  variant: z
    .enum(['cap', 'rescale', 'conf', 'loop'])
    .default('cap')
    .describe(
      'Which sigma: cap min(eta, the largest allowed); rescale eta times the largest; conf the largest, shared out to tokens that were improbable when they were decided; loop eta between two times, none elsewhere.',
    ),
  eta: finite(0, 1).default(0.02).describe('Strength of the remasking; not for conf.'),
  loopFrom: finite(0, 1).default(0.55).describe('loop: time at which remasking begins.'),
  loopTo: finite(0, 1).default(0.05).describe('loop: time at which it ends.'),
  loopKept: finite(0, 1).default(0.9).describe('loop: fraction of decided tokens in between.'),
  ...timeOptions,
  ...tokenOptions,
});

type RemdmOptions = z.output<typeof options>;

/** The sampler. Tokens that were given are never masked. */
export const remdmSampler = defineSampler({
  name: 'remdm',
  description: 'masks decided tokens again, so that later passes correct earlier ones (arXiv 2503.00307)',
  options,
  maximumPasses: ({ numSteps }) => numSteps,
  async *run({ options, plan, denoise, random }) {
    /** Probability that each decided token had when it was decided. */
    const confidence = new Float64Array(plan.tokens.length);
    const isConfident = options.variant === 'conf';
    for (const [step, [t, s]] of timeSteps(options.numSteps, 0).entries()) {
      const pass = await denoise({
        guidanceScale: guidanceScaleAt(options, step),
        stepsLeft: options.numSteps - 1 - step,
        ...(isConfident ? { statistics: ['logProbabilities'] as const } : {}),
      });
      const [keptBefore, keptAfter] = [keptFraction(options, t), keptFraction(options, s)];
      const largest = keptBefore === 0 ? 1 : Math.min(1, (1 - keptAfter) / keptBefore);
      const sigma = isConfident ? confidentSigma(plan, confidence, largest) : sigmaOf(options, t, largest);
      const [unmask, remask] = [random.choices('unmask', step), random.choices('remask', step)];
      // A masked position does not know its sigma before it is decided: conf uses none for it.
      const unmasks = (keptAfter - (1 - (isConfident ? 0 : sigma(0))) * keptBefore) / (1 - keptBefore);
      const [masked, decided] = [plan.masked(), plan.decided()];
      for (const i of masked)
        if (unmask.chance(i, unmasks)) {
          plan.unmask(i, pass.tokens[i]!);
          if (isConfident) confidence[i] = Math.exp(pass.logProbabilities[i]!);
        }
      for (const i of decided) if (remask.chance(i, sigma(i))) plan.mask(i);
      yield isConfident ? confidence : undefined;
    }
  },
});

/** alpha(t): fraction of decided tokens. */
function keptFraction(options: RemdmOptions, t: number): number {
  const { variant, loopFrom, loopTo, loopKept } = options;
  if (t === 0) return 1;
  if (t === 1) return 0;
  if (variant !== 'loop') return 1 - maskedFraction(options.time, t);
  if (t > loopFrom) return ((1 - t) * loopKept) / (1 - loopFrom);
  return t > loopTo ? loopKept : 1 - (t * (1 - loopKept)) / loopTo;
}

function sigmaOf({ variant, eta, loopFrom, loopTo }: RemdmOptions, t: number, largest: number): () => number {
  if (variant === 'rescale') return () => eta * largest;
  const isActive = variant === 'cap' || (t <= loopFrom && t > loopTo);
  return () => (isActive ? Math.min(eta, largest) : 0);
}

/** `largest` times the softmax of minus the confidences over the decided positions of a sample that were not given. */
function confidentSigma(plan: SamplingPlan, confidence: Float64Array, largest: number): (index: number) => number {
  const totals = new Float64Array(plan.batchSize);
  for (const i of plan.decided()) totals[Math.floor(i / plan.length)]! += Math.exp(-confidence[i]!);
  return (i) => (largest * Math.exp(-confidence[i]!)) / totals[Math.floor(i / plan.length)]!;
}
