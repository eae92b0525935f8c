import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { eagerEngine, int32, randomStream, runTraining, teacherTrainingProgram } from '../index.js';
import type { TrainingSequences } from './teacher-training.js';
import { tinyTeacher } from '../testing/tiny-model.js';

/** Sequences that the label determines: token = (label + position) mod 4, so the loss can fall to the smoothing. */
function labelledSequences(count: number): TrainingSequences {
  const labels = randomStream(1, 0, 'labels').integers(count, 3);
  const tokens = new Int32Array(count * 6);
  for (let i = 0; i < tokens.length; i++) tokens[i] = labels[Math.floor(i / 6)]!;
  return { tokens: int32([count, 6], tokens), condition: { label: int32([count], labels) } };
}

const options = {
  numSteps: 30,
  batchSize: 8,
  learningRate: 0.02,
  learningRateSchedule: { kind: 'constant', warmupSteps: 0 } as const,
  conditionDrop: 0.1,
};

describe('teacher training', () => {
  it('lowers the masked loss, and leaks no tensor', async () => {
    const engine = eagerEngine('cpu');
    const program = teacherTrainingProgram(tinyTeacher(), labelledSequences(50), options);
    const losses: number[] = [];
    await tf.setBackend('cpu');
    const before = tf.memory().numTensors;
    await runTraining(program, { engine, onStep: ({ metrics }) => void losses.push(metrics['maskedNll']!) });
    expect(tf.memory().numTensors).toBe(before);
    expect(losses[0]).toBeGreaterThan(1.5);
    expect(losses.at(-1)!).toBeLessThan(0.6);
  });

  it('resumes from a snapshot bit for bit', async () => {
    const engine = eagerEngine('cpu');
    const program = teacherTrainingProgram(tinyTeacher(), labelledSequences(20), { ...options, numSteps: 6 });
    const whole = await runTraining(program, { engine });
    const half = await runTraining(program, { engine, until: 3 });
    const resumed = await runTraining(program, { engine, from: half });
    expect(half.step).toBe(3);
    expect(resumed.state).toEqual(whole.state);
    expect(resumed.counters).toEqual({ updates: 6, skipped: 0 });
  });

  it('trains with dropout', async () => {
    const engine = eagerEngine('cpu');
    const make = (dropout: number) =>
      teacherTrainingProgram(tinyTeacher(), labelledSequences(20), { ...options, numSteps: 2, dropout });
    const dropped = await runTraining(make(0.3), { engine });
    expect(dropped.counters).toEqual({ updates: 2, skipped: 0 });
    expect(dropped.state).not.toEqual((await runTraining(make(0), { engine })).state);
  });

  it('goes through every sequence once per epoch', async () => {
    const data = {
      tokens: int32(
        [10, 6],
        Int32Array.from({ length: 60 }, (_, i) => Math.floor(i / 6) % 6),
      ),
      condition: { label: int32([10], [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]) },
    };
    const program = teacherTrainingProgram(tinyTeacher(), data, { ...options, batchSize: 5 });
    const batches = await Promise.all([0, 1].map((step) => program.draw(step)));
    const rows = batches.flatMap(({ train }) =>
      Array.from({ length: 5 }, (_, i) => train![0]!['targets']!.data[i * 6]!),
    );
    expect(rows.sort()).toEqual([0, 0, 1, 1, 2, 2, 3, 3, 4, 5]);
  });

  it('stops with the step and the numbers when a weight is not finite, or skips without changing the state', async () => {
    const engine = eagerEngine('cpu');
    const teacher = tinyTeacher();
    const weights = teacher.model.initialize(randomStream(0, 0, 'w'));
    // Finite weights whose product overflows.
    weights['hidden.bias']!.data.fill(1e30);
    weights['output.weight']!.data.fill(1e30);
    const throwing = teacherTrainingProgram(
      teacher,
      labelledSequences(20),
      { ...options, onNonFinite: 'throw' },
      weights,
    );
    await expect(runTraining(throwing, { engine })).rejects.toThrow(/step 0 .*must be finite/);
    const skipping = teacherTrainingProgram(teacher, labelledSequences(20), options, weights);
    const result = await runTraining(skipping, { engine, until: 3 });
    expect(result.counters).toEqual({ updates: 0, skipped: 3 });
    expect(result.state).toEqual(skipping.initialState());
  });

  it('refuses wrong settings and tokens', () => {
    const teacher = tinyTeacher();
    const data = labelledSequences(4);
    expect(() => teacherTrainingProgram(teacher, data, { labelSmoothing: 1 })).toThrow('labelSmoothing');
    data.tokens.data[9] = 6;
    expect(() => teacherTrainingProgram(teacher, data)).toThrow('in [0, 6), got 6 in sequence 1');
  });
});
