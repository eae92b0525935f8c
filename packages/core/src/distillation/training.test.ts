/**
 * Distillation against a second trainer in float64: it hands out its gradients, and clipping, weight decay, Adam with its
 * bias corrections, learning rates, the moving average with its ramp, accumulation, rounds, skipped steps, counters and
 * averaged metrics are computed again, step by step, for both networks.
 */
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  createDistillation,
  eagerEngine,
  float32,
  learningRateFactor,
  randomStream,
  runTraining,
  type PhaseInputs,
  type DistillationExtras,
  type DistillationOptions,
  type HostTree,
  type TrainingProgram,
} from '../index.js';
import type { LearningRateSchedule } from '../model/schedule.js';
import { linearModel, linearTeacher } from '../testing/linear-model.js';
import { expectNumbers, numbersOf } from '../testing/numbers.js';
import { normOf, referenceNetwork, referenceUpdate, type Numbers } from '../testing/reference-optimizer.js';

beforeAll(() => tf.setBackend('cpu'));

const weightsOf = (name: string) => linearModel.initialize(randomStream(1, 0, name));
const schedule: LearningRateSchedule = { kind: 'linear', warmupSteps: 2, finalFraction: 0.1 };

describe('distillation', () => {
  const cases: [string, DistillationOptions, { generator?: number[]; auxiliary?: number[] }?][] = [
    ['plain', { generatorOptimizer: {}, auxiliaryOptimizer: {} }],
    [
      'accumulated, clipped, coupled and decoupled decay',
      {
        accumulation: 3,
        generatorOptimizer: { beta1: 0.5, beta2: 0.9, weightDecay: 0.3, clipNorm: 0.05 },
        auxiliaryOptimizer: { kind: 'adamw', beta1: 0.8, beta2: 0.95, epsilon: 1e-3, weightDecay: 0.5, clipNorm: 0.2 },
      },
    ],
    [
      'rounds, the average every second update',
      { auxiliaryRounds: 3, averageEvery: 2, auxiliaryOptimizer: { beta1: 0.9 }, generatorOptimizer: { beta1: 0.3 } },
    ],
    [
      'skipped steps of either network',
      {
        onNonFinite: 'skip',
        softWeight: 0.4,
        generatorOptimizer: { kind: 'adamw', beta1: 0.9, weightDecay: 0.2, clipNorm: 1 },
        auxiliaryOptimizer: { beta1: 0.9, weightDecay: 0.1 },
      },
      { generator: [1, 4], auxiliary: [2, 4, 5] },
    ],
    [
      'skipped accumulated steps of either network',
      { onNonFinite: 'skip', softWeight: 0.4, accumulation: 2, auxiliaryOptimizer: { beta1: 0.9 } },
      { generator: [1], auxiliary: [0, 3] },
    ],
  ];

  it.each(cases)('is what a second trainer makes of the gradients: %s', async (_, options, broken = {}) => {
    const numSteps = 9;
    const distillation = createDistillation(
      { ...linearTeacher, weights: weightsOf('teacher') },
      {
        numSteps,
        batchSize: 3,
        averageDecay: 0.4,
        generatorLearningRate: 0.02,
        auxiliaryLearningRate: 0.05,
        learningRateSchedule: schedule,
        ...options,
      },
      {
        trace: true,
        models: { generator: { weights: weightsOf('generator') }, auxiliary: { weights: weightsOf('auxiliary') } },
      },
    );
    const { program, settings } = distillation;
    expect(program.batchSize).toBe(3 * settings.accumulation);
    const calls: HostTree[][] = [];
    const watched: TrainingProgram<PhaseInputs> = {
      ...program,
      async draw(step) {
        const inputs = await program.draw(step);
        // Noise that is no number, in the last micro-step of a phase, breaks that phase's loss and gradients alone.
        const breakIf = (trees: readonly HostTree[], isBroken: boolean) =>
          trees.map((tree, i) =>
            isBroken && i === trees.length - 1 ? { ...tree, embeddingNoiseScale: float32([], [NaN]) } : tree,
          );
        return {
          generator: breakIf(inputs['generator']!, broken.generator?.includes(step) ?? false),
          auxiliary: breakIf(inputs['auxiliary']!, broken.auxiliary?.includes(step) ?? false),
        };
      },
      finish(step, counters, outputs) {
        calls.push([...outputs]);
        return program.finish(step, counters, outputs);
      },
    };
    const trained = (name: string) => {
      const all = numbersOf(program.initialState(), name);
      return Object.fromEntries(Object.entries(all).filter(([key]) => key !== 'tokens'));
    };
    const networks = {
      generator: referenceNetwork(trained('generator')),
      auxiliary: referenceNetwork(trained('auxiliary')),
    };
    let skipped = 0;
    const engine = eagerEngine('cpu');
    await runTraining(watched, {
      engine,
      async onStep({ step: done, metrics, counters, snapshot, skipped: isSkipped = false }) {
        const step = done - 1;
        const outputs = [...calls.at(-1)!];
        const factor = learningRateFactor(schedule, step, numSteps);
        let anySkipped = false;
        for (const phase of ['generator', 'auxiliary'] as const) {
          if (phase === 'generator' && step % settings.auxiliaryRounds !== 0) continue;
          const { accumulation } = settings;
          const microSteps = outputs.splice(0, accumulation === 1 ? 1 : accumulation + 1).slice(0, accumulation);
          const network = networks[phase];
          const gradients: Numbers = Object.fromEntries(
            Object.keys(network.parameters).map((name) => [
              name,
              network.parameters[name]!.map((_, i) =>
                microSteps.reduce((sum, tree) => sum + tree[`gradient/${name}`]!.data[i]!, 0),
              ),
            ]),
          );
          const rate = settings[`${phase}LearningRate`] * factor;
          expect(metrics[`${phase}/learningRate`]).toBeCloseTo(rate, 12);
          const loss = microSteps.reduce((sum, tree) => sum + tree['loss']!.data[0]!, 0);
          if (broken[phase]?.includes(step)) {
            expect(metrics[`${phase}/gradientNorm`]).toBeNaN();
            anySkipped = true;
            continue;
          }
          expect(metrics[`${phase}/loss`]).toBeCloseTo(loss, 5);
          expect(metrics[`${phase}/gradientNorm`]).toBeCloseTo(normOf(gradients), 4);
          const isAveraged = phase === 'generator' && network.updates % settings.averageEvery === 0;
          if (phase === 'generator') {
            const ramp = Math.min(0.4, (1 + network.updates) / (10 + network.updates));
            expect(metrics['generator/averageDecay']).toBeCloseTo(isAveraged ? ramp : 1, 12);
            const used = new Set(microSteps.flatMap((tree) => [...tree['tokens']!.data]));
            expect(metrics['generator/codebookUsed']).toBeCloseTo(used.size / 6, 12);
          }
          referenceUpdate(network, settings[`${phase}Optimizer`], {
            gradients,
            learningRate: rate,
            averageDecay: isAveraged ? 0.4 : undefined,
          });
        }
        if (anySkipped) skipped++;
        expect(isSkipped).toBe(anySkipped);
        expect(counters).toEqual({
          generatorUpdates: networks.generator.updates,
          auxiliaryUpdates: networks.auxiliary.updates,
          skipped,
        });
        const { state } = await snapshot();
        for (const phase of ['generator', 'auxiliary'] as const) {
          const network = networks[phase];
          expectNumbers(state, phase, network.parameters);
          expectNumbers(state, `${phase}Optimizer/m`, network.firstMoments);
          expectNumbers(state, `${phase}Optimizer/v`, network.secondMoments);
        }
        expectNumbers(state, 'ema', networks.generator.average);
        expect(state['generator/tokens']).toEqual(weightsOf('generator')['tokens']);
      },
    });
    expect(networks.auxiliary.updates).toBe(numSteps - (broken.auxiliary?.length ?? 0));
    expect(skipped).toBe(new Set([...(broken.generator ?? []), ...(broken.auxiliary ?? [])]).size);
  });

  it('resumes bit for bit from every step, through skipped, accumulated and merged ones', async () => {
    const engine = eagerEngine('cpu');
    const make = (options: DistillationOptions, extras: DistillationExtras = {}) =>
      createDistillation(
        { ...linearTeacher, weights: weightsOf('teacher') },
        {
          numSteps: 5,
          batchSize: 2,
          onNonFinite: 'skip',
          tokenInit: { embeddingNoise: { kind: 'linear', scale: 0.3, warmupSteps: 4 }, maskRatio: [0.3, 0.9] },
          learningRateSchedule: schedule,
          ...options,
        },
        { models: { generator: { weights: weightsOf('generator') } }, ...extras },
      ).program;
    const broken = (program: TrainingProgram<PhaseInputs>): TrainingProgram<PhaseInputs> => ({
      ...program,
      async draw(step) {
        const inputs = await program.draw(step);
        if (step !== 1) return inputs;
        return {
          ...inputs,
          generator: inputs['generator']!.map((tree) => ({ ...tree, embeddingNoiseScale: float32([], [NaN]) })),
        };
      },
    });
    for (const program of [
      broken(make({ accumulation: 2, auxiliaryRounds: 2 })),
      broken(make({})),
      broken(make({}, { separateCalls: true })),
    ]) {
      const whole = await runTraining(program, { engine });
      for (const until of [1, 2, 4]) {
        const part = await runTraining(program, { engine, until });
        expect(part.step).toBe(until);
        const resumed = await runTraining(program, { engine, from: part });
        expect(resumed.state).toEqual(whole.state);
        expect(resumed.counters).toEqual(whole.counters);
      }
    }
  });
});
