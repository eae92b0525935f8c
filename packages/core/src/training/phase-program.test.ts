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
  type HostTree,
  type Phase,
  type Teacher,
} from '../index.js';
import type { PhaseProgramOptions } from './phase-program.js';
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

describe('an update in groups of tensors', () => {
  const engine = eagerEngine('cpu');
  const settings: Record<string, DistillationOptions> = {
    'one after another': {},
    'phases that rest': { auxiliaryRounds: 2 },
    'micro-steps': { accumulation: 2 },
    'clipping, decoupled decay': { generatorOptimizer: { kind: 'adamw', weightDecay: 0.1, clipNorm: 1e-3 } },
    'coupled decay, the policy of the reference': {
      auxiliaryOptimizer: { weightDecay: 0.1, clipNorm: 1e-3 },
      onNonFinite: 'reference',
    },
  };

  it.each(Object.entries(settings))('gives the same numbers bit for bit: %s', async (_, options) => {
    const run = async (groupedUpdate: boolean) => {
      const metrics: unknown[] = [];
      const onStep = (report: { readonly metrics: unknown }): void => void metrics.push(report.metrics);
      return { ...(await runTraining(distillation(options, { groupedUpdate }), { engine, onStep })), metrics };
    };
    expect(await run(true)).toEqual(await run(false));
  });

  it('gives the same numbers to ranks that share the batches', async () => {
    const run = async (groupedUpdate: boolean) =>
      Promise.all(
        localRanks(2).map((exchange, rank) =>
          runTraining(distillation({}, { groupedUpdate, shard: { rank, ranks: 2 } }), {
            engine: eagerEngine('cpu'),
            exchange,
          }),
        ),
      );
    const [first, second] = await run(true);
    expect(first).toEqual(second);
    expect(first).toEqual((await run(false))[0]);
  });

  it("keeps nothing in snapshots that others do not: they continue each other's checkpoints, and leak nothing", async () => {
    const whole = await runTraining(distillation(), { engine });
    const half = await runTraining(distillation({}, { groupedUpdate: true }), { engine, until: 1 });
    await tf.setBackend('cpu');
    const before = tf.memory().numTensors;
    expect((await runTraining(distillation(), { engine, from: half })).state).toEqual(whole.state);
    const other = await runTraining(distillation(), { engine, until: 1 });
    const grouped = distillation({}, { groupedUpdate: true });
    expect((await runTraining(grouped, { engine, from: other })).state).toEqual(whole.state);
    expect(tf.memory().numTensors).toBe(before);
  });

  it('is decided before the first group: a step that is not finite changes nothing', async () => {
    const program = distillation({ onNonFinite: 'skip' }, { groupedUpdate: true });
    const initial = program.initialState();
    const [name, weight] = Object.entries(initial).find(([key]) => key.startsWith('teacher/'))!;
    const state = { ...initial, [name]: float32(weight.shape, new Float32Array(weight.data.length).fill(NaN)) };
    const from = { step: 0, counters: program.initialCounters, state };
    const { counters, state: after } = await runTraining(program, { engine, from, until: 1 });
    expect(counters).toMatchObject({ generatorUpdates: 0, auxiliaryUpdates: 1, skipped: 1 });
    const ofGenerator = (tree: HostTree) => Object.entries(tree).filter(([key]) => /^(generator|ema)/.test(key));
    expect(ofGenerator(after)).toEqual(ofGenerator(state));
  });

  it('compiles one function for all groups of as many tensors of one shape, and by default is that of large models', () => {
    const program = (blocks: number, width: number) => {
      const parameters = Object.fromEntries(
        Array.from({ length: blocks }, (_, i) => [`block.${i}`, { dtype: 'float32', shape: [width, width] } as const]),
      );
      return phaseProgram({ ...toy, phases: [{ ...toyPhase, trains: { prefix: 'toy', parameters } }] });
    };
    expect(program(12, 1024).scratch).toBeUndefined();
    const large = program(21, 1024);
    // Two matrices of 4 MiB each.
    const [pair, one] = ['trainUpdate/2 of 1024x1024', 'trainUpdate/1 of 1024x1024'];
    expect(Object.keys(large.functions)).toEqual(['trainGradients', pair, one]);
    const calls = large.calls(0, large.initialCounters, { train: [{}] });
    expect(calls.map(({ fn }) => fn)).toEqual(['trainGradients', ...new Array<string>(10).fill(pair), one]);
    const updated = calls.flatMap(({ state = {} }) => Object.entries(state).filter(([own]) => /^parameter/.test(own)));
    expect(updated.map(([, name]) => name)).toEqual(Array.from({ length: 21 }, (_, i) => `toy/block.${i}`));
  });

  const toyPhase: Phase = {
    trains: { prefix: 'toy', parameters: {} },
    draw: () => ({}),
    gradients: () => ({ gradients: {}, outputs: {} }),
    optimizer: resolveOptimizer(),
    learningRate: () => 0.1,
  };
  const toy: PhaseProgramOptions = {
    name: 'toy',
    numSteps: 1,
    batchSize: 1,
    phases: [],
    initialWeights: () => ({}),
    onNonFinite: 'throw',
  };
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
