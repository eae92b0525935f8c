/**
 * Theta-trapezoidal method (Ren et al., arXiv 2502.00234): a tau-leap over theta of the step, then from there a leap over
 * the rest with rates extrapolated from both ends, (a1 mu* - a2 mu) clipped at 0, a1 = 1 / (2 theta (1 - theta)), a2 = a1 -
 * 1. Of second order where positions depend weakly on each other; two passes a step.
 */
import { z } from 'zod';
import { finite } from '../../options/fields.js';
import { finalTimeOption, timeOptions, timeSteps, unmaskingRate } from '../mask-time.js';
import { defineSampler, guidanceScaleAt, stepOptions, tokenOptions } from '../sampler.js';

/** The sampler. */
export const thetaTrapezoidalSampler = defineSampler({
  name: 'theta-trapezoidal',
  description: 'second-order leaps with two passes a step (arXiv 2502.00234)',
  options: z.strictObject({
    ...stepOptions,
    numSteps: stepOptions.numSteps.default(8).describe('Steps, of two passes each.'),
    theta: finite(0.05, 0.95).default(0.5).describe('Where within a step the second pass is made.'),
    ...timeOptions,
    finalTime: finalTimeOption,
    ...tokenOptions,
  }),
  maximumPasses: ({ numSteps }) => 2 * numSteps + 1,
  async *run({ options, plan, denoise, random }) {
    const { theta, time } = options;
    const a1 = 1 / (2 * theta * (1 - theta));
    const a2 = a1 - 1;
    for (const [step, [t, s]] of timeSteps(options.numSteps, options.finalTime).entries()) {
      if (!plan.isOpen()) return;
      const guidanceScale = guidanceScaleAt(options, step);
      const rate = unmaskingRate(time, t);
      const stepsLeft = options.numSteps - 1 - step;
      const before = await denoise({ guidanceScale, stepsLeft, statistics: ['probabilities'] });
      const first = random.choices('first leap', step);
      for (const i of plan.masked())
        if (first.chance(i, 1 - Math.exp(-theta * (t - s) * rate))) plan.unmask(i, before.tokens[i]!);
      if (plan.isOpen()) {
        const between = await denoise({ guidanceScale, stepsLeft, statistics: ['probabilities'] });
        const rateBetween = unmaskingRate(time, t - theta * (t - s));
        const second = random.choices('second leap', step);
        const value = random.choices('second value', step);
        const width = before.probabilities.length / plan.tokens.length;
        const rates = new Float64Array(width);
        for (const i of plan.masked()) {
          for (let k = 0; k < width; k++)
            rates[k] = Math.max(
              0,
              a1 * rateBetween * between.probabilities[i * width + k]! -
                a2 * rate * before.probabilities[i * width + k]!,
            );
          const total = rates.reduce((sum, each) => sum + each, 0);
          if (total > 0 && second.chance(i, 1 - Math.exp(-(1 - theta) * (t - s) * total)))
            plan.unmask(i, value.pick(i, rates));
        }
      }
      yield;
    }
    if (!plan.isOpen()) return;
    const { tokens } = await denoise({ guidanceScale: options.guidanceScale, stepsLeft: 0 });
    for (const i of plan.masked()) plan.unmask(i, tokens[i]!);
    yield;
  },
});
