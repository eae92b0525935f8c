/** As misuse.test.ts, for what needs no engine: random numbers, schedules, tensors, options. */
import { describe, it } from 'vitest';
import * as core from '../index.js';
import { float32, type HostTensor } from '../index.js';
import { chooseMasked } from '../model/masking.js';
import { truncatedNormalQuantile } from '../random/truncated-normal.js';
import { resolveTokenInit } from '../sampling/token-init.js';
import { any, each, expectRefusal, noCounts, type Refusal } from './refusals.js';
import { tinyTeacher } from './tiny-model.js';

const definition = tinyTeacher();

/** A tensor with one element replaced. */
function spoilt<T extends HostTensor>(tensor: T, value: number): T {
  const data = tensor.data.slice();
  data[1] = value;
  return { ...tensor, data };
}

const refused = [
  ...each('seed of a stream', noCounts, (seed) => core.randomStream(any(seed), 0, 'x')),
  ...each('step of a stream', [...noCounts, 2 ** 32], (step) => core.randomStream(0, any(step), 'x')),
  ...each('numbers of a stream', [...noCounts, 1e9 * 4, 1e18], (n) => core.randomStream(0, 0, 'x').uniform(any(n))),
  ...each('normal numbers', [...noCounts, 1e18], (n) => core.randomStream(0, 0, 'x').normal(any(n))),
  ...each('a permutation', [...noCounts, 1e18], (n) => core.randomStream(0, 0, 'x').permutation(any(n))),
  ...each('integers below', [...noCounts, 0], (n) => core.randomStream(0, 0, 'x').integers(3, any(n))),
  ...each('mask ratio of', [NaN, -0.1, 1.1, Infinity, 'x'], (r) => core.maskRatioAt('cosine', any(r))),
  ...each('steps of a sampler', [...noCounts, 0, 1e9, 1e21], (n) => core.tokensPerStep('arccos', any(n), 16)),
  ...each('tokens of a sampler', [...noCounts, 0], (n) => core.tokensPerStep('arccos', 4, any(n))),
  ...each('schedule of a sampler', ['constructor', undefined], (s) => core.tokensPerStep(any(s), 4, 16)),
  ...each('float32 of shape', [[-1], [NaN], [1.5], [1e9, 1e9], 'x', null], (shape) => core.float32(any(shape))),
  ...each('int32 of shape', [[-1], [Infinity], [2 ** 53]], (shape) => core.int32(any(shape))),
  ...each('float32 with data', [[1], [1, 2, 3]], (data) => core.float32([2], data)),
  ...each('temperature', [NaN, 0, -1, Infinity, 'x'], (temperature) =>
    core.resolveSampling({ temperature: any(temperature) }),
  ),
  ...each('top-k', [NaN, -1, 0.5, Infinity, 'x'], (topK) => core.resolveSampling({ topK: any(topK) })),
  ...each('top-p', [NaN, -1, 1.5, Infinity, 'x'], (topP) => core.resolveSampling({ topP: any(topP) })),
  ...each('guidance', [NaN, Infinity, 'x', null, { kind: 'x' }], (scale) =>
    core.resolveDistillation({ teacherGuidance: any(scale) }),
  ),
  ...each(
    'multi-step options',
    [
      { numSteps: 0 },
      { numSteps: 1e21 },
      { numSteps: NaN },
      { schedule: 'x' },
      { guidanceScale: NaN },
      { choiceTemperature: -1 },
      { finalChoiceTemperature: Infinity },
      { confidence: 'x' },
    ],
    (options) => core.resolveSampler(any(options)),
  ),
  ...each(
    'token initialization',
    [
      { maskRatio: NaN },
      { maskRatio: 2 },
      { maskRatio: [0.5] },
      { maskRatio: [0.6, 0.5] },
      { maskRatio: 'x' },
      { maskRatio: null },
      { embeddingNoise: NaN },
      { embeddingNoise: { scale: -1 } },
      { embeddingNoise: { kind: 'linear', scale: 0.5 } },
    ],
    (init) => resolveTokenInit(any(init)),
  ),
  ...each('mask positions', [[-1], [7], [NaN], [1.5]], (counts) => chooseMasked(float32([1, 6]), counts)),
  ...each('uniforms to mask by', [float32([6]), spoilt(float32([1, 6]), NaN)], (u) => chooseMasked(u, [2])),
  ...each('rows of', [{}, null, { a: float32([]) }, { a: float32([2]), b: float32([3]) }], (tree) =>
    core.numRows(any(tree)),
  ),
  ...each(
    'rows taken',
    [
      ['first -1', -1, 1],
      ['first NaN', NaN, 1],
      ['count -1', 0, -1],
      ['count 1.5', 0, 1.5],
      ['count NaN', 0, NaN],
      ['count 1e12', 0, 1e12],
    ] as const,
    ([, first, count]) => core.takeRows({ a: float32([2]) }, first, count),
  ),
  ...each('rows gathered', [[-1], [2], [0.5], [NaN]], (rows) => core.gatherRows(float32([2]), rows)),
  ...each('quantile of', [NaN, -1, 2], (p) =>
    truncatedNormalQuantile(p, { mean: 0, deviation: 1, lower: 0, upper: 1 }),
  ),
  ...each('normals from words', [-1, NaN, 9], (count) => core.normalsFromWords(new Uint32Array(4), count)),
  ...each('drawn tensor of shape', [[-1], [1e9, 1e9], [NaN]], (shape) =>
    core.drawnTensor(shape, core.randomStream(0, 0, 'x'), 'normal'),
  ),
  ...each('half tensor of', [[3], [-1]], (shape) =>
    core.halfTensor(shape, { format: 'F16', bits: new Uint16Array(2) }),
  ),
  ...each('prompt list', [[]], (texts) => core.drawnFromTexts(definition.conditions, any(texts))),
  ...each(
    'learning rate at',
    [
      [{ warmupSteps: 10 }, NaN, 10],
      [{ warmupSteps: 10 }, -1, 10],
      [{ kind: 'cosine' }, 0, NaN],
      [{ kind: 'x' }, 0, 10],
    ],
    ([schedule, step, numSteps]) => core.learningRateFactor(any(schedule), any(step), any(numSteps)),
  ),
  ...each(
    'average decay',
    [
      [NaN, 0],
      [1, 0],
      [0.9, -1],
      [0.9, NaN],
    ],
    ([decay, s]) => core.movingAverageDecay(decay!, s!),
  ),
  ...each(
    'embedding noise at',
    [
      [{ scale: NaN }, 0],
      [{ kind: 'linear', scale: 1, warmupSteps: 5 }, -1],
      [{ kind: 'linear', scale: 1, warmupSteps: 5 }, NaN],
      [{ kind: 'linear', scale: 1, warmupSteps: NaN }, 1],
    ],
    ([schedule, step]) => core.embeddingNoiseScale(any(schedule), any(step)),
  ),
  ...each('optimizer scalars at update', noCounts, (update) =>
    core.optimizerScalars(core.resolveOptimizer({}), 0.1, any(update)),
  ),
  ...each('learning rate of scalars', [NaN, -1, Infinity], (rate) =>
    core.optimizerScalars(core.resolveOptimizer({}), rate, 0),
  ),
] satisfies Refusal[];

describe('wrong numbers', () => {
  it.each<Refusal>(refused)('%s', async (_name, call) => {
    await expectRefusal(call);
  });
});
