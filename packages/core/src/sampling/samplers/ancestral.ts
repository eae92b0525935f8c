/**
 * Ancestral sampling: the exact posterior of the absorbing chain between two times, every position on its own (MDLM, Sahoo
 * et al., arXiv 2406.07524). Also known as the Euler method, of first order in the step.
 */
import { z } from 'zod';
import { maskedFraction, timeOptions, timeSteps } from '../mask-time.js';
import { defineSampler, guidanceScaleAt, stepOptions, tokenOptions } from '../sampler.js';

/** The sampler. */
export const ancestralSampler = defineSampler({
  name: 'ancestral',
  description: 'unmasks each position with the posterior of the chain: Euler, MDLM (arXiv 2406.07524)',
  options: z.strictObject({ ...stepOptions, ...timeOptions, ...tokenOptions }),
  maximumPasses: ({ numSteps }) => numSteps,
  async *run({ options, plan, denoise, random }) {
    for (const [step, [t, s]] of timeSteps(options.numSteps, 0).entries()) {
      if (!plan.isOpen()) return;
      const { tokens } = await denoise({
        guidanceScale: guidanceScaleAt(options, step),
        stepsLeft: options.numSteps - 1 - step,
      });
      const staysMasked = maskedFraction(options.time, s) / maskedFraction(options.time, t);
      const unmask = random.choices('unmask', step);
      for (const i of plan.masked()) if (unmask.chance(i, 1 - staysMasked)) plan.unmask(i, tokens[i]!);
      yield;
    }
  },
});
