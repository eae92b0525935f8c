/** What all programs of phases have in common: one call for a step, samples that can be keyed, batches that can be shared. */
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import { describe, expect, it } from 'vitest';
import {
  createDistillation,
  eagerEngine,
  OptionError,
  phaseProgram,
  randomStream,
  runTraining,
  type DistillationExtras,
  type DistillationOptions,
  type PhaseProgramOptions,
  type Teacher,
} from '../index.js';
import { tinyTeacher } from '../testing/tiny-model.js';

function distillation(options: DistillationOptions = {}, extras: DistillationExtras = {}) {
  const definition = tinyTeacher();
  const teacher: Teacher = { ...definition, weights: definition.model.initialize(randomStream(1, 0, 'teacher')) };
  return createDistillation(teacher, { numSteps: 3, batchSize: 4, learningRateSchedule: {}, ...options }, extras)
    .program;
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
      onFailure: async (snapshot) => void saved.push((await snapshot()).step),
    });
    await expect(running).rejects.toThrow('cannot be compiled');
    expect(saved).toEqual([0]);
  });
});

describe('refused are', () => {
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
