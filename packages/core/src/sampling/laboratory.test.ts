/**
 * Samplers against known answers: what each samples from a law with exact conditionals is enumerated, so the numbers below
 * have no sampling noise. The law is `numpy.random.default_rng(0).dirichlet(numpy.ones(27) * 3)`, three tokens of three
 * values that depend weakly on each other; the expected errors of the leaping methods come from an independent program in
 * numpy that enumerates the same transitions.
 */
import { describe, expect, it } from 'vitest';
import { redrawn, sampledDistribution, totalVariation, type ExactLaw } from '../conformance/index.js';
import type { SamplerSettings } from '../model/sampler-options.js';
import { maskedFraction, maskTimes, unmaskingRate } from './mask-time.js';
import { int32 } from '../tensors/tensors.js';
import { parseOptions } from '../options/parse-options.js';
import { samplingPlan } from './plan.js';
import type { Pass } from './sampler.js';
import type { SamplerRandom } from './sampler-random.js';
import { haltonOrder } from './samplers/halton.js';
import { remdmSampler } from './samplers/remdm.js';

const law: ExactLaw = {
  length: 3,
  codebookSize: 3,
  probabilities: [
    0.037130779222406624, 0.04974962563587957, 0.024313606092416645, 0.06985575304573582, 0.021610901655786396,
    0.022878331188877155, 0.004991152057577035, 0.014268377663802545, 0.024170297329032926, 0.04383634807916976,
    0.03177442977613978, 0.022211990369864206, 0.0571788320782568, 0.021002200391017953, 0.02563999108087852,
    0.017220113157211232, 0.03116511046778237, 0.03913733334768962, 0.02239136269604264, 0.05371848746156819,
    0.014114792113719441, 0.07128008228668249, 0.04029185910919995, 0.0751896050431539, 0.08805317188977752,
    0.04250660449162462, 0.03431886226870631,
  ],
};

async function errors(numSteps: readonly number[], settings: SamplerSettings, target = law.probabilities) {
  const found = [];
  for (const steps of numSteps)
    found.push(
      totalVariation((await sampledDistribution(law, { ...settings, numSteps: steps })).probabilities, target),
    );
  return found;
}

/** To three digits, as the independent program prints them. */
function expectErrors(found: readonly number[], expected: readonly number[]): void {
  expect(found.map((error) => Number(error.toPrecision(3)))).toEqual(expected);
}

describe('leaps end at time 0.1, the rest is drawn in one pass', () => {
  const target = redrawn(law, 0.1);

  it('theta-trapezoidal falls with the square of the step', async () => {
    const found = await errors([2, 4, 8], { name: 'theta-trapezoidal', finalTime: 0.1 }, target);
    expectErrors(found, [0.0242, 0.00967, 0.00342]);
    expectErrors(
      await errors([2, 4], { name: 'theta-trapezoidal', theta: 0.3, finalTime: 0.1 }, target),
      [0.0266, 0.0109],
    );
  });

  it('tau-leaping falls with the step', async () => {
    const found = await errors([2, 4, 8], { name: 'tau-leaping', finalTime: 0.1 }, target);
    expectErrors(found, [0.061, 0.0372, 0.0208]);
  });
});

describe('ancestral', () => {
  it.each(maskTimes)('falls with the step, masks what the time says: %s', async (time) => {
    const [two, four, eight] = await errors([2, 4, 8], { name: 'ancestral', time });
    expect(two! / four!).toBeGreaterThan(1.5);
    expect(four! / eight!).toBeGreaterThan(1.6);
    const { maskedFractions } = await sampledDistribution(law, { name: 'ancestral', time, numSteps: 4 });
    maskedFractions.forEach((fraction, i) => expect(fraction).toBeCloseTo(maskedFraction(time, 1 - (i + 1) / 4), 12));
  });
});

describe('one token a pass is exact', () => {
  it.each<SamplerSettings>([
    { name: 'halton', numSteps: 3 },
    { name: 'halton', numSteps: 3, randomize: false },
    { name: 'maskgit', numSteps: 3, confidence: 'random' },
    { name: 'entropy-bound', gamma: 0 },
    { name: 'confidence-threshold', threshold: 1 },
  ])('%o', async (settings) => {
    const { probabilities, passes } = await sampledDistribution(law, settings);
    expect(totalVariation(probabilities, law.probabilities)).toBeLessThan(1e-12);
    expect(passes).toBeCloseTo(3, 12);
  });

  it('but not where the most confident of the drawn tokens are kept', async () => {
    const { probabilities } = await sampledDistribution(law, { name: 'maskgit', numSteps: 3, choiceTemperature: 0 });
    expect(totalVariation(probabilities, law.probabilities)).toBeGreaterThan(0.2);
  });
});

describe('adaptive samplers', () => {
  it.each<SamplerSettings>([
    { name: 'entropy-bound', gamma: 100 },
    { name: 'confidence-threshold', threshold: 0 },
    { name: 'maskgit', numSteps: 1 },
    { name: 'ancestral', numSteps: 1 },
  ])('one pass gives the product of the marginals: %o', async (settings) => {
    const { probabilities, passes } = await sampledDistribution(law, settings);
    expect(totalVariation(probabilities, redrawn(law, 1))).toBeLessThan(1e-12);
    expect(passes).toBeCloseTo(1, 12);
  });

  it('take as many tokens as the bound allows: entropies of about 1.1 nats, two of them below 2', async () => {
    const { passes } = await sampledDistribution(law, { name: 'entropy-bound', gamma: 2 });
    expect(passes).toBeCloseTo(2, 12);
  });
});

