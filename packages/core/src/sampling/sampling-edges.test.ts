/**
 * The edges of drawing tokens: uniform numbers of 0 and just below 1, probabilities of 0 at both ends, equal
 * probabilities, the filters that keep one id or all; and the choice of the tokens that stay, with equal confidences.
 */
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor2D, Tensor3D } from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  guidanceScaleAt,
  float32,
  int32,
  parseOptions,
  sampleCategorical,
  samplingLogits,
  samplingPlan,
  tokensPerStep,
  type SamplingOptions,
} from '../index.js';
import {
  confidences,
  keepMostConfident,
  maskgitSampler,
  type ConfidenceDecision,
  type MaskgitOptions,
} from './samplers/maskgit.js';
import { combineGuidance, guidanceScales } from '../model/guidance.js';
import { samplerRandom } from './sampler-random.js';
import { unmaskingSchedules } from '../model/schedule.js';

beforeAll(() => tf.setBackend('cpu'));

/** The largest uniform number that is drawn. */
const almostOne = 1 - 2 ** -24;
const never = -1e9;

function drawn(logits: number[], uniform: number): number {
  return tf.tidy(
    () => sampleCategorical(tf.tensor3d([[logits]]) as Tensor3D, tf.tensor2d([[uniform]]) as Tensor2D).dataSync()[0]!,
  );
}

describe('inverting the cumulative distribution', () => {
  it('at 0 takes the first id that can be drawn, just below 1 the last', () => {
    expect(drawn([0, 0, 0], 0)).toBe(0);
    expect(drawn([never, never, 0, 1], 0)).toBe(2);
    expect(drawn([0, 1, never], almostOne)).toBe(1);
    expect(drawn([never, 0, never], 0)).toBe(1);
    expect(drawn([never, 0, never], almostOne)).toBe(1);
    expect(drawn([0, 0], 0.5)).toBe(1);
    expect(drawn([0, 0], 0.5 - 2 ** -24)).toBe(0);
  });

  it('never takes an id of probability 0, whatever the sums of the others are rounded to', () => {
    const logits = fc.array(fc.oneof(fc.double({ min: -3, max: 3, noNaN: true }), fc.constant(never)), {
      minLength: 1,
      maxLength: 40,
    });
    fc.assert(
      fc.property(logits, fc.constantFrom(0, 2 ** -24, 0.25, 0.5, 1 - 2 ** -20, almostOne), (given, uniform) => {
        fc.pre(given.some((logit) => logit !== never));
        expect(given[drawn(given, uniform)]).not.toBe(never);
      }),
      { numRuns: 300 },
    );
    // Equal probabilities sum to a little less than 1 in float32, or a little more; 49 of them to 1 - 2^-22.
    for (const count of [3, 7, 49, 1000, 1023])
      expect(drawn([...new Array<number>(count).fill(0), never, never], almostOne)).toBe(count - 1);
  });
});

describe('filters', () => {
  const kept = (logits: number[], options: SamplingOptions) =>
    tf.tidy(() => {
      const filtered = samplingLogits(tf.tensor3d([[logits]]), { codebookSize: 4 }, options).dataSync();
      return Array.from(filtered).flatMap((value, id) => (value > -1e8 ? [id] : []));
    });
  // Probabilities 1/2, 1/4, 1/8, 1/8, exact in float32.
  const halves = [3, 2, 1, 1].map((power) => power * Math.LN2);

  it('keep the one best id with top-k 1 and with any small top-p, and equal ids together', () => {
    expect(kept(halves, { topK: 1 })).toEqual([0]);
    expect(kept(halves, { topP: 1e-6 })).toEqual([0]);
    expect(kept(halves, { topK: 2 })).toEqual([0, 1]);
    expect(kept(halves, { topK: 3 })).toEqual([0, 1, 2, 3]);
    expect(kept(halves, { topK: 4 })).toEqual([0, 1, 2, 3]);
    expect(kept([1, 1, 1, 1], { topK: 2 })).toEqual([0, 1, 2, 3]);
    expect(kept(halves, { topK: 9, topP: 0 })).toEqual([0, 1, 2, 3]);
  });

  it('keep the id that crosses the mass', () => {
    expect(kept(halves, { topP: 0.4 })).toEqual([0]);
    expect(kept(halves, { topP: 0.6 })).toEqual([0, 1]);
    expect(kept(halves, { topP: 0.8 })).toEqual([0, 1, 2, 3]);
    // A mass that is exactly reached is not crossed yet: the uniform case is 1/4 each.
    expect(kept([0, -1e-3, -2e-3, -3e-3], { topP: 0.24 })).toEqual([0]);
    expect(kept([0, -1e-3, -2e-3, -3e-3], { topP: 0.26 })).toEqual([0, 1]);
    expect(kept([0, 0, never, never], { topP: 0.5 })).toEqual([0, 1]);
  });

  it('come after the temperature, and ids beyond the codebook count for nothing', () => {
    // Hot: probabilities near 1/4, so a mass of 0.6 takes three; cold: the best alone.
    const logits = [3, 2, 1, 0];
    expect(kept(logits, { temperature: 100, topP: 0.6 })).toEqual([0, 1, 2]);
    expect(kept(logits, { temperature: 0.1, topP: 0.6 })).toEqual([0]);
    expect(kept([...logits, 50], { topK: 1 })).toEqual([0]);
    expect(kept([...logits, 50], { topK: 1, reference: true })).toEqual([4]);
    const scaled = samplingLogits(tf.tensor3d([[[2, 4, 6, 8]]]), { codebookSize: 4 }, { temperature: 2 });
    expect([...scaled.dataSync()]).toEqual([1, 2, 3, 4]);
  });
});

