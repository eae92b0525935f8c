/**
 * Halton order (Besnier et al., arXiv 2503.17076): positions are decided in the order of a low-discrepancy sequence, so
 * that the tokens of one step are far apart and depend little on each other.
 */
import { z } from 'zod';
import { tokensPerStep, unmaskingSchedules } from '../../model/schedule.js';
import { defineSampler, guidanceScaleAt, stepOptions, tokenOptions } from '../sampler.js';

const options = z.strictObject({
  ...stepOptions,
  numSteps: stepOptions.numSteps.default(32).describe('Steps.'),
  guidanceRamp: stepOptions.guidanceRamp
    .default('constant')
    .describe('linear: from 1 at the first step to guidanceScale at the last. constant: always guidanceScale.'),
  schedule: z
    .enum(['halton', ...unmaskingSchedules])
    .default('halton')
    .describe(
      'How many tokens each step decides; halton: as the original, floor(L (1 - acos((i + 1) / T) / (pi / 2))) after step i.',
    ),
  randomize: z.boolean().default(true).describe('Begin at a random place of the order, another for each sample.'),
  ...tokenOptions,
});

/** The sampler. Tokens that were given are kept. */
export const haltonSampler = defineSampler({
  name: 'halton',
  description: 'decides far-apart positions together, in Halton order (arXiv 2503.17076)',
  options,
  maximumPasses: ({ numSteps }) => numSteps,
  async *run({ options, plan, denoise, random }) {
    const order = haltonOrder(...plan.grid);
    const starts = options.randomize ? random.wholeNumbers('roll', plan.length) : [];
    // The wanted positions of each sample, in its order.
    const wanted = Array.from({ length: plan.batchSize }, (_, sample) =>
      order
        .map((_, k) => sample * plan.length + order[(k + (starts[sample] ?? 0)) % plan.length]!)
        .filter((i) => plan.isMasked[i]),
    );
    const decidedAfter = wanted.map((indices) => (indices.length === 0 ? [] : decidedTokens(options, indices.length)));
    for (let step = 0; step < options.numSteps && plan.isOpen(); step++) {
      const { tokens } = await denoise({
        guidanceScale: guidanceScaleAt(options, step),
        stepsLeft: options.numSteps - 1 - step,
      });
      for (let sample = 0; sample < plan.batchSize; sample++)
        for (const i of wanted[sample]!.slice(0, decidedAfter[sample]![step]))
          if (plan.isMasked[i]) plan.unmask(i, tokens[i]!);
      yield;
    }
  },
});

/** Tokens decided after each step: at least one more than before as long as there are any, all of them in the end. */
function decidedTokens({ schedule, numSteps }: z.output<typeof options>, length: number): number[] {
  let sum = 0;
  const counts = schedule === 'halton' ? undefined : tokensPerStep(schedule, numSteps, length);
  return Array.from({ length: numSteps }, (_, i) => {
    if (i === numSteps - 1) return length;
    if (counts) return Math.min(length, (sum += Math.max(0, counts[i]!)));
    const arccos = Math.floor(length * (1 - Math.acos((i + 1) / numSteps) / (Math.PI / 2)));
    return Math.min(length, Math.max(i + 1, arccos));
  });
}

/**
 * All cells of a grid in Halton order: rows follow the sequence of base 2, columns that of base 3, each cell where it comes
 * first.
 *
 * @returns row-major indices.
 */
export function haltonOrder(rows: number, columns: number): number[] {
  const seen = new Set<number>();
  for (let n = 1; seen.size < rows * columns; n++)
    seen.add(Math.floor(radicalInverse(n, 2) * rows) * columns + Math.floor(radicalInverse(n, 3) * columns));
  return [...seen];
}

/** The digits of n mirrored at the point: element n of the sequence of van der Corput, in [0, 1). */
function radicalInverse(n: number, base: number): number {
  // One division: sums of rounded digits fall just below cell borders such as 7 / 9.
  let [digits, scale] = [0, 1];
  for (; n > 0; n = Math.floor(n / base), scale *= base) digits = digits * base + (n % base);
  return digits / scale;
}
