/**
 * Laws of the training step: the generator's weight gradient is the derivative of <g / B, z(theta)> with the divergence
 * gradient g held fixed; an auxiliary equal to an unguided teacher gives exactly zero; the gradient of a batch is the
 * sum of its parts; micro-steps and ranks equal one larger batch; a run resumes bit for bit.
 */
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  createDistillation,
  drawDistillation,
  eagerEngine,
  float32,
  gatherRows,
  phaseInputs,
  randomStream,
  resolveDistillation,
  runTraining,
  type Distillation,
  type DistillationExtras,
  type DistillationOptions,
  type HostTree,
  type PhaseDraws,
  type RankExchange,
  type Teacher,
  type TensorTree,
} from '../index.js';
import type { DistillationPhase } from './draws.js';
import { localRanks } from '../testing/local-ranks.js';
import { tinyTeacher } from '../testing/tiny-model.js';
import { auxiliaryGradients, generatorGradients } from './dimo-step.js';

beforeAll(() => tf.setBackend('cpu'));

function makeTeacher(seed = 0): Teacher {
  const definition = tinyTeacher();
  return { ...definition, weights: definition.model.initialize(randomStream(seed, 0, 'teacher')) };
}

/** Teacher, generator and auxiliary with different weights. */
function makeDistillation(options: DistillationOptions = {}, extras: DistillationExtras = {}): Distillation {
  const teacher = makeTeacher();
  return createDistillation(
    teacher,
    { batchSize: 4, numSteps: 6, tokenInit: { noiseUnit: 'unit' }, ...options },
    {
      trace: true,
      models: { generator: { weights: makeTeacher(1).weights }, auxiliary: { weights: makeTeacher(2).weights } },
      ...extras,
    },
  );
}

function tensors(tree: HostTree): TensorTree {
  return Object.fromEntries(
    Object.entries(tree).map(([name, { data, shape, dtype }]) => [name, tf.tensor(data, [...shape], dtype)]),
  );
}

/** Gradients and outputs of one phase on the host. */
function run(distillation: Distillation, phase: DistillationPhase, draws: PhaseDraws, state?: HostTree) {
  return tf.tidy(() => {
    const inputs = tensors(phaseInputs(distillation.context, draws, { phase, step: 0, initialMaskRatio: 0.6 }));
    const gradientsOf = phase === 'generator' ? generatorGradients : auxiliaryGradients;
    const result = gradientsOf(distillation.setup, tensors(state ?? distillation.program.initialState()), inputs);
    const read = (tree: TensorTree) =>
      Object.fromEntries(Object.entries(tree).map(([name, tensor]) => [name, Array.from(tensor.dataSync())]));
    return { gradients: read(result.gradients), outputs: read(result.outputs) };
  });
}

async function drawsOf(distillation: Distillation, phase: DistillationPhase): Promise<PhaseDraws> {
  return (await drawDistillation(distillation.context, 0))[phase][0]!;
}

function rowsOf(draws: PhaseDraws, rows: number[]): PhaseDraws {
  const pick = (tree: HostTree) =>
    Object.fromEntries(Object.entries(tree).map(([name, tensor]) => [name, gatherRows(tensor, rows)]));
  const { condition, dropout: _dropout, unconditionalDropout: _other, ...others } = draws;
  return { ...(pick(others as unknown as HostTree) as unknown as PhaseDraws), condition: pick(condition) };
}

const options: [string, DistillationOptions][] = [
  ['forward KL, guided', { teacherGuidance: 2 }],
  [
    'Jeffreys, adaptive guidance, temperatures',
    {
      divergence: { kind: 'jeffreys', beta: -0.2 },
      teacherGuidance: { kind: 'ratio-adaptive', scale: 3 },
      teacherTemperature: 0.8,
      auxiliaryTemperature: 1.2,
    },
  ],
  [
    'mean reduction, ratio weight, trained embeddings',
    { lossReduction: 'mean', lossWeight: 2, ratioWeight: 'inverse-ratio', trainEmbeddings: true },
  ],
];