describe('remdm', () => {
  /** Where the answer is known, the masked fraction is the only thing that moves. */
  const certain: ExactLaw = { length: 3, codebookSize: 2, probabilities: [0, 0, 0, 0, 0, 1, 0, 0] };

  it.each<SamplerSettings>([
    { variant: 'cap', eta: 0.1 },
    { variant: 'rescale', eta: 0.3 },
  ])('keeps the masked fraction of the chain at every step: %o', async (settings) => {
    const { maskedFractions } = await sampledDistribution(certain, { name: 'remdm', numSteps: 4, ...settings });
    expect(maskedFractions.map((fraction) => Number(fraction.toFixed(12)))).toEqual([0.75, 0.5, 0.25, 0]);
  });

  it('holds the decided fraction between the times of the loop', async () => {
    const { maskedFractions } = await sampledDistribution(certain, {
      name: 'remdm',
      numSteps: 5,
      variant: 'loop',
      eta: 0.1,
      loopFrom: 0.7,
      loopTo: 0.3,
      loopKept: 0.8,
    });
    // (1 - t) 0.8 / 0.3 decided at 0.8, then 0.8 at 0.6 and 0.4, 1 - t 0.2 / 0.3 at 0.2, all at 0.
    const decided = [(0.2 * 0.8) / 0.3, 0.8, 0.8, 1 - (0.2 * 0.2) / 0.3, 1];
    maskedFractions.forEach((fraction, i) => expect(fraction).toBeCloseTo(1 - decided[i]!, 12));
  });

  it('conf shares the largest sigma among the decided: about one of them is masked again, beyond the fraction of the chain', async () => {
    const { maskedFractions } = await sampledDistribution(certain, { name: 'remdm', numSteps: 2, variant: 'conf' });
    // At t = 1 nothing is decided. Half is decided at 0.5, and the last step decides everything.
    expect(maskedFractions.map((fraction) => Number(fraction.toFixed(12)))).toEqual([0.5, 0]);
    const four = await sampledDistribution(certain, { name: 'remdm', numSteps: 4, variant: 'conf' });
    // At t = 0.75 a quarter is decided; sigma is at most 1 and shared out, so one decided token is masked again wherever
    // there is one: P(any of 3) = 1 - 0.75^3, of 3 positions. What was masked is decided with probability 1 / 3.
    expect(four.maskedFractions[0]).toBeCloseTo(0.75, 12);
    expect(four.maskedFractions[1]).toBeCloseTo(0.75 * (2 / 3) + (1 - 0.75 ** 3) / 3, 12);
  });

  it('conf masks improbable tokens again rather than probable ones, given ones never', async () => {
    const space = { codebookSize: 2, numLogits: 2, maskTokenId: 2, grid: [1, 3] } as const;
    const plan = samplingPlan(space, 1, int32([1, 3], [2, 2, 1]));
    const seen: number[] = [];
    const pass = { tokens: new Int32Array(3), logProbabilities: Float32Array.from([0.9, 0.1, 1], Math.log) };
    const chance = (purpose: string, p: number): boolean => {
      if (purpose === 'unmask') return true;
      seen.push(p);
      return false;
    };
    const run = remdmSampler.run({
      options: parseOptions(remdmSampler.options, { variant: 'conf', numSteps: 4 }, 'sampler'),
      plan,
      denoise: () => Promise.resolve(pass as unknown as Pass),
      random: {
        choices: (purpose: string) => ({ chance: (_index: number, p: number) => chance(purpose, p) }),
      } as unknown as SamplerRandom,
    });
    await run.next();
    await run.next();
    // At t = 0.75 the largest sigma is min(1, 0.5 / 0.25).
    const total = Math.exp(-0.9) + Math.exp(-0.1);
    expect(seen.map((p) => Number(p.toFixed(6)))).toEqual(
      [0.9, 0.1].map((probability) => Number((Math.exp(-probability) / total).toFixed(6))),
    );
  });

  it('is ancestral sampling where eta is 0', async () => {
    const [cap] = await errors([4], { name: 'remdm', eta: 0 });
    const [plain] = await errors([4], { name: 'ancestral' });
    expect(cap).toBeCloseTo(plain!, 12);
  });
});

describe('times', () => {
  it.each(maskTimes)('the rate is the derivative of the logarithm of the masked fraction: %s', (time) => {
    for (const t of [0.05, 0.3, 0.7, 0.95]) {
      const h = 1e-6;
      const slope = (Math.log(maskedFraction(time, t + h)) - Math.log(maskedFraction(time, t - h))) / (2 * h);
      expect(unmaskingRate(time, t)).toBeCloseTo(slope, 6);
    }
    expect([maskedFraction(time, 0), maskedFraction(time, 1)]).toEqual([0, 1]);
  });
});

describe('Halton order', () => {
  it('begins as published and has every cell once', () => {
    const cells = (side: number) => haltonOrder(side, side).map((i) => [Math.floor(i / side), i % side]);
    expect(cells(16).slice(0, 6)).toEqual([
      [8, 5],
      [4, 10],
      [12, 1],
      [2, 7],
      [10, 12],
      [6, 3],
    ]);
    expect(cells(7).slice(0, 6)).toEqual([
      [3, 2],
      [1, 4],
      [5, 0],
      [0, 3],
      [4, 5],
      [2, 1],
    ]);
    // Element 5 is (5 / 8, 7 / 9): the first cell of its column, not the last of the one before.
    expect(haltonOrder(9, 9)[4]).toBe(5 * 9 + 7);
    for (const [rows, columns] of [
      [1, 9],
      [7, 7],
      [32, 24],
      [64, 64],
    ] as const)
      expect([...haltonOrder(rows, columns)].sort((a, b) => a - b)).toEqual(
        Array.from({ length: rows * columns }, (_, i) => i),
      );
  });
});
