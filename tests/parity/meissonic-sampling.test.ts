/**
 * Meissonic's multi-step sampler and Di[M]O's one-step generation against the official pipeline, from recorded draws
 * (fixtures/meissonic/README.md, sections 4, 5 and 9). The fixtures keep every choice far enough from the next best one
 * that codes must be reproduced exactly.
 */
import {
  compileMultiStep,
  compileOneStep,
  float32,
  forwardPass,
  initialTokens,
  samplingLogits,
  scalar,
  sizeOf,
  subtree,
  timeInputs,
  withPrefix,
  type Engine,
  type HostTensor,
  type HostTree,
  type SamplerSettings,
  type PureFunction,
} from '@dimo/core';
import { embedTimesteps, vqModel, type VqModelConfig } from '@dimo/teacher-meissonic';
import type { Scalar, Tensor2D, Tensor3D } from '@tensorflow/tfjs-core';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { enginesUnderTest } from './engines.js';
import { below, fixtures, loadJson, loadTensors, maxDifference } from './fixtures.js';
import {
  channelsLast,
  conditionOf,
  defaultMicroConditions,
  fixtureTransformer,
  tensor,
  tokensOf,
  transformerWeights,
} from './meissonic-fixtures.js';
import { runOnce } from './run-once.js';

interface SamplerTrace {
  readonly settings: {
    readonly num_inference_steps: number;
    readonly guidance_scale: number;
    readonly temperature?: number | readonly [first: number, last: number];
  };
  readonly timesteps: readonly number[];
}

interface OneStepRuns {
  readonly P: number;
  readonly mask_id: number;
  readonly runs: Readonly<
    Record<
      string,
      {
        readonly settings: {
          readonly fixed_ratio: number;
          readonly noise_emb_perturb: number;
          readonly gen_temp?: number;
          readonly top_k?: number;
          readonly top_p?: number;
        };
        readonly timestep_passed_to_model: readonly number[];
      }
    >
  >;
}

const release = ['tiny_release', 'transformer'];
const weights = transformerWeights(...release);
const samplerFolder = join(fixtures, 'meissonic', 'sampler');
const samplerTraces = existsSync(samplerFolder)
  ? readdirSync(samplerFolder).flatMap((file) => /^(.+)\.json$/.exec(file)?.[1] ?? [])
  : [];
const numbers = (given: HostTensor) => Array.from(given.data);

/** Rows of a tensor, from `first` to `end`. */
function rows<T extends HostTensor>(given: T, first: number, end: number): T {
  const width = sizeOf(given.shape.slice(1));
  return {
    ...given,
    shape: [end - first, ...given.shape.slice(1)],
    data: given.data.slice(first * width, end * width),
  };
}

/** Standard Gumbel numbers of uniform ones, as the original makes them. */
function gumbelOf(uniform: HostTensor): number[] {
  return numbers(uniform).map((u) => -Math.log(Math.max(1e-20, -Math.log(Math.max(1e-20, u)))));
}

/** The pipeline's temperatures: from 2 to 0, from a given one to 0.01, or a given pair. */
function choiceTemperatures(temperature: number | readonly [first: number, last: number] | undefined): SamplerSettings {
  if (temperature === undefined) return { choiceTemperature: 2, finalChoiceTemperature: 0 };
  if (typeof temperature !== 'number')
    return { choiceTemperature: temperature[0], finalChoiceTemperature: temperature[1] };
  return { choiceTemperature: temperature, finalChoiceTemperature: 0.01 };
}

it('finds traces', () => expect(samplerTraces.length).toBeGreaterThanOrEqual(3));

