/** A training has the same numbers on a machine with another number of processors. */
import { nodeEngines } from '@dimo/backend-node';
import { runTraining } from '@dimo/core';
import { describe, expect, it } from 'vitest';
import { fullStepDistillation } from './full-step.js';

describe.each(['onnx', 'onnx-native'])('two steps on %s', (name) => {
  const factory = nodeEngines.find((candidate) => candidate.name === name)!;

  it('are the same, to the bit, for 1, 2, 3 and 6 threads', async ({ skip }) => {
    const availability = await factory.probe();
    if (!availability.available) skip(availability.reason);
    const train = async (threads: number) => {
      const sizes = { hidden: 64, depth: 2, grid: 4, codebookSize: 24, batchSize: 32 };
      const { program } = fullStepDistillation({ ...sizes, numSteps: 2, trace: false });
      expect(program.divided).toBeDefined();
      const engine = await factory.create({ threads });
      const { state } = await runTraining(program, { engine, until: 2 });
      await engine.dispose();
      return state;
    };
    const one = await train(1);
    for (const threads of [2, 3, 6]) {
      const other = await train(threads);
      const differing = Object.keys(one).filter(
        (tensor) =>
          Buffer.compare(Buffer.from(one[tensor]!.data.buffer), Buffer.from(other[tensor]!.data.buffer)) !== 0,
      );
      expect([threads, differing]).toEqual([threads, []]);
    }
  });
});
