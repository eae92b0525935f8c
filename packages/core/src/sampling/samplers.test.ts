/**
 * Both samplers against a second implementation in float64 on a model that is written twice: guidance, temperature,
 * top-k, top-p, drawing, confidences, choice and schedule, token by token and step by step.
 */
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  builtInSamplers,
  compileMultiStep,
  compileOneStep,
  describeOptions,
  eagerEngine,
  int32,
  randomMultiStepDraws,
  randomOneStepDraws,
  randomStream,
  sampleMultiStep,
  sampleOneStep,
  tokensPerStep,
  type GeneratorTokenInit,
  type SamplerSettings,
  type SamplingOptions,
} from '../index.js';
import type { MaskgitOptions } from './samplers/maskgit.js';
import { linearLogits, linearModel, linearTeacher } from '../testing/linear-model.js';
import { drawingProbabilities, invertCdf, raceWinner } from '../testing/reference-sampling.js';
import { unmaskingSchedules } from '../model/schedule.js';

beforeAll(() => tf.setBackend('cpu'));

const weights = linearModel.initialize(randomStream(3, 0, 'weights'));
const { codebookSize, maskTokenId } = linearModel.tokenSpace;
const length = 6;
const noClass = 3;

/** One id per position of one sequence. */
function drawIds(logits: number[][], draws: ArrayLike<number>, options: SamplingOptions): number[] {
  return logits.map((row, i) => {
    const probabilities = drawingProbabilities(row, codebookSize, options);
    if (options.method !== 'exponential-race') return invertCdf(probabilities, draws[i]!);
    const width = probabilities.length;
    return raceWinner(probabilities, Array.from(draws).slice(i * width, (i + 1) * width));
  });
}

interface Row {
  readonly label: number;
  readonly awayFrom: number;
  readonly tokens: number[];
}

/** The tokens of all rows after each step; one step of all rows, then the next. */
function referenceMultiStep(rows: readonly Row[], seed: number, options: MaskgitOptions): number[][] {
  const { numSteps, guidanceScale, guidanceRamp, confidence, choiceTemperature, finalChoiceTemperature } = options;
  const draws = randomMultiStepDraws(seed, 0, {
    batchSize: rows.length,
    tokenSpace: linearModel.tokenSpace,
    sampling: options,
  });
  const states = rows.map(({ tokens }) => ({
    tokens: [...tokens],
    isMasked: tokens.map((token) => token === maskTokenId),
    wanted: tokens.filter((token) => token === maskTokenId).length,
  }));
  const seen: number[][] = [];
  for (let step = 0; step < numSteps; step++) {
    if (!states.some(({ isMasked }) => isMasked.includes(true))) break;
    const progress = numSteps === 1 ? 1 : step / (numSteps - 1);
    const scale = guidanceRamp === 'constant' ? guidanceScale : 1 + (guidanceScale - 1) * progress;
    const noise = choiceTemperature * (1 - progress) + finalChoiceTemperature * progress;
    const tokenDraws = Array.from(draws.tokenDraws(step));
    const perRow = tokenDraws.length / rows.length;
    states.forEach((state, row) => {
      const maskRatio = state.isMasked.filter(Boolean).length / length;
      const logitsFor = (label: number) =>
        linearLogits(weights, { tokens: state.tokens, label, maskRatio, stepsLeft: numSteps - 1 - step });
      const [towards, away] = [logitsFor(rows[row]!.label), logitsFor(rows[row]!.awayFrom)];
      const logits = towards.map((line, i) => line.map((c, v) => away[i]![v]! + scale * (c - away[i]![v]!)));
      const ids = drawIds(logits, tokenDraws.slice(row * perRow, (row + 1) * perRow), options);
      const scores = ids.map((id, i) => {
        const p = drawingProbabilities(logits[i]!, codebookSize, options)[id]!;
        const at = row * length + i;
        if (confidence === 'random' || (confidence === 'warm-up' && step < 2))
          return draws.uniform('confidence', step)[at]!;
        return confidence === 'warm-up' ? p : Math.log(p) + noise * draws.gumbel(step)[at]!;
      });
      const open = ids.map((_, i) => i).filter((i) => state.isMasked[i]);
      open.sort((a, b) => scores[b]! - scores[a]! || a - b);
      // The schedule is that of the tokens that are wanted.
      const counts = state.wanted === 0 ? [] : tokensPerStep(options.schedule, numSteps, state.wanted);
      for (const i of open.slice(0, step === numSteps - 1 ? length : Math.max(0, counts[step] ?? 0))) {
        state.tokens[i] = ids[i]!;
        state.isMasked[i] = false;
      }
    });
    seen.push(states.flatMap(({ tokens }) => tokens));
  }
  return seen;
}