describe.each(enginesUnderTest)('on $name', ({ create, exactness }) => {
  const tolerance = exactness === 'cpu' ? 1e-4 : 1e-3;
  /**
   * abs + rel * largest. Two of the 128 frequencies are rounded the other way by the exponential of PyTorch's CPU build;
   * the sinusoids of 1000 t are then off by up to 1000 t 2^-25, at most 2.
   */
  const logitLimit = (expected: HostTensor, timestep: number) =>
    tolerance * (1 + Math.max(...Array.from(expected.data, Math.abs))) + Math.min(1e-2, 1e-4 * timestep);
  let engine: Engine;
  beforeAll(async () => {
    engine = await create();
  });
  afterAll(() => engine.dispose());

  it('decodes the codes to the pictures of the original', async () => {
    const recordings = [
      ...samplerTraces.map((name) => loadTensors('meissonic', 'sampler', `${name}.safetensors`)),
      ...Object.keys(loadJson<OneStepRuns>('meissonic', 'one_step', 'io.json').runs).map((name) =>
        below(`${name}.`, loadTensors('meissonic', 'one_step', 'io.safetensors')),
      ),
    ];
    const vqvae = ['meissonic', 'tiny_release', 'vqvae'];
    const decoderWeights = loadTensors(...vqvae, 'diffusion_pytorch_model.safetensors');
    for (const io of recordings) {
      const codes = tensor<'int32'>(io, 'out.codes');
      const [batch, ...grid] = codes.shape as [number, number, number];
      const { decode } = vqModel(loadJson<VqModelConfig>(...vqvae, 'config.json'), { grid });
      const fn: PureFunction = (state, inputs) => ({
        outputs: { images: decode(state, inputs['tokens'] as Tensor2D) },
      });
      const { images } = await runOnce(engine, fn, decoderWeights, { tokens: tokensOf(codes) });
      expect(images!.shape[0]).toBe(batch);
      expect(maxDifference(images!.data, channelsLast(tensor(io, 'out.image')).data)).toBeLessThan(tolerance);
    }
  });

  describe.each(samplerTraces)('multi-step sampler: %s', (name) => {
    const { settings, timesteps } = loadJson<SamplerTrace>('meissonic', 'sampler', `${name}.json`);
    const io = loadTensors('meissonic', 'sampler', `${name}.safetensors`);
    const isGuided = settings.guidance_scale > 1;
    const final = tokensOf(tensor(io, 'out.codes'));
    const [batch] = final.shape as [number, number];
    const [, side] = tensor(io, 'out.codes').shape as [number, number, number];
    const text = tensor(io, 'in.encoder_hidden_states');
    const model = fixtureTransformer(release, { grid: side, textLength: text.shape[1]! });
    /** Negative prompts first, then the prompts. */
    const conditions = conditionOf(text, tensor(io, 'in.pooled_projections'), tensor(io, 'in.micro_conds').data);
    const part = (first: number): HostTree =>
      Object.fromEntries(Object.entries(conditions).map(([key, value]) => [key, rows(value, first, first + batch)]));
    const nullRow = Object.fromEntries(
      Object.entries(part(0)).map(([key, value]) => [key, { ...rows(value, 0, 1), shape: value.shape.slice(1) }]),
    );

    it('draws and keeps the codes of the original at every step', async () => {
      const sampler = await compileMultiStep(
        engine,
        { model, nullCondition: nullRow },
        {
          batchSize: batch,
          sampler: {
            numSteps: settings.num_inference_steps,
            schedule: 'cosine-remaining',
            guidanceScale: settings.guidance_scale,
            guidanceRamp: 'constant',
            method: 'exponential-race',
            ...choiceTemperatures(settings.temperature),
          },
        },
      );
      const device = await engine.upload(weights);
      const steps: number[][] = [];
      const result = await sampler.sample(device, {
        condition: part(isGuided ? batch : 0),
        ...(isGuided ? { nullCondition: part(0) } : {}),
        draws: {
          tokenDraws: (step) => tensor(io, `step${step}.draw.exponential`).data,
          gumbel: (step) => gumbelOf(tensor(io, `step${step}.draw.uniform`)),
          uniform: () => [],
        },
        onStep: ({ tokens }) => void steps.push(numbers(tokens)),
      });
      await device.dispose();
      await sampler.dispose();
      expect(steps.length).toBe(settings.num_inference_steps);
      steps.forEach((tokens, step) => {
        expect(tokens, `step ${step}`).toEqual(numbers(tensor(io, `step${step}.out.codes`)));
      });
      expect(numbers(result)).toEqual(numbers(final));
    });

    it('has the logits of the original at the recorded steps', async () => {
      const fn: PureFunction = (state, inputs) => ({
        outputs: {
          logits: forwardPass(model, state, {
            tokens: inputs['tokens'] as Tensor2D,
            condition: subtree('condition', inputs),
            time: subtree('time', inputs),
          }),
        },
      });
      for (const [key, recorded] of Object.entries(io)) {
        const step = Number(/^step(\d+)\.out\.model_logits$/.exec(key)?.[1] ?? -1);
        if (step < 0) continue;
        const codes = tokensOf(tensor(io, `step${step}.in.codes`));
        const passes = recorded.shape[0]! / batch;
        const tokens = {
          ...codes,
          shape: [passes * batch, codes.shape[1]!],
          data: Int32Array.from([...Array(passes)].flatMap(() => numbers(codes))),
        };
        const { timestep } = model.time!.compute({
          maskRatio: float32([passes * batch], Array(passes * batch).fill(0.5)),
          stepsLeft: settings.num_inference_steps - 1 - step,
        });
        expect(timestep).toEqual(embedTimesteps(Array(passes * batch).fill(timesteps[step])));
        const { logits } = await runOnce(engine, fn, weights, {
          tokens,
          ...withPrefix('condition', conditions),
          'time/timestep': timestep!,
        });
        const limit = logitLimit(recorded, timesteps[step]!);
        expect(maxDifference(logits!.data, channelsLast(recorded).data), key).toBeLessThan(limit);
      }
    });
  });

  describe('one-step generation', () => {
    const { runs, P: side, mask_id: maskId } = loadJson<OneStepRuns>('meissonic', 'one_step', 'io.json');
    const io = loadTensors('meissonic', 'one_step', 'io.safetensors');
    const text = tensor(io, 'in.encoder_hidden_states');
    const model = fixtureTransformer(release, { grid: side, textLength: text.shape[1]! });
    const batch = text.shape[0]!;
    const condition = conditionOf(text, tensor(io, 'in.pooled_projections'), defaultMicroConditions(batch));

    it.each(Object.entries(runs))('%s', async (name, { settings, timestep_passed_to_model }) => {
      const given = below(`${name}.`, io);
      expect(model.tokenSpace.maskTokenId).toBe(maskId);
      const tokens = initialTokens(
        { codes: tokensOf(tensor(given, 'draw.init_codes')), maskUniforms: tensor(given, 'draw.mask_uniform') },
        settings.fixed_ratio,
        model.tokenSpace,
      );
      expect(numbers(tokens)).toEqual(numbers(tensor(given, 'in.masked_codes')));

      const maskRatio = float32([batch], Array(batch).fill(settings.fixed_ratio));
      const time = timeInputs(model, { maskRatio });
      expect(time['time/timestep']).toEqual(embedTimesteps(Array(batch).fill(timestep_passed_to_model[0])));
      const scale = settings.noise_emb_perturb;
      const noise = scale > 0 ? channelsLast(tensor(given, 'draw.emb_noise')) : undefined;
      const sampling = {
        temperature: settings.gen_temp ?? 1,
        topK: settings.top_k ?? 0,
        topP: settings.top_p ?? 0,
        method: 'exponential-race',
      } as const;
      const fn: PureFunction = (state, inputs) => {
        const logits = forwardPass(model, state, {
          tokens: inputs['tokens'] as Tensor2D,
          condition: subtree('condition', inputs),
          time: subtree('time', inputs),
          ...(inputs['noise']
            ? { embeddingNoise: { noise: inputs['noise'] as Tensor3D, scale: inputs['scale'] as Scalar } }
            : {}),
        });
        return { outputs: { logits, filtered: samplingLogits(logits, model.tokenSpace, sampling) } };
      };
      const { logits } = await runOnce(engine, fn, weights, {
        tokens,
        ...withPrefix('condition', condition),
        ...time,
        ...(noise ? { noise, scale: scalar(scale) } : {}),
      });
      const expected = tensor(given, 'out.logits');
      const limit = logitLimit(expected, timestep_passed_to_model[0]!);
      expect(maxDifference(logits!.data, expected.data)).toBeLessThan(limit);

      const tokenInit = { maskRatio: settings.fixed_ratio, embeddingNoise: scale, noiseDeviation: 1 };
      const sampler = await compileOneStep(engine, model, { batchSize: batch, tokenInit, sampling });
      const device = await engine.upload(weights);
      const generated = await sampler.sample(device, condition, {
        initialTokens: tokens,
        initialMaskRatio: maskRatio,
        tokenDraws: tensor(given, 'draw.exponential'),
        ...(noise ? { embeddingNoise: noise } : {}),
      });
      await device.dispose();
      await sampler.dispose();
      expect(numbers(generated)).toEqual(numbers(tensor(given, 'out.codes')));
    });
  });
});