function optionsOf(given: Partial<MaskgitOptions>): MaskgitOptions {
  return parseOptions(maskgitSampler.options, given, 'sampler');
}

/** One decision over rows of four positions. */
function decide(
  given: Partial<Pick<ConfidenceDecision, 'step'>> & {
    readonly count?: number;
    readonly options?: Partial<MaskgitOptions>;
    readonly isMasked?: number[];
    readonly logProbabilities?: Float32Array;
  },
): { tokens: number[]; isMasked: number[] } {
  const { options = {}, isMasked = [1, 1, 1, 1], step = 0, count = 2 } = given;
  const { logProbabilities = new Float32Array(isMasked.length) } = given;
  const numRows = isMasked.length / 4;
  const plan = samplingPlan(
    { codebookSize: 9, numLogits: 9, maskTokenId: 9, grid: [1, 4] },
    numRows,
    int32(
      [numRows, 4],
      isMasked.map((masked) => (masked ? 9 : 0)),
    ),
  );
  keepMostConfident(plan, {
    step,
    counts: new Array<number>(numRows).fill(count),
    pass: { tokens: Int32Array.from(isMasked, (_, i) => 1 + (i % 4)), logProbabilities },
    random: samplerRandom(
      {
        tokenDraws: () => new Float32Array(),
        gumbel: () => new Float64Array(isMasked.length),
        uniform: () => new Float32Array(isMasked.length),
      },
      numRows,
      4,
    ),
    options: optionsOf({ numSteps: 4, ...options }),
  });
  return { tokens: [...plan.tokens], isMasked: [...plan.isMasked] };
}

describe('choice of the tokens that stay', () => {
  it('gives equal confidences to the first positions', () => {
    expect(decide({}).tokens).toEqual([1, 2, 9, 9]);
    expect(decide({ isMasked: [0, 1, 1, 1] }).tokens).toEqual([0, 2, 3, 9]);
    expect(decide({ logProbabilities: Float32Array.of(-2, -1, -2, -2) }).tokens).toEqual([1, 2, 9, 9]);
    expect(decide({ logProbabilities: Float32Array.of(-2, -2, -2, -1) }).tokens).toEqual([1, 9, 9, 4]);
    expect(decide({ options: { confidence: 'random' } }).tokens).toEqual([1, 2, 9, 9]);
  });

  it('decides per row, never a decided position again, at most what is left, and all that is left at the end', () => {
    const logProbabilities = Float32Array.of(-4, -3, -2, -1, -1, -2, -3, -4);
    const isMasked = [1, 1, 1, 0, 0, 0, 0, 1];
    expect(decide({ isMasked, logProbabilities })).toEqual({
      tokens: [9, 2, 3, 0, 0, 0, 0, 4],
      isMasked: [1, 0, 0, 0, 0, 0, 0, 0],
    });
    expect(decide({ isMasked, logProbabilities, step: 3, count: 1 }).isMasked).toEqual(new Array(8).fill(0));
    expect(decide({ isMasked, logProbabilities, count: 0 }).isMasked).toEqual(isMasked);
    expect(decide({ isMasked, logProbabilities, count: -1 }).isMasked).toEqual(isMasked);
    // The original counts what is left in the whole batch, and leaves masks in the last step.
    const reference = { options: { reference: true } };
    expect(decide({ isMasked: [1, 0, 0, 0, 1, 1, 1, 1], count: 9, ...reference }).isMasked).toEqual(
      new Array(8).fill(0),
    );
    expect(decide({ count: 1, step: 3, ...reference }).isMasked).toEqual([0, 1, 1, 1]);
  });

  it('adds the noise to the log-probability, less of it in every step, and none where the temperature is 0', () => {
    const scores = (step: number, options: Partial<MaskgitOptions>) =>
      Array.from(
        confidences({
          step,
          counts: [1],
          pass: { tokens: new Int32Array(2), logProbabilities: Float32Array.of(-1, -2) },
          random: samplerRandom(
            {
              tokenDraws: () => new Float32Array(),
              gumbel: (at) => [10 + at, -10 - at],
              uniform: (_purpose, at) => [0.25 + at / 8, 0.5],
            },
            1,
            2,
          ),
          options: optionsOf(options),
        }),
      );
    const options = { numSteps: 5, choiceTemperature: 4, finalChoiceTemperature: 2 };
    expect(scores(0, options)).toEqual([-1 + 4 * 10, -2 - 4 * 10]);
    expect(scores(2, options)).toEqual([-1 + 3 * 12, -2 - 3 * 12]);
    expect(scores(4, options)).toEqual([-1 + 2 * 14, -2 - 2 * 14]);
    expect(scores(4, { numSteps: 5, choiceTemperature: 4 })).toEqual([-1, -2]);
    expect(scores(0, { numSteps: 5, choiceTemperature: 0 })).toEqual([-1, -2]);
    expect(scores(0, { numSteps: 1, choiceTemperature: 4, finalChoiceTemperature: 2 })).toEqual([19, -22]);
    expect([0, 1].map((step) => scores(step, { confidence: 'warm-up' }))).toEqual([
      [0.25, 0.5],
      [0.375, 0.5],
    ]);
    expect(scores(2, { confidence: 'warm-up' })).toEqual([Math.exp(-1), Math.exp(-2)]);
    expect(scores(9, { confidence: 'random' })).toEqual([0.25 + 9 / 8, 0.5]);
  });
});