describe('generator gradients', () => {
  it.each(options)('are the derivative of <g, z> times the reduction: %s', async (_, given) => {
    const distillation = makeDistillation(given);
    const draws = await drawsOf(distillation, 'generator');
    const state = distillation.program.initialState();
    const { gradients, outputs } = run(distillation, 'generator', draws, state);
    const g = outputs['divergenceGradient']!;
    const [batch, size] = [4, 6 * 7];
    const scale = given.lossReduction === 'mean' ? given.lossWeight! / (batch * size) : 1 / batch;
    // The loss that is reported is the surrogate's value.
    expect(outputs['loss']![0]).toBeCloseTo(0.5 * scale * g.reduce((sum, value) => sum + value * value, 0), 5);
    const surrogate = (name: string, i: number, value: number) => {
      const data = state[`generator/${name}`]!.data.slice();
      data[i] = value;
      const moved = { ...state, [`generator/${name}`]: { ...state[`generator/${name}`]!, data } as HostTree[string] };
      const z = run(distillation, 'generator', draws, moved).outputs['generatorLogits']!;
      return z.reduce((sum, logit, j) => sum + logit * g[j]! * scale, 0);
    };
    let largest = 0;
    for (const [name, i] of [
      ['hidden.weight', 5],
      ['hidden.bias', 2],
      ['output.weight', 11],
      ['output.bias', 3],
    ] as const) {
      const at = state[`generator/${name}`]!.data[i]!;
      const step = 2 ** -6;
      const slope = (surrogate(name, i, at + step) - surrogate(name, i, at - step)) / (2 * step);
      largest = Math.max(largest, Math.abs(slope));
      // float32 logits of order 1, summed and divided by 2^-5: a few 1e-5; curvature adds O(step^2).
      expect(Math.abs(gradients[name]![i]! - slope)).toBeLessThan(1e-3 * Math.max(1, Math.abs(slope)));
    }
    expect(largest).toBeGreaterThan(1e-4);
    expect('tokens.weight' in gradients).toBe(given.trainEmbeddings === true);
  });

  it('are exactly zero when the auxiliary is the unguided teacher', async () => {
    const distillation = createDistillation(makeTeacher(), { batchSize: 4, teacherGuidance: 1 });
    const { gradients, outputs } = run(distillation, 'generator', await drawsOf(distillation, 'generator'));
    expect(outputs['loss']).toEqual([0]);
    expect(outputs['totalVariation']).toEqual([0]);
    for (const gradient of Object.values(gradients)) expect(gradient.every((value) => value === 0)).toBe(true);
  });

  it('are the sum of those of the samples, in any order', async () => {
    const distillation = makeDistillation();
    const draws = await drawsOf(distillation, 'generator');
    const whole = run(distillation, 'generator', draws).gradients;
    const reversed = run(distillation, 'generator', rowsOf(draws, [3, 2, 1, 0])).gradients;
    const parts = [
      [0, 1],
      [2, 3],
    ].map((rows) => run(distillation, 'generator', rowsOf(draws, rows)).gradients);
    for (const [name, gradient] of Object.entries(whole))
      gradient.forEach((value, i) => {
        expect(reversed[name]![i]).toBeCloseTo(value, 5);
        expect(parts[0]![name]![i]! + parts[1]![name]![i]!).toBeCloseTo(value, 5);
      });
  });

  it('come from tokens that the decoder knows', async () => {
    const distillation = makeDistillation();
    const state = distillation.program.initialState();
    state['generator/output.bias']!.data[6] = 50; // the mask token's logit
    const { outputs } = run(distillation, 'generator', await drawsOf(distillation, 'generator'), state);
    for (const token of outputs['tokens']!) expect(token).toBeLessThan(6);
    expect(outputs['tokenEntropy']![0]).toBeLessThan(0.01);
  });
});

describe('dropout', () => {
  it('acts in the networks that ask for it, and the guided passes drop out independently', async () => {
    const plain = makeDistillation({ teacherGuidance: 2 });
    const base = run(plain, 'generator', await drawsOf(plain, 'generator')).outputs;
    const changed = { generator: 'generatorLogits', auxiliary: 'auxiliaryLogits', teacher: 'teacherLogits' } as const;
    for (const role of ['generator', 'auxiliary', 'teacher'] as const) {
      const distillation = makeDistillation({ teacherGuidance: 2, dropout: { [role]: 0.5 } });
      const draws = await drawsOf(distillation, 'generator');
      expect(draws.dropout![`${role}/hidden`]!.shape).toEqual([4, 6, 8]);
      expect(Object.keys(draws.unconditionalDropout!)).toEqual(role === 'teacher' ? ['teacher/hidden'] : []);
      const { outputs } = run(distillation, 'generator', draws);
      expect(outputs[changed[role]]).not.toEqual(base[changed[role]]);
      if (role !== 'generator') expect(outputs['generatorLogits']).toEqual(base['generatorLogits']);
    }
    const engine = eagerEngine('cpu');
    const all = makeDistillation({
      dropout: { teacher: 0.1, auxiliary: 0.1, generator: 0.1 },
      auxiliaryTrainingGuidance: 2,
    });
    const { counters } = await runTraining(all.program, { engine });
    expect(counters['generatorUpdates']).toBe(6);
    expect(() => resolveDistillation({ dropout: { teacher: 1 } })).toThrow('distillation.dropout');
  });
});

