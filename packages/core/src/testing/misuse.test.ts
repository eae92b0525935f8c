/**
 * Public functions that take numbers or arrays, called with wrong ones: each refuses with a DimoError, or gives a result
 * without NaN; none throws something else, hangs or allocates by an unchecked number.
 */
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as core from '../index.js';
import { float32, int32, type HostTensor, type HostTree } from '../index.js';
import { any, each, expectRefusal, noCounts, type Refusal } from './refusals.js';
import { tinyTeacher } from './tiny-model.js';

const definition = tinyTeacher();
const { model } = definition;
const space = model.tokenSpace;
const weights = model.initialize(core.randomStream(1, 0, 'weights'));
const teacher: core.Teacher = { ...definition, weights };
const decoder: core.TokenDecoder = {
  name: 'toy',
  parameters: {},
  imageShape: [2, 3, 1],
  grid: [2, 3],
  codebookSize: 6,
  decode: (_, tokens) => tf.reshape(tf.cast(tokens, 'float32'), [tokens.shape[0], 2, 3, 1]) as tf.Tensor4D,
};

let engine: core.Engine;
let state: core.DeviceTree;
let oneStep: core.OneStepSampler;
let multiStep: core.MultiStepSampler;
let decoding: core.CompiledDecoder;
let nothing: core.DeviceTree;

const tokenInit = { maskRatio: 0.6, embeddingNoise: 0.1, noiseDeviation: 0.5 };
const labels = (...ids: number[]): HostTree => ({ label: int32([ids.length], ids) });

beforeAll(async () => {
  await tf.setBackend('cpu');
  engine = core.eagerEngine('cpu');
  state = await engine.upload(weights);
  nothing = await engine.upload({});
  oneStep = await core.compileOneStep(engine, model, { batchSize: 2, tokenInit });
  multiStep = await core.compileMultiStep(engine, definition, { batchSize: 2, sampler: { numSteps: 2 } });
  decoding = await core.compileDecoder(engine, decoder, 2);
});
afterAll(() => engine.dispose());

/** A tensor with one element replaced. */
function spoilt<T extends HostTensor>(tensor: T, value: number): T {
  const data = tensor.data.slice();
  data[1] = value;
  return { ...tensor, data };
}

const drawsOf = () => core.randomOneStepDraws(0, 0, oneStep);
const sampleWith = (draws: object, condition = labels(0, 1)) =>
  oneStep.sample(state, condition, { ...drawsOf(), ...draws } as core.OneStepDraws);
const multiDraws = () => core.randomMultiStepDraws(0, 0, { batchSize: 2, tokenSpace: space });
const sampleSteps = (request: object) =>
  multiStep.sample(state, { condition: labels(0, 1), draws: multiDraws(), ...request });

const sequences = { tokens: int32([3, 6]), condition: labels(0, 1, 2) };
const training = (options: object, data: object = {}) =>
  core.teacherTrainingProgram(definition, { ...sequences, ...data }, options).initialState();