const samplingOptions = {
  temperature: fc.constantFrom(0.05, 0.7, 1, 2),
  topK: fc.constantFrom(0, 0, 1, 3),
  topP: fc.constantFrom(0, 0, 0.3, 0.9),
  method: fc.constantFrom<'inverse-cdf' | 'exponential-race'>('inverse-cdf', 'exponential-race'),
};

describe('multi-step sampler', () => {
  it('decides as the second implementation, in every step', async () => {
    const engine = eagerEngine('cpu');
    const state = await engine.upload(weights);
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          ...samplingOptions,
          numSteps: fc.constantFrom(1, 2, 3, 5, 9),
          schedule: fc.constantFrom(...unmaskingSchedules),
          guidanceScale: fc.constantFrom(1, 0, 2.5, -1),
          guidanceRamp: fc.constantFrom<'linear' | 'constant'>('linear', 'constant'),
          confidence: fc.constantFrom<'linear' | 'warm-up' | 'random'>('linear', 'linear', 'warm-up', 'random'),
          choiceTemperature: fc.constantFrom(0, 1, 4.5),
          finalChoiceTemperature: fc.constantFrom(0, 0.5, 3),
          reference: fc.constant(false),
        }),
        fc.nat(1000),
        fc.array(fc.constantFrom(maskTokenId, maskTokenId, 2), { minLength: 12, maxLength: 12 }),
        fc.boolean(),
        async (options, seed, given, hasNegative) => {
          const rows: Row[] = [0, 1].map((row) => ({
            label: 2 - row,
            awayFrom: hasNegative ? row : noClass,
            tokens: given.slice(row * length, (row + 1) * length),
          }));
          const sampler = await compileMultiStep(engine, linearTeacher, { batchSize: 2, sampler: options });
          const seen: number[][] = [];
          const tokens = await sampler.sample(state, {
            condition: { label: int32([2], [2, 1]) },
            ...(hasNegative ? { nullCondition: { label: int32([2], [0, 1]) } } : {}),
            draws: randomMultiStepDraws(seed, 0, {
              batchSize: 2,
              tokenSpace: linearModel.tokenSpace,
              sampling: options,
            }),
            knownTokens: int32([2, length], given),
            onStep: ({ tokens: now }) => void seen.push([...now.data]),
          });
          const expected = referenceMultiStep(rows, seed, options);
          expect(seen).toEqual(expected);
          expect([...tokens.data]).toEqual(expected.at(-1) ?? given);
          expect(tokens.data.every((token) => token < codebookSize)).toBe(true);
        },
      ),
      { numRuns: 60, seed: 7 },
    );
    await engine.dispose();
  });

  it('continues a series in parts and in batches of any size, with prompts of its own for every sample', async () => {
    const engine = eagerEngine('cpu');
    const state = await engine.upload(weights);
    const labels = [0, 1, 2, 0, 1, 2, 2];
    const negative = [1, 2, 0, 2, 0, 1, 0];
    const part = async (batchSize: number, first: number, count: number) => {
      const sampler = await compileMultiStep(engine, linearTeacher, {
        batchSize,
        sampler: { numSteps: 3, guidanceScale: 3 },
      });
      const pick = (values: number[]) => ({ label: int32([count], values.slice(first, first + count)) });
      const tokens = await sampleMultiStep(sampler, linearModel, {
        weights: state,
        condition: pick(labels),
        nullCondition: pick(negative),
        seed: 1,
        firstSample: first,
      });
      return [...tokens.data];
    };
    const whole = await part(7, 0, 7);
    expect(new Set(whole).size).toBeGreaterThan(3);
    expect(await part(3, 0, 7)).toEqual(whole);
    expect([...(await part(2, 0, 4)), ...(await part(2, 4, 3))]).toEqual(whole);
    await engine.dispose();
  });

  it('clamps the mask token in reference runs, which can draw it', async () => {
    const engine = eagerEngine('cpu');
    const biased = { ...weights, labels: { ...weights['labels']!, data: weights['labels']!.data.slice() } };
    for (let label = 0; label < 4; label++) biased.labels.data[label * 8 + 7] = 90;
    const state = await engine.upload(biased);
    const sampler = await compileMultiStep(engine, linearTeacher, {
      batchSize: 1,
      sampler: { numSteps: 2, reference: true },
    });
    const tokens = await sampler.sample(state, {
      condition: { label: int32([1], [0]) },
      draws: randomMultiStepDraws(0, 0, {
        batchSize: 1,
        tokenSpace: linearModel.tokenSpace,
        sampling: { reference: true },
      }),
    });
    expect([...tokens.data]).toEqual([5, 5, 5, 5, 5, 5]);
    await engine.dispose();
  });
});

