/**
 * The official Di[M]O training step, reproduced from its golden traces (fixtures/dimo-step/README.md) on every engine:
 * draws -> masks and tokens, logits, divergence gradients, parameter gradients, losses, parameters after the last step.
 */
import type { HostTensor } from '@dimo/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { drawPrefix, loadDimoStep, type DimoStepFixture } from './dimo-step-fixture.js';
import { enginesUnderTest } from './engines.js';
import { below, foldersWith, maxDifference } from './fixtures.js';
import { replay, type ReplayedRun } from './replay.js';

const variants = foldersWith('dimo-step', 'params_final.safetensors');

/** Section 6 of the fixtures' README. */
const tolerances = {
  cpu: { logits: 4e-5, divergence: 1e-5, generatorGradient: 1e-4, auxiliaryGradient: 1e-5, parameters: 2e-6 },
  gpu: { logits: 2e-4, divergence: 1e-4, generatorGradient: 7e-3, auxiliaryGradient: 1.5e-3, parameters: 2e-5 },
} as const;

it('has golden traces to reproduce', () => {
  expect(variants.length).toBeGreaterThanOrEqual(11);
});

describe.each(enginesUnderTest)('Di[M]O step on $name', (engine) => {
  const tolerance = tolerances[engine.exactness];

  describe.each(variants)('%s', (variant) => {
    let fixture: DimoStepFixture;
    let run: ReplayedRun;
    beforeAll(async () => {
      fixture = loadDimoStep(variant);
      run = await replay(engine, fixture);
    });
    afterAll(() => {
      (run as unknown) = undefined;
    });

    it('samples the same tokens and divergence gradients at every step', () => {
      const { meta, saved, trace } = fixture;
      const numMicroSteps = meta.options.gradient_accumulation_steps;
      for (let step = 0; step < meta.steps; step++) {
        const calls = run.outputs[step]!.filter((output) => output['tokens']);
        const phases = step % meta.options.fake_rounds === 0 ? (['gen', 'aux'] as const) : (['aux'] as const);
        phases.forEach((phase, p) => {
          for (let micro = 0; micro < numMicroSteps; micro++) {
            const output = calls[p * numMicroSteps + micro]!;
            const prefix = drawPrefix(step, phase, micro, meta.options);
            expect(output['tokens']!.data, `${prefix}tokens`).toEqual(saved[`${prefix}tokens`]!.data);
            const gradient = trace[`${prefix}divergence_grad`];
            if (gradient)
              expect(
                maxDifference(output['divergenceGradient']!.data, gradient.data),
                `${prefix}divergence_grad`,
              ).toBeLessThanOrEqual(tolerance.divergence * scaleOf(gradient));
          }
        });
      }
    });

    it('has the same logits at step 0', () => {
      const { trace, meta } = fixture;
      const names = {
        generatorLogits: 'generator_logits',
        teacherLogits: 'teacher_logits_guided',
        auxiliaryLogits: 'auxiliary_logits',
      };
      const calls = run.outputs[0]!.filter((output) => output['tokens']);
      const numMicroSteps = meta.options.gradient_accumulation_steps;
      let compared = 0;
      (['gen', 'aux'] as const).forEach((phase, p) => {
        for (let micro = 0; micro < numMicroSteps; micro++)
          for (const [ours, theirs] of Object.entries(names)) {
            const expected = trace[`${drawPrefix(0, phase, micro, meta.options)}${theirs}`];
            if (!expected) continue;
            compared++;
            const got = calls[p * numMicroSteps + micro]![ours]!;
            expect(maxDifference(got.data, expected.data), `${phase} ${theirs}`).toBeLessThanOrEqual(tolerance.logits);
          }
      });
      expect(compared).toBeGreaterThanOrEqual(4);
    });

    it('has the same parameter gradients at step 0', () => {
      const numMicroSteps = fixture.meta.options.gradient_accumulation_steps;
      const calls = run.outputs[0]!.filter((output) => output['tokens']);
      (['generator', 'auxiliary'] as const).forEach((network, p) => {
        const expected = below(`${network}.`, fixture.gradients);
        const got = calls.slice(p * numMicroSteps, (p + 1) * numMicroSteps).map((output) => below('gradient/', output));
        expect(Object.keys(got[0]!).sort()).toEqual(Object.keys(expected).sort());
        for (const [name, gradient] of Object.entries(expected)) {
          const sum = gradient.data.map((_, i) => got.reduce((total, micro) => total + micro[name]!.data[i]!, 0));
          expect(maxDifference(sum, gradient.data), `${network}.${name}`).toBeLessThanOrEqual(
            tolerance[`${network}Gradient`],
          );
        }
      });
    });

    it('has the same losses, norms, learning rates and averaging rates at every step', () => {
      fixture.meta.per_step.forEach((expected, step) => {
        const metrics = run.metrics[step]!;
        const pairs: [string, number | undefined][] = [
          ['generator/loss', expected.loss_generator],
          ['generator/forwardKl', mean(expected.mean_forward_kl_masked)],
          ['generator/gradientNorm', expected.grad_norm_generator],
          ['generator/averageDecay', expected.ema_rate],
          ['generator/learningRate', expected.loss_generator === undefined ? undefined : expected.lr_generator],
          ['auxiliary/loss', expected.loss_auxiliary],
          ['auxiliary/hardLoss', mean(expected.loss_auxiliary_hard)],
          ['auxiliary/gradientNorm', expected.grad_norm_auxiliary],
          ['auxiliary/learningRate', expected.lr_auxiliary],
        ];
        for (const [name, value] of pairs)
          if (value === undefined) expect(metrics[name], name).toBeUndefined();
          else
            expect(Math.abs(metrics[name]! - value), `step ${step} ${name}`).toBeLessThanOrEqual(
              1e-4 * Math.abs(value) + 1e-7,
            );
        if (fixture.meta.options.alpha_fake > 0) {
          const soft = mean(expected.loss_auxiliary_soft)!;
          expect(Math.abs(metrics['auxiliary/softLoss']! - soft)).toBeLessThanOrEqual(1e-4 * soft + 1e-7);
        }
      });
    });

    it('ends with the same parameters, and the frozen ones untouched', () => {
      // Adam turns the rounding noise of a zero gradient into steps, so the README excludes the key biases.
      const limit = variant === 'train-embeddings' ? tolerance.parameters * 5 : tolerance.parameters;
      const initial = fixture.distillation.program.initialState();
      let compared = 0;
      for (const [key, expected] of Object.entries(fixture.finalParameters)) {
        const [, network, name] = /^(generator|auxiliary|ema)\.(.+)$/.exec(key)!;
        const got = run.state[`${network}/${name}`]!;
        expect(maxDifference(...withoutKeyBias(name!, got, expected)), key).toBeLessThanOrEqual(limit);
        compared++;
      }
      expect(compared).toBeGreaterThan(50);
      for (const [name, tensor] of Object.entries(run.state)) {
        const [network, parameter] = [name.split('/')[0]!, name.slice(name.indexOf('/') + 1)];
        const isTrained = fixture.finalParameters[`${network}.${parameter}`] !== undefined;
        if (network === 'teacher' || (!isTrained && (network === 'generator' || network === 'auxiliary')))
          expect(tensor.data, name).toEqual(initial[name]!.data);
      }
    });
  });
});

function mean(values: readonly number[] | undefined): number | undefined {
  return values && values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Divergence gradients are of order 1; those of the reverse KL can be larger. */
function scaleOf(tensor: HostTensor): number {
  return Math.max(1, ...tensor.data.map(Math.abs));
}

/** Rows H .. 2H-1 of every `in_proj_bias` belong to the keys. */
function withoutKeyBias(name: string, a: HostTensor, b: HostTensor): [number[], number[]] {
  const [left, right] = [[...a.data], [...b.data]];
  if (!name.endsWith('in_proj_bias')) return [left, right];
  const hidden = a.shape[0]! / 3;
  left.splice(hidden, hidden);
  right.splice(hidden, hidden);
  return [left, right];
}