const refused = [
  ...each(
    'distillation options',
    [
      ...['numSteps', 'batchSize', 'accumulation', 'auxiliaryRounds', 'seed', 'averageEvery'].flatMap((key) =>
        noCounts.filter((value) => value !== null).map((value) => ({ [key]: value })),
      ),
      { generatorLearningRate: NaN },
      { conditionDrop: 2 },
      { dropout: { teacher: NaN } },
      { maskRatioRange: [0.5, 0.1] },
      { maskRatioRange: [NaN, 1] },
      { generatorOptimizer: { beta1: NaN } },
      { learningRateSchedule: { warmupSteps: -1 } },
      { learningRateSchedule: { kind: 'x' } },
      { lossWeight: NaN },
    ],
    (options) => core.createDistillation(teacher, any(options)),
  ),
  ...each(
    'negative condition',
    [{}, labels(0), { label: int32([], [9]) }, { label: int32([], [-1]) }],
    (negativeCondition) => core.createDistillation(teacher, {}, { negativeCondition: negativeCondition as HostTree }),
  ),
  ...each('first weights', [{}, { 'tokens.weight': float32([1]) }], (generator) =>
    core
      .createDistillation(teacher, {}, { models: { generator: { weights: generator as HostTree } } })
      .program.initialState(),
  ),
  ...each(
    'teacher training options',
    [
      ...['numSteps', 'batchSize', 'seed'].flatMap((key) =>
        noCounts.filter((value) => value !== null).map((value) => ({ [key]: value })),
      ),
      { maskSchedule: 'x' },
      { onNonFinite: 'x' },
      { labelSmoothing: NaN },
      { dropout: 1 },
      { averageDecay: NaN },
      { learningRate: Infinity },
    ],
    (options) => training(options),
  ),
  ...each(
    'teacher training data',
    [
      { tokens: int32([3, 5]) },
      { tokens: float32([3, 6]) },
      { tokens: int32([0, 6]) },
      { tokens: spoilt(sequences.tokens, 6) },
      { tokens: spoilt(sequences.tokens, -1) },
      { tokens: { dtype: 'int32', shape: [3, 6], data: [] } },
      { tokens: null },
      { condition: {} },
      { condition: labels(0, 1) },
      { condition: labels(0, 1, 4) },
      { condition: labels(0, 1, -1) },
      { condition: { label: float32([3]) } },
      { condition: { ...labels(0, 1, 2), more: int32([3]) } },
    ],
    (data) => training({}, data),
  ),
  ...each('weights to continue from', [{}, { ...weights, more: float32([1]) }], (initial) =>
    core.teacherTrainingProgram(definition, sequences, {}, initial as HostTree).initialState(),
  ),
  ...each(
    'training options',
    [
      { until: NaN },
      { until: -1 },
      { maxSkippedInARow: 0 },
      { from: { step: -1, counters: {}, state: {} } },
      { from: { step: 0.5, counters: {}, state: {} } },
      { from: { step: 0, counters: { updates: NaN }, state: {} } },
      { from: { step: 0, counters: {}, state: {} } },
      { from: { step: 0, counters: { updates: 0, skipped: 0 }, state: weights } },
    ],
    (options) =>
      core.runTraining(
        core.teacherTrainingProgram(definition, sequences, { numSteps: 2 }),
        any({ engine, ...options }),
      ),
  ),
  ...each('batch of a generator', [...noCounts, 0, 1e9, 1e18], (batchSize) =>
    core.compileOneStep(engine, model, { batchSize: any(batchSize), tokenInit }),
  ),
  ...each('draws for a batch', [...noCounts, 0, 1e9, 1e18], (batchSize) =>
    core.randomOneStepDraws(0, 0, { ...oneStep, batchSize: any(batchSize) }),
  ),
  ...each('seed of draws', noCounts, (seed) => core.randomOneStepDraws(any(seed), 0, oneStep)),
  ...each('first sample', noCounts, (first) => core.randomOneStepDraws(0, any(first), oneStep)),
  ...each(
    'initialization of a generator',
    [
      { maskRatio: NaN },
      { maskRatio: -0.1 },
      { embeddingNoise: 1.5 },
      { embeddingNoise: NaN },
      { noiseDeviation: NaN },
      { noiseDeviation: -1 },
    ],
    (init) => core.compileOneStep(engine, model, { batchSize: 1, tokenInit: { ...tokenInit, ...init } }),
  ),
  ...each(
    'conditions',
    [
      {},
      { label: null },
      labels(0),
      labels(0, 1, 2),
      labels(0, 4),
      labels(0, -1),
      { label: float32([2]) },
      { ...labels(0, 1), more: int32([2]) },
      null,
    ],
    (condition) => sampleWith({}, condition as HostTree),
  ),
  ...each('draws', [NaN, Infinity, -Infinity, 1, -0.5], (value) =>
    sampleWith({ tokenDraws: spoilt(drawsOf().tokenDraws, value) }),
  ),
  ...each('embedding noise', [NaN, Infinity, -Infinity], (value) =>
    sampleWith({ embeddingNoise: spoilt(drawsOf().embeddingNoise!, value) }),
  ),
  ...each('initial tokens', [-1, 7, 2 ** 30], (value) =>
    sampleWith({ initialTokens: spoilt(drawsOf().initialTokens, value) }),
  ),
  ...each('mask ratios', [NaN, -1, Infinity], (value) =>
    sampleWith({ initialMaskRatio: spoilt(drawsOf().initialMaskRatio, value) }),
  ),
  ...each('draws that are none', ['tokenDraws', 'embeddingNoise', 'initialTokens', 'initialMaskRatio'], (name) =>
    sampleWith({ [name]: undefined }),
  ),
  ...each('draws of another shape', ['tokenDraws', 'embeddingNoise', 'initialTokens', 'initialMaskRatio'], (name) =>
    sampleWith({ [name]: name === 'initialTokens' ? int32([1, 6]) : float32([3, 5]) }),
  ),
  ['weights of another model', () => oneStep.sample(nothing, labels(0, 1), drawsOf())],
  ...each('seed of samples', noCounts, (seed) =>
    core.sampleOneStep(oneStep, { weights: state, condition: labels(0, 1), seed: any(seed) }),
  ),
  ...each('conditions of samples', [{}, null, { label: int32([]) }, labels(0, 9)], (condition) =>
    core.sampleOneStep(oneStep, { weights: state, condition: condition as HostTree, seed: 0 }),
  ),
  ...each('batch of the sampler', [...noCounts, 0, 1e9, 1e18], (batchSize) =>
    core
      .compileMultiStep(engine, definition, { batchSize: any(batchSize) })
      .then((made) => made.sample(state, { condition: labels(0), draws: multiDraws() })),
  ),
  ...each('multi-step draws for a batch', [...noCounts, 0, 1e9, 1e18], (batchSize) =>
    core.randomMultiStepDraws(0, 0, { batchSize: any(batchSize), tokenSpace: space }),
  ),
  ...each('seed of multi-step draws', noCounts, (seed) =>
    core.randomMultiStepDraws(any(seed), 0, { batchSize: 1, tokenSpace: space }),
  ),
  ...each(
    'multi-step requests',
    [
      { condition: labels(0, 4) },
      { condition: labels(0) },
      { condition: {} },
      { nullCondition: labels(0, -1) },
      { nullCondition: {} },
      { knownTokens: int32([2, 5]) },
      { knownTokens: int32([12]) },
      { knownTokens: float32([2, 6]) },
      { knownTokens: spoilt(int32([2, 6]), 7) },
      { knownTokens: spoilt(int32([2, 6]), -1) },
      { draws: { ...multiDraws, tokenDraws: () => new Float32Array(12).fill(NaN) } },
      { draws: { ...multiDraws, tokenDraws: () => new Float32Array(12).fill(1) } },
      { draws: { ...multiDraws, tokenDraws: () => new Float32Array(3) } },
      { draws: { tokenDraws: () => new Float32Array(12), gumbel: () => [], uniform: () => [] } },
      {
        draws: {
          tokenDraws: () => new Float32Array(12),
          gumbel: () => new Float64Array(12).fill(NaN),
          uniform: () => [],
        },
      },
    ],
    sampleSteps,
  ),
  ...each('weights that are not finite', [NaN, Infinity], async (value) => {
    const tree = await engine.upload({ ...weights, 'output.bias': spoilt(weights['output.bias']!, value) });
    try {
      await multiStep.sample(tree, { condition: labels(0, 1), draws: multiDraws() });
    } finally {
      await tree.dispose();
    }
  }),
  ...each('seed of multi-step samples', noCounts, (seed) =>
    core.sampleMultiStep(multiStep, model, { weights: state, condition: labels(0, 1), seed: any(seed) }),
  ),
  ...each('batch of a decoder', [...noCounts, 0, 1e18], (batchSize) =>
    core.compileDecoder(engine, decoder, any(batchSize)),
  ),
  ...each(
    'tokens to decode',
    [
      null,
      int32([6]),
      int32([1, 5]),
      float32([1, 6]),
      spoilt(int32([1, 6]), 6),
      spoilt(int32([1, 6]), -1),
      { dtype: 'int32', shape: [1, 6], data: [0, 0, 0, 0, 0, 0] },
      { dtype: 'int32', shape: [2, 6], data: new Int32Array(6) },
    ],
    (tokens) => decoding.decode(nothing, any(tokens)),
  ),
] satisfies Refusal[];

