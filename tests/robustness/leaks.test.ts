/**
 * Row C3: 2,000 distillation steps of a tiny model leave the number of tensors as it was and, after a warm-up, the
 * resident memory within 1 MB per 100 steps. On an eager engine and on those of traced graphs. What is resident also follows the
 * garbage collector, which a busy machine lets wait: a window of steps that grew is followed by another, up to three; a
 * leak grows in all of them.
 */
import { createDistillation, eagerEngine, randomStream, runTraining, type Engine, type Teacher } from '@dimo/core';
import { createNativeEngine, createOnnxEngine } from '@dimo/backend-node';
import { defineMaskgit } from '@dimo/teacher-maskgit';
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import { describe, expect, it } from 'vitest';

/** The just-in-time compiler and the allocators settle in the first steps. */
const warmUp = 1000;
const windowSteps = 1000;
const maxWindows = 3;
const numSteps = warmUp + maxWindows * windowSteps;

const definition = defineMaskgit({
  tokenizer: null,
  transformer: { hidden: 8, depth: 1, heads: 2, mlp: 8, codebookSize: 4, numClasses: 2, grid: [2, 2] },
});
const teacher: Teacher = { ...definition, weights: definition.model.initialize(randomStream(0, 0, 'weights')) };

const engines: readonly { name: string; create: () => Promise<Engine> }[] = [
  {
    name: 'cpu',
    create: async () => {
      await tf.setBackend('cpu');
      return eagerEngine('cpu');
    },
  },
  { name: 'onnx', create: () => createOnnxEngine({ threads: 1 }) },
  { name: 'onnx-native', create: () => createNativeEngine({ threads: 1 }) },
  // As on a GPU: state in memory of the provider.
  { name: 'onnx-native, state in its memory', create: () => createNativeEngine({ threads: 1, isResident: true }) },
];

describe.each(engines)('2,000 distillation steps on $name', ({ create }) => {
  it('keep the number of tensors and the resident memory', async () => {
    const engine = await create();
    const numTensors: number[] = [];
    const growth: number[] = [];
    let megabytes: number[] = [];
    const settled = new AbortController();
    try {
      const { program } = createDistillation(teacher, { numSteps, batchSize: 2 });
      await runTraining(program, {
        engine,
        signal: settled.signal,
        onStep: ({ step }) => {
          numTensors.push(tf.memory().numTensors);
          if (step <= warmUp) return;
          megabytes.push(process.memoryUsage().rss / 2 ** 20);
          if (megabytes.length < windowSteps) return;
          growth.push(megabytesPerStep(megabytes) * 100);
          megabytes = [];
          if (growth.at(-1)! < 1) settled.abort();
        },
      });
    } finally {
      await engine.dispose();
    }
    expect(new Set(numTensors).size).toBe(1);
    expect(Math.min(...growth)).toBeLessThan(1);
  }, 600_000);
});

/** Slope of the least-squares line through the readings. */
function megabytesPerStep(readings: readonly number[]): number {
  const middle = (readings.length - 1) / 2;
  const mean = readings.reduce((sum, value) => sum + value, 0) / readings.length;
  let products = 0;
  let squares = 0;
  readings.forEach((value, index) => {
    products += (index - middle) * (value - mean);
    squares += (index - middle) ** 2;
  });
  return products / squares;
}

it('sees a leak of 2 MB per 100 steps', () => {
  expect(megabytesPerStep(Array.from({ length: 500 }, (_, i) => 300 + 0.02 * i + (i % 7))) * 100).toBeGreaterThan(1.5);
});
