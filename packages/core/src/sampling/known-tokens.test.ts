/**
 * Tokens that are known: every sampler keeps them at every step, whatever it masks again, and its schedule is that of the
 * tokens that are wanted; a generator sees them in the place of random codes. Nothing changes where none is known.
 */
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  builtInSamplers,
  compileMultiStep,
  eagerEngine,
  int32,
  OptionError,
  putBackKnownTokens,
  randomMultiStepDraws,
  randomOneStepDraws,
  randomStream,
  sampleMultiStep,
  ShapeError,
  tokensPerStep,
  type SamplerSettings,
} from '../index.js';
import { linearModel, linearTeacher } from '../testing/linear-model.js';
import { samplingPlan } from './plan.js';
import type { Pass, SamplerRun } from './sampler.js';
import { samplerRandom } from './sampler-random.js';
import { resolveSampler } from './resolve-sampler.js';

beforeAll(() => tf.setBackend('cpu'));

const weights = linearModel.initialize(randomStream(3, 0, 'weights'));
const { codebookSize, maskTokenId } = linearModel.tokenSpace;
const length = 6;

/** Every sampler, and the variants that mask most tokens again. */
const everySampler: readonly SamplerSettings[] = [
  ...[...builtInSamplers.keys()].map((name) => ({ name })),
  { name: 'remdm', variant: 'rescale', eta: 1 },
  { name: 'remdm', variant: 'conf' },
  { name: 'remdm', variant: 'loop', loopFrom: 1, loopKept: 0.5, eta: 0.5 },
];

describe('every sampler', () => {
  it.each(everySampler)('keeps what is known at every step, and decides the rest: %o', async (settings) => {
    const engine = eagerEngine('cpu');
    const state = await engine.upload(weights);
    const sampler = await compileMultiStep(engine, linearTeacher, { batchSize: 2, sampler: settings });
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.oneof(fc.constant(maskTokenId), fc.nat(codebookSize - 1)), { minLength: 12, maxLength: 12 }),
        fc.nat(1000),
        async (known, seed) => {
          const keeps = (tokens: ArrayLike<number>): boolean =>
            known.every((token, i) => token === maskTokenId || tokens[i] === token);
          const tokens = await sampler.sample(state, {
            condition: { label: int32([2], [2, 1]) },
            draws: randomMultiStepDraws(seed, 0, { batchSize: 2, tokenSpace: linearModel.tokenSpace }),
            knownTokens: int32([2, length], known),
            onStep: ({ tokens: soFar }) => expect(keeps(soFar.data)).toBe(true),
          });
          expect(keeps(tokens.data)).toBe(true);
          expect(tokens.data.every((token) => token >= 0 && token < codebookSize)).toBe(true);
        },
      ),
      { numRuns: 12, seed: 5 },
    );
    await engine.dispose();
  });

  it.each<readonly [name: string, tokens: readonly number[]]>([
    // As drawn before tokens could be known.
    ['maskgit', [5, 0, 0, 0, 5, 5, 5, 5, 5, 5, 5, 5]],
    ['halton', [5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5]],
    ['ancestral', [0, 1, 0, 5, 0, 0, 5, 5, 3, 5, 5, 0]],
    ['tau-leaping', [0, 1, 0, 5, 0, 0, 5, 5, 4, 5, 5, 5]],
    ['theta-trapezoidal', [1, 4, 0, 0, 0, 0, 5, 0, 0, 0, 2, 5]],
    ['remdm', [0, 0, 1, 5, 0, 5, 5, 5, 5, 5, 5, 5]],
    ['entropy-bound', [1, 1, 0, 1, 0, 0, 4, 5, 4, 4, 4, 4]],
    ['confidence-threshold', [1, 1, 0, 1, 0, 0, 4, 5, 4, 4, 4, 4]],
  ])('draws what it did where nothing is known: %s', async (name, expected) => {
    const engine = eagerEngine('cpu');
    const sampler = await compileMultiStep(engine, linearTeacher, {
      batchSize: 2,
      sampler: { name, guidanceScale: 2 },
    });
    const request = { weights: await engine.upload(weights), condition: { label: int32([2], [0, 2]) }, seed: 21 };
    expect([...(await sampleMultiStep(sampler, linearModel, request)).data]).toEqual(expected);
    await engine.dispose();
  });
});