describe('one-step sampler', () => {
  it('draws as the second implementation, in batches of any size and parts', async () => {
    const engine = eagerEngine('cpu');
    const state = await engine.upload(weights);
    await fc.assert(
      fc.asyncProperty(
        fc.record(samplingOptions),
        fc.record<GeneratorTokenInit>({
          maskRatio: fc.constantFrom<GeneratorTokenInit['maskRatio']>(0.6, [0.1, 1], 0),
          embeddingNoise: fc.constantFrom(0, 0.3, 0.9),
          noiseDeviation: fc.constantFrom(1, 0.4),
        }),
        fc.nat(1000),
        fc.integer({ min: 1, max: 6 }),
        async (sampling, tokenInit, seed, batchSize) => {
          const labels = [2, 0, 1, 1, 0];
          const sampler = await compileOneStep(engine, linearModel, { batchSize, tokenInit, sampling });
          const tokens = await sampleOneStep(sampler, {
            weights: state,
            condition: { label: int32([5], labels) },
            seed,
            firstSample: 3,
          });
          const expected = labels.flatMap((label, i) => {
            const draws = randomOneStepDraws(seed, 3 + i, { batchSize: 1, model: linearModel, tokenInit, sampling });
            const logits = linearLogits(weights, {
              tokens: [...draws.initialTokens.data],
              label,
              maskRatio: draws.initialMaskRatio.data[0]!,
              ...(draws.embeddingNoise
                ? {
                    noise: {
                      values: draws.embeddingNoise.data.map((value) => value * tokenInit.noiseDeviation),
                      scale: tokenInit.embeddingNoise,
                    },
                  }
                : {}),
            });
            return drawIds(logits, draws.tokenDraws.data, sampling);
          });
          expect([...tokens.data]).toEqual(expected);
        },
      ),
      { numRuns: 60, seed: 7 },
    );
    await engine.dispose();
  });
});

describe('every sampler of core', () => {
  it.each([...builtInSamplers.values()])('has options that all say what they do: $name', ({ options }) => {
    const described = describeOptions(options);
    expect(described.filter(({ description }) => description === '').map(({ name }) => name)).toEqual([]);
    expect(described.map(({ name }) => name)).toEqual(expect.arrayContaining(['guidanceScale', 'temperature', 'topP']));
  });

  it.each<SamplerSettings>([
    ...[...builtInSamplers.keys()].map((name) => ({ name })),
    { name: 'remdm', variant: 'conf' },
    { name: 'remdm', variant: 'loop', loopFrom: 1, loopKept: 1 },
    { name: 'remdm', variant: 'rescale', eta: 1 },
  ])(
    'gives known ids that do not depend on the batch, keeps what was given, and ends within its passes: %o',
    async (settings) => {
      const engine = eagerEngine('cpu');
      const state = await engine.upload(weights);
      const run = async (batchSize: number) => {
        const sampler = await compileMultiStep(engine, linearTeacher, {
          batchSize,
          sampler: { ...settings, guidanceScale: 2 },
        });
        let passes: readonly number[] = [];
        const tokens = await sampleMultiStep(sampler, linearModel, {
          weights: state,
          condition: { label: int32([5], [0, 1, 2, 0, 1]) },
          seed: 4,
          onPasses: (counts) => (passes = counts),
        });
        expect(Math.max(...passes)).toBeLessThanOrEqual(sampler.maximumPasses);
        expect(Math.min(...passes)).toBeGreaterThan(0);
        return [...tokens.data];
      };
      const whole = await run(5);
      expect(whole.every((id) => id >= 0 && id < codebookSize)).toBe(true);
      expect(await run(2)).toEqual(whole);
      const sampler = await compileMultiStep(engine, linearTeacher, { batchSize: 1, sampler: settings });
      const tokens = await sampler.sample(state, {
        condition: { label: int32([1], [0]) },
        draws: randomMultiStepDraws(0, 0, { batchSize: 1, tokenSpace: linearModel.tokenSpace }),
        knownTokens: int32([1, length], [maskTokenId, 3, maskTokenId, 1, maskTokenId, 2]),
      });
      expect([tokens.data[1], tokens.data[3], tokens.data[5]]).toEqual([3, 1, 2]);
      await engine.dispose();
    },
  );

  it.each<SamplerSettings>([{ name: 'halton' }, { name: 'ancestral' }, { topK: 2 }, { topP: 0.5 }])(
    'refuses weights that are no numbers: %o',
    async (settings) => {
      const engine = eagerEngine('cpu');
      const labels = { ...weights['labels']!, data: weights['labels']!.data.slice() };
      labels.data[0] = NaN;
      const state = await engine.upload({ ...weights, labels });
      const sampler = await compileMultiStep(engine, linearTeacher, { batchSize: 1, sampler: settings });
      const sampling = sampleMultiStep(sampler, linearModel, {
        weights: state,
        condition: { label: int32([3], [0, 0, 0]) },
        seed: 0,
      });
      await expect(sampling).rejects.toThrow('logits (are all weights finite?)');
      await engine.dispose();
    },
  );
});