describe('wrong numbers and arrays', () => {
  it.each<Refusal>(refused)('%s', async (_name, call) => {
    await expectRefusal(call);
  });

  it.each([4, -1])('conditions: label %i is refused before the device sees it', async (label) => {
    await expect(sampleWith({}, labels(0, label))).rejects.toMatchObject({ code: 'option' });
    await expect(sampleSteps({ condition: labels(0, label) })).rejects.toMatchObject({ code: 'option' });
  });

  it('leave the samplers as they were', async () => {
    const tokens = await core.sampleOneStep(oneStep, { weights: state, condition: labels(0, 1, 2), seed: 1 });
    expect(tokens.shape).toEqual([3, 6]);
    const steps = await core.sampleMultiStep(multiStep, model, { weights: state, condition: labels(0, 1, 2), seed: 1 });
    expect(steps.data.every((token) => token >= 0 && token < 6)).toBe(true);
    expect((await decoding.decode(nothing, int32([0, 6]))).shape).toEqual([0, 2, 3, 1]);
  });

  it('calls that cross give the same samples as one after the other', async () => {
    const sample = (seed: number) => core.sampleOneStep(oneStep, { weights: state, condition: labels(0, 1, 2), seed });
    const alone = [await sample(1), await sample(2), await sample(3)];
    expect(await Promise.all([sample(1), sample(2), sample(3)])).toEqual(alone);
  });

  it('what was disposed is refused: samplers, decoder, weights', async () => {
    const own = core.eagerEngine('cpu');
    const tree = await own.upload(weights);
    const sampler = await core.compileOneStep(own, model, { batchSize: 1, tokenInit });
    const steps = await core.compileMultiStep(own, definition, { batchSize: 1, sampler: { numSteps: 2 } });
    const decode = await core.compileDecoder(own, decoder, 1);
    const empty = await own.upload({});
    for (const item of [sampler, steps, decode]) for (let twice = 0; twice < 2; twice++) await item.dispose();
    const request = { weights: tree, condition: labels(0), seed: 0 };
    const after = [
      () => core.sampleOneStep(sampler, request),
      () => core.sampleMultiStep(steps, model, request),
      () => decode.decode(empty, int32([1, 6])),
      async () => {
        await own.dispose();
        await core.compileOneStep(own, model, { batchSize: 1, tokenInit });
      },
    ];
    for (const call of after) await expect(call()).rejects.toMatchObject({ code: 'option' });
  });
});
