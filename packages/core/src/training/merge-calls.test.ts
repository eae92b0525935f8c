import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import { describe, expect, it } from 'vitest';
import { createDistillation, eagerEngine, mergeCalls, randomStream, runTraining, type Teacher } from '../index.js';
import { tinyTeacher } from '../testing/tiny-model.js';

function distillation(options: Parameters<typeof createDistillation>[1] = {}) {
  const definition = tinyTeacher();
  const teacher: Teacher = { ...definition, weights: definition.model.initialize(randomStream(1, 0, 'teacher')) };
  return createDistillation(teacher, { numSteps: 3, batchSize: 4, learningRateSchedule: {}, ...options });
}

describe('mergeCalls', () => {
  it('gives the same state, counters and metrics bit for bit, in one call a step, and leaks nothing', async () => {
    const engine = eagerEngine('cpu');
    const { program } = distillation();
    const merged = mergeCalls(program);
    const metrics: Record<'separate' | 'merged', unknown[]> = { separate: [], merged: [] };
    const separate = await runTraining(program, {
      engine,
      onStep: (report) => void metrics.separate.push(report.metrics),
    });
    await tf.setBackend('cpu');
    const before = tf.memory().numTensors;
    const joined = await runTraining(merged, { engine, onStep: (report) => void metrics.merged.push(report.metrics) });
    expect(tf.memory().numTensors).toBe(before);
    expect(joined).toEqual(separate);
    expect(metrics.merged).toEqual(metrics.separate);
    expect(merged.calls(0, program.initialCounters, await program.draw(0))).toHaveLength(1);
  });

  it('continues a checkpoint of the separate program', async () => {
    const engine = eagerEngine('cpu');
    const { program } = distillation();
    const whole = await runTraining(program, { engine });
    const half = await runTraining(program, { engine, until: 1 });
    const resumed = await runTraining(mergeCalls(program), { engine, from: half });
    expect(resumed.state).toEqual(whole.state);
  });

  it('refuses steps that do not call every function', async () => {
    const { program } = distillation({ auxiliaryRounds: 2 });
    const merged = mergeCalls(program);
    const draws = await program.draw(1);
    expect(() => merged.calls(1, program.initialCounters, draws)).toThrow(/must call generator, auxiliary/);
  });
});