describe('schedules of the sampler', () => {
  it('are those worked by hand for 4 steps and 16 tokens', () => {
    // v of r = 1, 2/3, 1/3, 0; times 16 over their sum, rounded, 0 becomes 1, the last takes the rest.
    expect(tokensPerStep('root', 4, 16)).toEqual([1, 2, 4, 9]); // v 0 .184 .423 1
    expect(tokensPerStep('linear', 4, 16)).toEqual([1, 3, 5, 7]); // v 0 1/3 2/3 1
    expect(tokensPerStep('square', 4, 16)).toEqual([1, 4, 6, 5]); // v 0 5/9 8/9 1
    expect(tokensPerStep('cosine', 4, 16)).toEqual([1, 3, 6, 6]); // v 0 .5 .866 1
    expect(tokensPerStep('arccos', 4, 16)).toEqual([1, 4, 5, 6]); // v 0 .535 .784 1
    // 16 cos(pi/8) = 14.8, cos(pi/4) = 11.3, cos(3 pi/8) = 6.1 stay masked.
    expect(tokensPerStep('cosine-remaining', 4, 16)).toEqual([2, 3, 5, 6]);
  });

  it('decide at least one token a step while there is more than one, and never take one back', () => {
    for (const schedule of unmaskingSchedules)
      for (const numSteps of [1, 2, 3, 8, 30])
        for (const numTokens of [1, 2, 5, 16, 100]) {
          const counts = tokensPerStep(schedule, numSteps, numTokens);
          let left = numTokens;
          counts.forEach((count, i) => {
            if (i < numSteps - 1 && left > 1) expect(count).toBeGreaterThanOrEqual(1);
            left = Math.max(0, left - Math.max(0, count));
          });
          expect(left).toBe(0);
        }
  });
});

describe('guidance', () => {
  it('is unconditional + scale (conditional - unconditional): 1 is off, 0 the unconditional, -1 away', () => {
    const of = (scale: number) => [
      ...combineGuidance(
        { conditional: tf.tensor3d([[[3, 5]]]), unconditional: tf.tensor3d([[[1, 9]]]) },
        tf.tensor1d([scale]),
      ).dataSync(),
    ];
    expect(of(1)).toEqual([3, 5]);
    expect(of(0)).toEqual([1, 9]);
    expect(of(2)).toEqual([5, 1]);
    expect(of(-1)).toEqual([-1, 13]);
  });

  it('adapts from 1 where nothing is masked to its scale where all is', () => {
    const ratios = float32([3], [0, 0.5, 1]);
    expect([...guidanceScales({ kind: 'ratio-adaptive', scale: 4 }, ratios).data]).toEqual([1, 2.5, 4]);
    expect([...guidanceScales(4, ratios).data]).toEqual([4, 4, 4]);
  });

  it('is the full scale in a single step, and where it is constant', () => {
    expect(guidanceScaleAt(optionsOf({ numSteps: 1, guidanceScale: 3 }), 0)).toBe(3);
    const constant = optionsOf({ numSteps: 4, guidanceScale: 3, guidanceRamp: 'constant' });
    expect([0, 1, 2, 3].map((i) => guidanceScaleAt(constant, i))).toEqual([3, 3, 3, 3]);
  });
});