describe('auxiliary gradients', () => {
  it.each<[string, DistillationOptions]>([
    ['hard', { labelSmoothing: 0.1 }],
    [
      'soft and hard, guided, dropped conditions',
      { softWeight: 0.4, softTemperature: 2, auxiliaryTrainingGuidance: 1.5, conditionDrop: 0.5 },
    ],
  ])('are the derivative of the loss: %s', async (_, given) => {
    const distillation = makeDistillation(given);
    const draws = await drawsOf(distillation, 'auxiliary');
    const state = distillation.program.initialState();
    const { gradients } = run(distillation, 'auxiliary', draws, state);
    for (const [name, i] of [
      ['hidden.weight', 9],
      ['output.weight', 4],
      ['output.bias', 1],
    ] as const) {
      const at = state[`auxiliary/${name}`]!.data[i]!;
      const loss = (value: number) => {
        const data = state[`auxiliary/${name}`]!.data.slice();
        data[i] = value;
        return run(distillation, 'auxiliary', draws, {
          ...state,
          [`auxiliary/${name}`]: { ...state[`auxiliary/${name}`]!, data } as HostTree[string],
        }).outputs['loss']![0]!;
      };
      const slope = (loss(at + 2 ** -6) - loss(at - 2 ** -6)) / 2 ** -5;
      // A float32 loss of order 1 divided by 2^-5: 1e-5 or so.
      expect(Math.abs(gradients[name]![i]! - slope)).toBeLessThan(2e-4);
    }
  });

  it('vanish for a soft target when the auxiliary is the generator seeing the same tokens', async () => {
    const distillation = makeDistillation({ softWeight: 1, labelSmoothing: 0 });
    const { outputs } = run(distillation, 'auxiliary', await drawsOf(distillation, 'auxiliary'));
    expect(outputs['softLoss']![0]).toBeGreaterThan(0);
    expect(outputs['loss']![0]).toBeCloseTo(outputs['softLoss']![0]!, 6);
  });
});

