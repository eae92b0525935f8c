/**
 * The official Meissonic distillation step, reproduced from its golden traces (fixtures/meissonic/README.md, sections 6
 * and 9) on every engine: draws -> masks and tokens, logits, divergence gradients, parameter gradients, losses, parameters
 * after the last step. Tolerances are the README's.
 */
import { distillationInputs, resolveDistillation, type HostTensor, type HostTree } from '@dimo/core';
import { officialMeissonicDistillation } from '@dimo/teacher-meissonic';
import { beforeAll, describe, expect, it } from 'vitest';
import { enginesUnderTest } from './engines.js';
import { below, foldersWith, maxDifference } from './fixtures.js';
import { tensor } from './meissonic-fixtures.js';
import { loadMeissonicStep, type MeissonicStepFixture } from './meissonic-step-fixture.js';
import { replay, type ReplayedRun } from './replay.js';

const traces = foldersWith('meissonic/training', 'trace.json');
const phases = [
  ['generator', 'gen', 'generator'],
  ['auxiliary', 'aux', 'aux'],
] as const;

/** abs + rel * |expected| of logits; G; gradients relative to each tensor's largest value. */
const tolerances = {
  cpu: { logits: 1e-4, divergence: 1e-5, gradient: 1e-4 },
  gpu: { logits: 1e-3, divergence: 1e-4, gradient: 5e-3 },
} as const;

it('has golden traces to reproduce', () => expect(traces.length).toBeGreaterThanOrEqual(2));

it('has the official settings, except for what makes a trace short', () => {
  const { settings } = loadMeissonicStep('trace_fkl').distillation;
  const official = resolveDistillation(officialMeissonicDistillation);
  for (const key of [
    'tokenInit',
    'maskSchedule',
    'auxiliaryMaskSchedule',
    'maskRatioRange',
    'divergence',
    'teacherGuidance',
    'labelSmoothing',
    'lossReduction',
    'softWeight',
    'averageDecay',
    'trainEmbeddings',
    'onNonFinite',
  ] as const)
    expect(settings[key], key).toEqual(official[key]);
});

describe.each(traces)('draws of %s', (name) => {
  it('give the same initial tokens, mask ratios and masks, and the timestep 0', () => {
    const { settings, io, distillation, draws } = loadMeissonicStep(name);
    const { maskTokenId } = distillation.setup.networks.teacher.tokenSpace;
    for (let step = 0; step < settings.max_train_steps; step++) {
      const inputs = distillationInputs(distillation.context, draws(step), step);
      for (const [phase, short] of phases)
        inputs[phase].forEach((given, i) => {
          const prefix = `step${step}.${short}${i}`;
          expect([...given['initialTokens']!.data], prefix).toEqual([...tensor(io, `${prefix}.masked_codes`).data]);
          const remasked = Array.from(tensor(io, `${prefix}.remasked_codes`).data, (code) =>
            Number(code === maskTokenId),
          );
          expect([...given['isMasked']!.data], prefix).toEqual(remasked);
          for (const role of ['generator', 'auxiliary'])
            expect([...given[`time/${role}/timestep`]!.data.slice(0, 256)]).toEqual([
              ...Array(128).fill(1),
              ...Array(128).fill(0),
            ]);
        });
    }
  });
});

