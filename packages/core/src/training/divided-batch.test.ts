/** A batch in parts: the same training, whoever makes the parts and in whatever order. */
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import { describe, expect, it } from 'vitest';
import {
  createDistillation,
  eagerEngine,
  randomStream,
  runTraining,
  type CompileOptions,
  type DistillationExtras,
  type DistillationOptions,
  type Engine,
  type HostTree,
  type LiveTraining,
  type Teacher,
} from '../index.js';
import { tinyTeacher } from '../testing/tiny-model.js';

function distillation(options: DistillationOptions = {}, extras: DistillationExtras = {}) {
  const definition = tinyTeacher();
  const teacher: Teacher = { ...definition, weights: definition.model.initialize(randomStream(1, 0, 'teacher')) };
  return createDistillation(
    teacher,
    { numSteps: 3, batchSize: 6, learningRateSchedule: { kind: 'constant', warmupSteps: 0 } as const, ...options },
    extras,
  ).program;
}

/** An engine that asks for parts; what it is asked is kept. */
function parallelEngine(parallelRuns: number, changed: Partial<Engine> = {}) {
  const inner = eagerEngine('cpu');
  const asked: (CompileOptions | undefined)[] = [];
  const engine: Engine = {
    ...inner,
    info: inner.info,
    parallelRuns,
    compile(fn, signature, options) {
      asked.push(options);
      return inner.compile(fn, signature, options);
    },
    ...changed,
  };
  return { engine, asked, inner };
}

const callsOf = async (program: ReturnType<typeof distillation>) =>
  program.calls(0, program.initialCounters, await program.draw(0)).map(({ fn }) => fn);

function expectClose(actual: HostTree, expected: HostTree): void {
  expect(Object.keys(actual).sort()).toEqual(Object.keys(expected).sort());
  for (const [name, { data }] of Object.entries(expected)) {
    const difference = Math.max(...Array.from(data, (value, i) => Math.abs(value - actual[name]!.data[i]!)));
    expect([name, difference < 2e-6]).toEqual([name, true]);
  }
}

describe('a batch in parts', () => {
  it.each([
    [6, 1, 1],
    [6, 2, 2],
    [6, 3, 2],
    [32, 3, 3],
    [32, 4, 4],
  ])(
    'of %i, %i runs at a time: the same draws and losses, and weights but for the order of sums; no leak',
    async (batchSize, parallelRuns, overlapping) => {
      const metrics: Readonly<Record<string, number>>[][] = [[], []];
      const run = (i: number, engine: Engine) =>
        runTraining(distillation({ batchSize, numSteps: 2, generatorOptimizer: { clipNorm: 1e-3 } }), {
          engine,
          onStep: (report) => void metrics[i]!.push(report.metrics),
        });
      const whole = await run(0, eagerEngine('cpu'));
      await tf.setBackend('cpu');
      const before = tf.memory().numTensors;
      const { engine, asked } = parallelEngine(parallelRuns);
      const divided = await run(1, engine);
      expect(tf.memory().numTensors).toBe(before);
      expect(divided.counters).toEqual(whole.counters);
      expectClose(divided.state, whole.state);
      for (const [step, values] of metrics[0]!.entries()) {
        expect(Object.keys(metrics[1]![step]!).sort()).toEqual(Object.keys(values).sort());
        for (const [name, value] of Object.entries(values)) expect(metrics[1]![step]![name]).toBeCloseTo(value, 4);
      }
      // Parts of both phases, and their updates.
      expect(asked).toEqual([{ overlapping }, undefined, { overlapping }, undefined]);
    },
  );

  it('has equal parts of some eight to sixteen samples, four or two or a multiple of them where it can be', async () => {
    const partsOf = async (batchSize: number) => {
      const calls = await callsOf(distillation({ batchSize }).divided!() as ReturnType<typeof distillation>);
      return calls.length === 1 ? 1 : calls.length / 2 - 1;
    };
    const expected = { 1: 1, 2: 2, 6: 2, 7: 1, 8: 2, 17: 1, 20: 2, 32: 4, 34: 2, 45: 3, 48: 4, 64: 4, 72: 8, 128: 8 };
    for (const [batchSize, parts] of Object.entries(expected))
      expect([batchSize, await partsOf(Number(batchSize))]).toEqual([batchSize, parts]);
  });

  it.each([
    ['gradients are added up over micro-steps', { accumulation: 2 }, {}],
    ['the batch is shared among ranks', {}, { shard: { rank: 0, ranks: 2 } }],
    ['the update is made in groups', {}, { groupedUpdate: true }],
    ['intermediate tensors are handed out', {}, { trace: true }],
  ] as [string, DistillationOptions, DistillationExtras][])('is left whole where %s', (_, options, extras) => {
    expect(distillation(options, extras).divided).toBeUndefined();
  });

  it('continues the checkpoint of a whole one', async () => {
    const whole = await runTraining(distillation(), { engine: eagerEngine('cpu') });
    const half = await runTraining(distillation(), { engine: parallelEngine(2).engine, until: 1 });
    expectClose((await runTraining(distillation(), { engine: eagerEngine('cpu'), from: half })).state, whole.state);
  });

  it('starts all parts before the first has ended, and leaves the state as it was when one fails', async () => {
    const { inner } = parallelEngine(2);
    let underWay = 0;
    let most = 0;
    let fails = false;
    const engine: Engine = {
      ...inner,
      info: inner.info,
      parallelRuns: 3,
      async compile(fn, signature, options) {
        const compiled = await inner.compile(fn, signature);
        if (options?.overlapping === undefined) return compiled;
        return {
          ...compiled,
          async run(...given) {
            const place = underWay++;
            most = Math.max(most, underWay);
            await new Promise((resolve) => setTimeout(resolve, 5 * place));
            underWay--;
            if (fails && place === 1) throw new Error('the device is gone');
            return compiled.run(...given);
          },
        };
      },
    };
    const program = distillation();
    const saved: { step: number; state: HostTree }[] = [];
    const onFailure = async ({ step, snapshot }: LiveTraining) => {
      expect(underWay).toBe(0);
      saved.push({ step, state: (await snapshot()).state });
    };
    const first = await runTraining(program, { engine, until: 1, onFailure });
    expect(most).toBe(2);
    fails = true;
    await expect(runTraining(program, { engine, from: first, onFailure })).rejects.toThrow('the device is gone');
    expect(saved).toEqual([{ step: 1, state: first.state }]);
  });
});
