/**
 * Tau-leaping (Campbell et al., arXiv 2205.14987) for the absorbing chain: the rates of the reverse process are held over a
 * step. A position jumps at most once, so it stays masked with probability exp(-step * rate). Of first order.
 */
import { z } from 'zod';
import { finalTimeOption, timeOptions, timeSteps, unmaskingRate } from '../mask-time.js';
import { defineSampler, guidanceScaleAt, stepOptions, tokenOptions } from '../sampler.js';

/** The sampler. */
export const tauLeapingSampler = defineSampler({
  name: 'tau-leaping',
  description: 'holds the reverse rates over a step (arXiv 2205.14987)',
  options: z.strictObject({ ...stepOptions, ...timeOptions, finalTime: finalTimeOption, ...tokenOptions }),
  maximumPasses: ({ numSteps }) => numSteps + 1,
  async *run({ options, plan, denoise, random }) {
    for (const [step, [t, s]] of timeSteps(options.numSteps, options.finalTime).entries()) {
      if (!plan.isOpen()) return;
      const { tokens } = await denoise({
        guidanceScale: guidanceScaleAt(options, step),
        stepsLeft: options.numSteps - 1 - step,
      });
      const jumps = 1 - Math.exp(-(t - s) * unmaskingRate(options.time, t));
      const unmask = random.choices('unmask', step);
      for (const i of plan.masked()) if (unmask.chance(i, jumps)) plan.unmask(i, tokens[i]!);
      yield;
    }
    if (!plan.isOpen()) return;
    const { tokens } = await denoise({ guidanceScale: options.guidanceScale, stepsLeft: 0 });
    for (const i of plan.masked()) plan.unmask(i, tokens[i]!);
    yield;
  },
});