describe('schedules', () => {
  const space = { codebookSize: 4, numLogits: 4, maskTokenId: 4, grid: [8, 8] } as const;

  /** Tokens that each step decides of two samples, the first `wanted` of 64 positions of which are masked. */
  async function decidedPerStep(settings: SamplerSettings, wanted: readonly [number, number]): Promise<number[][]> {
    const { sampler, options } = resolveSampler(settings, undefined);
    const known = wanted.flatMap((count) => Array.from({ length: 64 }, (_, i) => (i < count ? 4 : 1)));
    const plan = samplingPlan(space, 2, int32([2, 64], known));
    const pass = { tokens: new Int32Array(128), logProbabilities: new Float32Array(128) } as unknown as Pass;
    const random = samplerRandom(randomMultiStepDraws(1, 0, { batchSize: 2, tokenSpace: space }), 2, 64);
    const run = { options, plan, random, denoise: () => Promise.resolve(pass) } as SamplerRun<typeof options>;
    const counts: number[][] = [[], []];
    let left = [...wanted];
    for await (const _ of sampler.run(run)) {
      const now = [0, 1].map((sample) => plan.maskedIn(sample).length);
      now.forEach((count, sample) => counts[sample]!.push(left[sample]! - count));
      left = now;
    }
    return counts;
  }

  it('of maskgit are those of the tokens that each sample wants', async () => {
    const counts = await decidedPerStep({ name: 'maskgit', numSteps: 8 }, [40, 16]);
    expect(counts).toEqual([tokensPerStep('arccos', 8, 40), tokensPerStep('arccos', 8, 16)]);
  });

  it('of halton are too, so that its last step is not the one that decides nearly everything', async () => {
    const decided = (wanted: number): number[] => {
      const after = (i: number): number =>
        i === 8 ? wanted : Math.max(i, Math.floor(wanted * (1 - Math.acos(i / 8) / (Math.PI / 2))));
      return Array.from({ length: 8 }, (_, i) => after(i + 1) - (i === 0 ? 0 : after(i)));
    };
    expect(await decidedPerStep({ name: 'halton', numSteps: 8 }, [40, 16])).toEqual([decided(40), decided(16)]);
  });

  it('end where nothing is wanted', async () => {
    expect(await decidedPerStep({ name: 'maskgit', numSteps: 8 }, [0, 0])).toEqual([[], []]);
    expect((await decidedPerStep({ name: 'halton', numSteps: 8 }, [0, 3]))[0]).toEqual([0, 0, 0]);
  });
});

describe('one-step draws', () => {
  const sampler = {
    batchSize: 2,
    model: linearModel,
    tokenInit: { maskRatio: 0.5, embeddingNoise: 0.1, noiseDeviation: 1 },
    sampling: {},
  } as const;
  const plain = randomOneStepDraws(5, 3, sampler);

  it('have known tokens in the place of random codes, and the same masks and numbers', () => {
    const known = [maskTokenId, 3, 3, 3, maskTokenId, 3, 2, 2, 2, 2, 2, 2];
    const draws = randomOneStepDraws(5, 3, { ...sampler, knownTokens: int32([2, length], known) });
    expect([...draws.initialTokens.data]).toEqual(
      [...plain.initialTokens.data].map((token, i) =>
        token === maskTokenId || known[i] === maskTokenId ? token : known[i],
      ),
    );
    expect({ ...draws, initialTokens: undefined }).toEqual({ ...plain, initialTokens: undefined });
  });

  it('are those without known tokens where all are wanted', () => {
    const knownTokens = int32([2, length], new Array<number>(12).fill(maskTokenId));
    expect(randomOneStepDraws(5, 3, { ...sampler, knownTokens })).toEqual(plain);
  });

  it('refuse known tokens that are none', () => {
    const drawn = (knownTokens: ReturnType<typeof int32>) => () =>
      randomOneStepDraws(5, 3, { ...sampler, knownTokens });
    expect(drawn(int32([1, length]))).toThrow(ShapeError);
    expect(drawn(int32([2, length], new Array<number>(12).fill(maskTokenId + 1)))).toThrow(OptionError);
  });
});

describe('known tokens are put back', () => {
  const space = linearModel.tokenSpace;

  it('where there are any', () => {
    const known = int32([1, length], [maskTokenId, 3, maskTokenId, 1, maskTokenId, 2]);
    const drawn = int32([1, length], [0, 0, 1, 0, 2, 0]);
    expect([...putBackKnownTokens(drawn, known, space).data]).toEqual([0, 3, 1, 1, 2, 2]);
    expect([...drawn.data]).toEqual([0, 0, 1, 0, 2, 0]);
  });

  it('and are refused in another shape', () => {
    expect(() => putBackKnownTokens(int32([2, length]), int32([1, length]), space)).toThrow(ShapeError);
    expect(() => putBackKnownTokens(int32([1, 4]), int32([1, length]), space)).toThrow(ShapeError);
  });
});
