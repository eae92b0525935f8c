/**
 * Parts of the official training step that need no network: masks and condition drops of the golden traces, divergence
 * gradients incl. extreme logits, and the schedules of learning rate, weight average and embedding noise.
 */
import {
  embeddingNoiseScale,
  learningRateFactor,
  movingAverageDecay,
  phaseInputs,
  scheduledMask,
  tokenDivergence,
  type HostTensor,
} from '@dimo/core';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { drawPrefix, loadDimoStep } from './dimo-step-fixture.js';
import { foldersWith, loadJson, loadTensors, maxDifference } from './fixtures.js';

interface Schedules {
  lr: Record<string, number[]>;
  ema: { decay: number; rates: number[] };
  ema_rate_at_global_step: Record<string, number>;
  noise_schedule_at_steps_0_1_50_100_250_1000: Record<string, number[]>;
}

describe('schedules', () => {
  const schedules = loadJson<Schedules>('dimo-step', 'schedules.json');

  it.each(Object.entries(schedules.lr))('learning rate %s', (name, expected) => {
    const [, peak, warmupSteps] = /^lr(.+)_warmup(\d+)$/.exec(name)!;
    const rates = expected.map(
      (_, step) => Number(peak) * learningRateFactor({ warmupSteps: Number(warmupSteps) }, step, expected.length),
    );
    expect(maxDifference(rates, expected)).toBeLessThan(1e-15);
  });

  it('decay of the average', () => {
    const rates = schedules.ema.rates.map((_, s) => movingAverageDecay(schedules.ema.decay, s));
    expect(maxDifference(rates, schedules.ema.rates)).toBeLessThan(1e-15);
    for (const [step, rate] of Object.entries(schedules.ema_rate_at_global_step))
      expect(movingAverageDecay(0.9999, Number(step))).toBeCloseTo(rate, 14);
  });

  it.each(Object.entries(schedules.noise_schedule_at_steps_0_1_50_100_250_1000))(
    'embedding noise %s',
    (name, expected) => {
      const [, kind, number] = /^(fix|warmup_exp|warmup_cos|warmup_linear)_(.+)$/.exec(name)!;
      const kinds = { warmup_exp: 'exponential', warmup_cos: 'cosine', warmup_linear: 'linear' } as const;
      const schedule =
        kind === 'fix'
          ? { scale: Number(number) }
          : { kind: kinds[kind as keyof typeof kinds], scale: 1, warmupSteps: Number(number) };
      const scales = [0, 1, 50, 100, 250, 1000].map((step) => embeddingNoiseScale(schedule, step));
      expect(maxDifference(scales, expected)).toBeLessThan(1e-7);
    },
  );
});

describe('divergence gradients', async () => {
  await tf.setBackend('cpu');
  const tensors = loadTensors('dimo-step', 'divergence', 'divergence.safetensors');
  const gradients = Object.keys(tensors).filter((name) => /\.(fkl|rkl|jeffreys.*)$/.test(name));

  it('has cases', () => expect(gradients.length).toBeGreaterThanOrEqual(10));

  it.each(gradients)('%s', (name) => {
    const [, teacher, auxiliary, kind] = /^tt([\d.]+)\.ft([\d.]+)\.(fkl|rkl|jeffreys.*)$/.exec(name)!;
    const beta = kind === 'fkl' ? 0 : kind === 'rkl' ? 1 : Number(kind!.slice('jeffreys'.length));
    const prefix = `tt${teacher}.ft${auxiliary}.`;
    tf.tidy(() => {
      const load = ({ data, shape }: HostTensor) => tf.tensor(Float32Array.from(data), [...shape]) as never;
      const mask = tensors['mask']!;
      const result = tokenDivergence(
        {
          conditional: load(tensors['teacher_logits']!),
          auxiliary: load(tensors['auxiliary_logits']!),
          weights: load(mask),
        },
        { beta, teacherTemperature: Number(teacher), auxiliaryTemperature: Number(auxiliary) },
      );
      expect(maxDifference(result.gradient.dataSync(), tensors[name]!.data)).toBeLessThanOrEqual(1e-5);
      const forward = tensors[`${prefix}forward_kl`]!.data;
      // KLs of extreme logits are up to about 100: relative to that, float32 rounding is 1e-5.
      expect(maxDifference(result.forwardKl.dataSync(), forward)).toBeLessThanOrEqual(1e-5 * Math.max(1, ...forward));
    });
  });
});

describe.each(foldersWith('dimo-step', 'params_final.safetensors'))('draws of %s', (variant) => {
  it('give the same initial tokens, masks, ratios and dropped labels', () => {
    const { meta, saved, distillation, draws } = loadDimoStep(variant);
    const { maskTokenId } = distillation.setup.networks.teacher.tokenSpace;
    let compared = 0;
    for (let step = 0; step < meta.steps; step++) {
      const drawn = draws(step);
      for (const [phase, name] of [
        ['generator', 'gen'],
        ['auxiliary', 'aux'],
      ] as const)
        drawn[phase].forEach((micro, i) => {
          const prefix = drawPrefix(step, name, i, meta.options);
          const inputs = phaseInputs(distillation.context, micro, {
            phase,
            step,
            initialMaskRatio: drawn.initialMaskRatio,
            maskedCount: 1,
          });
          expect(isMaskId(inputs['initialTokens']!, maskTokenId)).toEqual([...saved[`${prefix}init_mask`]!.data]);
          expect([...inputs['isMasked']!.data]).toEqual([...saved[`${prefix}mask`]!.data]);
          const schedule = distillation.settings[phase === 'generator' ? 'maskSchedule' : 'auxiliaryMaskSchedule'];
          const { maskRatio } = scheduledMask(schedule, micro.maskRatioUniforms, micro.maskUniforms);
          expect(maxDifference(maskRatio.data, saved[`${prefix}mask_ratio`]!.data)).toBeLessThan(1e-6);
          const dropped = inputs['auxiliaryCondition/label'];
          if (dropped) expect(isMaskId(dropped, meta.model.nclass)).toEqual([...saved[`${prefix}drop_label`]!.data]);
          compared++;
        });
    }
    expect(compared).toBeGreaterThan(0);
  });
});

function isMaskId(tensor: HostTensor, id: number): number[] {
  return Array.from(tensor.data, (value) => (value === id ? 1 : 0));
}