describe('distillation', () => {
  it('resumes bit for bit: 6 = 3 + 3 steps', async () => {
    const engine = eagerEngine('cpu');
    const { program } = makeDistillation({ auxiliaryRounds: 2, accumulation: 2, batchSize: 2 });
    const before = tf.memory().numTensors;
    const whole = await runTraining(program, { engine });
    expect(tf.memory().numTensors).toBe(before);
    const resumed = await runTraining(program, { engine, from: await runTraining(program, { engine, until: 3 }) });
    expect(resumed.state).toEqual(whole.state);
    expect(resumed.counters).toEqual({ generatorUpdates: 3, auxiliaryUpdates: 6, skipped: 0 });
  });

  it('is the same whatever the micro-steps and ranks that share its batch', async () => {
    const engine = eagerEngine('cpu');
    const common = {
      numSteps: 3,
      learningRateSchedule: { kind: 'constant', warmupSteps: 0 } as const,
      generatorOptimizer: { clipNorm: 1 },
      dropout: { teacher: 0.1, auxiliary: 0.2, generator: 0.1 },
      auxiliaryTrainingGuidance: 2,
    };
    const history = async (distillation: Distillation, exchange?: RankExchange) => {
      const metrics: Readonly<Record<string, number>>[] = [];
      const { state } = await runTraining(distillation.program, {
        engine,
        ...(exchange ? { exchange } : {}),
        onStep: (report) => void metrics.push(report.metrics),
      });
      return { state, metrics };
    };
    const whole = await history(makeDistillation({ ...common, batchSize: 4 }));
    const ranks = localRanks(2);
    const runs = [
      await history(makeDistillation({ ...common, batchSize: 2, accumulation: 2 })),
      await history(makeDistillation({ ...common, batchSize: 1, accumulation: 4 })),
      ...(await Promise.all(
        ranks.map((exchange, rank) =>
          history(makeDistillation({ ...common, batchSize: 4 }, { shard: { rank, ranks: 2 } }), exchange),
        ),
      )),
      ...(await Promise.all(
        localRanks(2).map((exchange, rank) =>
          history(
            makeDistillation({ ...common, batchSize: 2, accumulation: 2 }, { shard: { rank, ranks: 2 } }),
            exchange,
          ),
        ),
      )),
    ];
    for (const { state, metrics } of runs) {
      for (const [name, { data }] of Object.entries(whole.state))
        data.forEach((value, i) => expect(state[name]!.data[i], name).toBeCloseTo(value, 5));
      whole.metrics.forEach((expected, step) => {
        for (const [name, value] of Object.entries(expected))
          // Ids that are used at all cannot be added up: a rank counts its own.
          if (name !== 'generator/codebookUsed') expect(metrics[step]![name], name).toBeCloseTo(value, 4);
      });
    }
    // Ranks hold the same state, bit for bit.
    expect(runs[2]!.state).toEqual(runs[3]!.state);
    expect(runs[4]!.state).toEqual(runs[5]!.state);
  });

  it('keeps teacher and embeddings, moves the rest, and reports health', async () => {
    const engine = eagerEngine('cpu');
    const { program } = makeDistillation({ learningRateSchedule: { kind: 'constant', warmupSteps: 0 } as const });
    const before = program.initialState();
    const reports: Readonly<Record<string, number>>[] = [];
    const { state } = await runTraining(program, { engine, onStep: ({ metrics }) => void reports.push(metrics) });
    for (const [name, { data }] of Object.entries(state)) {
      const isFixed = name.startsWith('teacher/') || name.endsWith('/tokens.weight');
      if (isFixed) expect(data, name).toEqual(before[name]!.data);
      else expect(data, name).not.toEqual(before[name]!.data);
    }
    expect(Object.keys(reports[0]!)).toEqual(
      expect.arrayContaining([
        'generator/loss',
        'generator/forwardKl',
        'generator/totalVariation',
        'generator/tokenEntropy',
        'generator/codebookUsed',
        'generator/gradientNorm',
        'generator/learningRate',
        'generator/averageDecay',
        'auxiliary/loss',
        'auxiliary/maskedNll',
        'auxiliary/gradientNorm',
        'auxiliary/learningRate',
      ]),
    );
    for (const report of reports)
      for (const [name, value] of Object.entries(report)) expect(Number.isFinite(value), name).toBe(true);
    expect(reports[0]!['generator/codebookUsed']).toBeLessThanOrEqual(1);
  });

  it('skips only the generator when the teacher is damaged, and goes on as the original does in reference runs', async () => {
    const engine = eagerEngine('cpu');
    const damaged = (onNonFinite: 'skip' | 'reference') => {
      const { program } = makeDistillation({
        onNonFinite,
        learningRateSchedule: { kind: 'constant', warmupSteps: 0 } as const,
      });
      const state = program.initialState();
      state['teacher/output.bias'] = float32([7], new Float32Array(7).fill(NaN));
      return { program, from: { step: 0, counters: program.initialCounters, state } };
    };
    const skip = damaged('skip');
    const skipped = await runTraining(skip.program, { engine, from: skip.from });
    for (const [name, { data }] of Object.entries(skipped.state))
      if (/^(generator|ema|generatorOptimizer)\//.test(name)) expect(data, name).toEqual(skip.from.state[name]!.data);
    expect(skipped.counters).toEqual({ generatorUpdates: 0, auxiliaryUpdates: 6, skipped: 6 });
    const reference = damaged('reference');
    const gone = await runTraining(reference.program, { engine, from: reference.from });
    // Every NaN of the gradient became 0: an update that moves nothing, made and counted.
    expect(gone.counters).toEqual({ generatorUpdates: 6, auxiliaryUpdates: 6, skipped: 0 });
    expect(gone.state['generator/hidden.weight']).toEqual(reference.from.state['generator/hidden.weight']);
  });

  it('leaves everything unchanged when a network overflows, counts it, or stops', async () => {
    const engine = eagerEngine('cpu');
    const broken = makeTeacher();
    broken.weights['hidden.bias']!.data.fill(1e30);
    broken.weights['output.weight']!.data.fill(1e30);
    const make = (onNonFinite: 'skip' | 'throw') =>
      createDistillation(broken, { batchSize: 2, numSteps: 5, onNonFinite }).program;
    const { state, counters } = await runTraining(make('skip'), { engine });
    expect(state).toEqual(make('skip').initialState());
    expect(counters).toEqual({ generatorUpdates: 0, auxiliaryUpdates: 0, skipped: 5 });
    await expect(runTraining(make('throw'), { engine })).rejects.toMatchObject({ code: 'non-finite' });
    await expect(runTraining(make('skip'), { engine, maxSkippedInARow: 3 })).rejects.toThrow('3 steps in a row');
  });

  it('refuses wrong settings and networks that do not fit together', () => {
    expect(() => resolveDistillation({ batchSize: 0 })).toThrow('distillation.batchSize must be at least 1, got 0');
    expect(() => resolveDistillation({ softWeight: 2 })).toThrow('distillation.softWeight');
    expect(() => resolveDistillation({ teacherGuidance: NaN })).toThrow('distillation.teacherGuidance');
    expect(() => resolveDistillation({ maskSchedule: 'sine' as never })).toThrow(
      'distillation.maskSchedule must be "linear"',
    );
    expect(() => resolveDistillation({ lossReduction: 'max' as never })).toThrow('"sum" or "mean"');
    const other = tinyTeacher({ codebookSize: 9 }).model;
    expect(() => createDistillation(makeTeacher(), {}, { models: { generator: { model: other } } })).toThrow(
      "must have the teacher's token space",
    );
  });
});
