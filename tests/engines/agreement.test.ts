/**
 * All engines of this machine agree on one full step. The limits leave room for float32 sums in another order; measured
 * differences are in docs/compatibility.md. What is absent is skipped, with the reason.
 */
import { nodeEngines } from '@dimo/backend-node';
import { recomputeBlocks } from '@dimo/core';
import { beforeAll, describe, expect, it } from 'vitest';
import { fullStepDistillation, runFullStep, stepDifference, type FullStep, type StepDifference } from './full-step.js';

const distillation = fullStepDistillation({ hidden: 32, depth: 2, grid: 4, codebookSize: 24, batchSize: 4 });

/** Ten times what was measured, and for GPUs ten times that: their kernels may round more. */
const cpuLimits: Omit<StepDifference, 'tokens'> = {
  logits: 5e-5,
  divergenceGradient: 5e-6,
  losses: 1e-5,
  parameterGradients: 1e-5,
  weights: 3e-6,
  moments: 4e-5,
};
const gpuFactor = 10;
const isGpu = new Set(['webgpu', 'onnx-webgpu', 'cuda', 'onnx-cuda']);

/** A GPU emulated on a busy CPU compiles the programs of a step for many seconds. */
const timeout = 300_000;

const reference = 'cpu';
const engines = await Promise.all(
  nodeEngines.map(async (factory) => ({ factory, availability: await factory.probe() })),
);

describe('one full step', () => {
  let expected: FullStep;
  beforeAll(async () => {
    expected = await step(reference);
  });

  async function step(name: string, { program } = distillation): Promise<FullStep> {
    const engine = await nodeEngines.find((factory) => factory.name === name)!.create();
    try {
      return await runFullStep(engine, { ...distillation, program });
    } finally {
      await engine.dispose();
    }
  }

  it('changes every trained weight', () => {
    const before = distillation.program.initialState();
    const trained = Object.keys(before).filter((name) => name.startsWith('ema/'));
    expect(trained.length).toBeGreaterThan(20);
    for (const average of trained) {
      const name = average.replace('ema/', 'generator/');
      expect(expected.state[name]!.data, name).not.toEqual(before[name]!.data);
    }
  });

  for (const { factory, availability } of engines) {
    if (factory.name === reference) continue;
    const { name } = factory;
    const title = availability.available ? '' : `, skipped: ${availability.reason}`;
    it.skipIf(!availability.available)(
      `is the same on ${name} as on ${reference}${title}`,
      async () => {
        const { tokens, ...differences } = stepDifference(await step(name), expected);
        // A token may flip where a uniform number meets an edge of the distribution in the last bit; it did nowhere here.
        expect(tokens).toBe(0);
        for (const [quantity, value] of Object.entries(differences))
          expect(value, quantity).toBeLessThanOrEqual(
            cpuLimits[quantity as keyof typeof cpuLimits] * (isGpu.has(name) ? gpuFactor : 1),
          );
      },
      timeout,
    );
    // On an emulated GPU the programs of a second graph would take minutes.
    it.skipIf(!availability.available || isGpu.has(name))(
      `is the same on ${name} where the blocks of the networks are computed twice${title}`,
      async () => {
        const program = recomputeBlocks(distillation.program);
        const { tokens, ...differences } = stepDifference(await step(name, { ...distillation, program }), expected);
        expect(tokens).toBe(0);
        for (const [quantity, value] of Object.entries(differences))
          expect(value, quantity).toBeLessThanOrEqual(cpuLimits[quantity as keyof typeof cpuLimits]);
      },
      timeout,
    );
  }
});
