/** What all programs of phases have in common: one call for a step, samples that can be keyed, batches that can be shared. */
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import { describe, expect, it } from 'vitest';
import {
  createDistillation,
  eagerEngine,
  float32,
  OptionError,
  phaseProgram,
  randomStream,
  resolveOptimizer,
  runTraining,
  scalar,
  type DistillationExtras,
  type DistillationOptions,
  type Phase,
  type PhaseProgramOptions,
  type Teacher,
} from '../index.js';
import { localRanks } from '../testing/local-ranks.js';
import { tinyTeacher } from '../testing/tiny-model.js';

function distillation(options: DistillationOptions = {}, extras: DistillationExtras = {}) {
  const definition = tinyTeacher();
  const teacher: Teacher = { ...definition, weights: definition.model.initialize(randomStream(1, 0, 'teacher')) };
  return createDistillation(
    teacher,
    { numSteps: 3, batchSize: 4, learningRateSchedule: { kind: 'constant', warmupSteps: 0 } as const, ...options },
    extras,
  ).program;
}

describe('the calls of a step', () => {
  it('are one where that is possible: the same state, counters and metrics bit for bit, and no leak', async () => {
    const engine = eagerEngine('cpu');
    const metrics: Record<'separate' | 'merged', unknown[]> = { separate: [], merged: [] };
    const separate = await runTraining(distillation({}, { separateCalls: true }), {
      engine,
      onStep: (report) => void metrics.separate.push(report.metrics),
    });
    await tf.setBackend('cpu');
    const before = tf.memory().numTensors;
    const merged = distillation();
    const joined = await runTraining(merged, { engine, onStep: (report) => void metrics.merged.push(report.metrics) });
    expect(tf.memory().numTensors).toBe(before);
    expect(joined).toEqual(separate);
    expect(metrics.merged).toEqual(metrics.separate);
    expect(merged.calls(0, merged.initialCounters, await merged.draw(0))).toHaveLength(1);
  });

  it('are several where phases rest or gradients are added up', async () => {
    const namesOf = async (program: ReturnType<typeof distillation>, step: number) =>
      program.calls(step, program.initialCounters, await program.draw(step)).map(({ fn }) => fn);
    const resting = distillation({ auxiliaryRounds: 2 });
    expect(await namesOf(resting, 0)).toEqual(['generator', 'auxiliary']);
    expect(await namesOf(resting, 1)).toEqual(['auxiliary']);
    expect(await namesOf(distillation({ accumulation: 2 }), 0)).toEqual([
      'generatorGradients',
      'generatorGradients',
      'generatorUpdate',
      'auxiliaryGradients',
      'auxiliaryGradients',
      'auxiliaryUpdate',
    ]);
    expect(await namesOf(distillation({}, { shard: { rank: 1, ranks: 2 } }), 0)).toEqual([
      'generatorGradients',
      'generatorUpdate',
      'auxiliaryGradients',
      'auxiliaryUpdate',
    ]);
  });

  it("continue each other's checkpoints", async () => {
    const engine = eagerEngine('cpu');
    const whole = await runTraining(distillation(), { engine });
    const half = await runTraining(distillation({}, { separateCalls: true }), { engine, until: 1 });
    expect((await runTraining(distillation(), { engine, from: half })).state).toEqual(whole.state);
  });

  it('are all compiled before the first of them runs', async () => {
    const engine = eagerEngine('cpu');
    const program = distillation({}, { separateCalls: true });
    const saved: number[] = [];
    const running = runTraining(program, {
      engine: {
        ...engine,
        info: engine.info,
        compile(fn, signature) {
          if (fn === program.functions['auxiliary']) throw new Error('cannot be compiled');
          return engine.compile(fn, signature);
        },
      },
      onFailure: async ({ snapshot }) => void saved.push((await snapshot()).step),
    });
    await expect(running).rejects.toThrow('cannot be compiled');
    expect(saved).toEqual([0]);
  });
});

describe('a loss that is not finite, with gradients that are', () => {
  /** A weight that is pulled to 0, and a loss that is given. */
  const program = (accumulation: number, losses: readonly number[]) =>
    phaseProgram({
      name: 'toy',
      numSteps: losses.length / accumulation,
      batchSize: 1,
      accumulation,
      onNonFinite: 'skip',
      initialWeights: () => ({ 'toy/w': float32([1], [1]) }),
      phases: [
        {
          trains: { prefix: 'toy', parameters: { w: { dtype: 'float32', shape: [1] } } },
          draw: ({ first }) => ({ loss: scalar(losses[first]!) }),
          gradients: (state, inputs) => ({ gradients: { w: state['toy/w']! }, outputs: { loss: inputs['loss']! } }),
          optimizer: resolveOptimizer({ beta1: 0 }),
          learningRate: () => 0.1,
        },
      ],
    });

  it.each([
    [1, [1, NaN, 1]],
    [2, [1, 1, 1, NaN, 1, 1]],
    [2, [1, 1, Infinity, 1, 1, 1]],
  ])('skips the update, in %i micro-steps, and leaves nothing for the next', async (accumulation, losses) => {
    const states: number[] = [];
    const skipped: boolean[] = [];
    const { counters } = await runTraining(program(accumulation, losses), {
      engine: eagerEngine('cpu'),
      async onStep(report) {
        states.push((await report.snapshot()).state['toy/w']!.data[0]!);
        skipped.push(report.skipped === true);
      },
    });
    expect(skipped).toEqual([false, true, false]);
    expect(counters).toEqual({ updates: 2, skipped: 1 });
    expect(states[1]).toBe(states[0]);
    expect(states[2]).toBeLessThan(states[1]!);
  });
});

describe('refused are', () => {
  it('shared batches without an exchange, and an exchange of a program that shares none', async () => {
    const engine = eagerEngine('cpu');
    const [exchange] = localRanks(1);
    const shared = distillation({}, { shard: { rank: 0, ranks: 2 } });
    await expect(runTraining(shared, { engine })).rejects.toThrow(/shared among 2 ranks, and no exchange/);
    await expect(runTraining(distillation(), { engine, exchange: exchange! })).rejects.toThrow(/does not share/);
  });

  it('two phases of one name', () => {
    const phase = { name: 'a' } as Phase;
    expect(() => phaseProgram({ ...options, phases: [phase, phase] })).toThrow(/different names/);
  });

  const options: PhaseProgramOptions = {
    name: 'toy',
    numSteps: 2,
    batchSize: 4,
    phases: [],
    initialWeights: () => ({}),
    onNonFinite: 'throw',
  };
  it.each([
    ['a batch that the ranks cannot share', { shard: { rank: 0, ranks: 3 } }, /multiple of the 3 ranks/],
    ['a rank that is none', { shard: { rank: 2, ranks: 2 } }, /rank must be/],
    ['more samples than can be keyed', { numSteps: 2 ** 31 - 1 }, /2\^32/],
    ['no micro-steps', { accumulation: 0 }, /accumulation/],
    ['no samples', { batchSize: 0.5 }, /batchSize/],
  ])('%s', (_, changed, message) => {
    expect(() => phaseProgram({ ...options, ...changed })).toThrow(OptionError);
    expect(() => phaseProgram({ ...options, ...changed })).toThrow(message);
  });
});