describe.each(enginesUnderTest)('Meissonic step on $name', (engine) => {
  const tolerance = tolerances[engine.exactness];

  describe.each(traces)('%s', (name) => {
    let fixture: MeissonicStepFixture;
    let run: ReplayedRun;
    beforeAll(async () => {
      fixture = loadMeissonicStep(name);
      run = await replay(engine, fixture);
    });

    /** Outputs of the gradient calls of a step, by phase. */
    function microSteps(step: number, phase: 'generator' | 'auxiliary'): readonly HostTree[] {
      const count = fixture.settings.gradient_accumulation_steps;
      const calls = run.outputs[step]!.filter((output) => output['tokens']);
      const start = phase === 'generator' ? 0 : count;
      return calls.slice(start, start + count);
    }

    it('samples the same codes, with the same logits and divergence gradients, at every step', () => {
      const { settings, io } = fixture;
      for (let step = 0; step < settings.max_train_steps; step++)
        for (const [phase, short] of phases)
          microSteps(step, phase).forEach((output, i) => {
            const prefix = `step${step}.${short}${i}`;
            expect([...output['tokens']!.data], `${prefix}.codes`).toEqual([...tensor(io, `${prefix}.codes`).data]);
            const pairs = { generatorLogits: 'logits', teacherLogits: 'teacher_logits', auxiliaryLogits: 'aux_logits' };
            for (const [ours, theirs] of Object.entries(pairs)) {
              const expected = io[`${prefix}.${theirs}`];
              if (expected)
                expect(excess(tensor(output, ours), expected, tolerance.logits), `${prefix}.${theirs}`).toBeLessThan(1);
            }
            const gradient = io[`${prefix}.distill_grad`];
            if (gradient)
              expect(maxDifference(output['divergenceGradient']!.data, gradient.data), prefix).toBeLessThan(
                tolerance.divergence * (step === 0 ? 1 : 10),
              );
          });
    });

    it('has the same parameter gradients at step 0, as the optimizer saw them', () => {
      for (const [phase, , key] of phases) {
        const expected = below(`${key}.grad.`, fixture.gradients);
        const micro = microSteps(0, phase).map((output) => below('gradient/', output));
        expect(Object.keys(micro[0]!).sort()).toEqual(Object.keys(expected).sort());
        const { clipNorm } = fixture.distillation.settings[`${phase}Optimizer`];
        const norm = run.metrics[0]![`${phase}/gradientNorm`]!;
        const factor = clipNorm === undefined ? 1 : Math.min(1, clipNorm / (norm + 1e-6));
        for (const [parameter, { data }] of Object.entries(expected)) {
          const got = data.map((_, i) => factor * sum(micro.map((tree) => tree[parameter]!.data[i]!)));
          const largest = Math.max(...Array.from(data, Math.abs));
          expect(maxDifference(got, data) / largest, `${key} ${parameter}`).toBeLessThan(tolerance.gradient);
        }
      }
    });

    it('has the same losses, norms, learning rates and averaging rates at every step', () => {
      const { scalars, settings } = fixture;
      const log = scalars['log'] as Record<string, number>[];
      for (let step = 0; step < settings.max_train_steps; step++) {
        const metrics = run.metrics[step]!;
        const [norms, losses] = [log[2 * step]!, log[2 * step + 1]!];
        const micro = Array.from({ length: settings.gradient_accumulation_steps }, (_, i) => i);
        const hard = micro.map((i) => scalars[`step${step}.aux${i}.loss_aux_hard`] as number);
        const pairs: [string, number][] = [
          ['generator/loss', losses['loss_generator']!],
          ['generator/gradientNorm', norms['total_gen_grad_norm']!],
          ['generator/learningRate', scalars[`step${step}.generator.lr`] as number],
          ['generator/averageDecay', (scalars['ema_rate'] as number[])[step]!],
          ['auxiliary/loss', losses['loss_fake']!],
          ['auxiliary/hardLoss', sum(hard) / hard.length],
          ['auxiliary/learningRate', scalars[`step${step}.aux.lr`] as number],
        ];
        for (const [metric, value] of pairs)
          expect(Math.abs(metrics[metric]! - value), `step ${step} ${metric}`).toBeLessThan(
            1e-5 * Math.abs(value) + 1e-12,
          );
      }
    });

    it('ends with the same parameters, and the frozen ones untouched', () => {
      const names = { generator: 'step1.generator', auxiliary: 'step1.aux', ema: 'final.ema' };
      const { generatorLearningRate } = fixture.distillation.settings;
      const initial = fixture.distillation.program.initialState();
      for (const [network, prefix] of Object.entries(names)) {
        const expected = below(`${prefix}.param.`, fixture.parameters);
        let count = 0;
        let far = 0;
        for (const [parameter, { data }] of Object.entries(expected)) {
          const got = tensor(run.state, `${network}/${parameter}`);
          expect(maxDifference(got.data, data), `${network} ${parameter}`).toBeLessThan(2 * generatorLearningRate);
          count += data.length;
          data.forEach((value, i) => (far += Number(Math.abs(value - got.data[i]!) > 2e-5)));
        }
        // Adam turns the rounding noise of gradients around 1e-8 into whole steps.
        expect(far / count, network).toBeLessThan(1e-3);
        for (const parameter of Object.keys(fixture.distillation.setup.networks.generator.parameters))
          if (!expected[parameter])
            expect(
              (run.state[`${network}/${parameter}`] ?? run.state[`generator/${parameter}`])!.data,
              parameter,
            ).toEqual(initial[`teacher/${parameter}`]!.data);
      }
    });
  });
});

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/** Largest difference as a factor of abs + rel * |expected|. */
function excess(actual: HostTensor, expected: HostTensor, tolerance: number): number {
  const scaled = (of: HostTensor) =>
    Array.from(of.data, (value, i) => value / (tolerance + tolerance * Math.abs(expected.data[i]!)));
  return maxDifference(scaled(actual), scaled(expected));
}
