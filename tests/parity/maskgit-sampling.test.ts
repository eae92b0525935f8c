/**
 * The multi-step sampler, one-step generation, unmasking schedules and re-masking against the original's utilities. The
 * fixtures keep every uniform 1e-3 away from a cumulative boundary and confidences 2e-4 apart at each cut, so that tokens,
 * masks and schedules must be reproduced exactly; images and logits as in the other parity tests.
 */
import {
  compileMultiStep,
  compileOneStep,
  forwardPass,
  initialTokens,
  int32,
  float32,
  maskRatioAt,
  maskTokens,
  samplingLogits,
  scalar,
  scheduledMask,
  subtree,
  tokensPerStep,
  type Engine,
  type HostTensor,
  type MaskRatioSchedule,
  type PureFunction,
  type UnmaskingSchedule,
} from '@dimo/core';
import { maskTransformer } from '@dimo/teacher-maskgit';
import { vqganTokenizer } from '@dimo/tokenizers';
import * as tf from '@tensorflow/tfjs-core';
import type { Scalar, Tensor2D, Tensor3D, Tensor4D } from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  channelsLast,
  engines,
  foldersWith,
  get,
  largestError,
  readJson,
  readTensors,
  transformerConfig,
  vqganConfig,
  vqganWeights,
} from './maskgit-fixtures.js';
import { runOnce } from './run-once.js';

const logitTolerance = 4e-5;
const imageTolerance = 1e-4;

interface Trace {
  readonly mode: UnmaskingSchedule;
  readonly steps: number;
  readonly w: number;
  readonly sm_temp: number;
  readonly r_temp: number;
  readonly randomize: 'linear' | 'warm_up' | 'random';
  readonly batch: number;
  readonly schedule: readonly number[];
  readonly steps_executed: number;
  readonly transformer: string;
  readonly vqgan: string;
}

interface Variant {
  readonly fixed_ratio: number;
  readonly noise: number;
  readonly gen_temp: number;
  readonly top_k: number;
  readonly top_p: number;
}

const numbers = (tensor: HostTensor) => Array.from(tensor.data);

/** Images in the network's own range of tokens int32 [batch, L], by a VQGAN on the tokens' grid. */
async function decodeRaw(engine: Engine, folder: string, tokens: HostTensor, side: number): Promise<HostTensor> {
  const { config } = vqganConfig(folder);
  const tokenizer = vqganTokenizer(config);
  const weights = await vqganWeights(folder);
  const fn: PureFunction = (state, inputs) => {
    const vectors = tf.gather(state['quantize.embedding.weight']!, inputs['codes'] as tf.Tensor1D);
    const onGrid: Tensor4D = tf.reshape(vectors, [-1, side, side, tokenizer.codeWidth]);
    return { outputs: { raw: tokenizer.decodeVectors(state, onGrid) } };
  };
  return (await runOnce(engine, fn, weights, { codes: int32([tokens.data.length], tokens.data) }))['raw']!;
}

describe.each(engines)('on $name', ({ create }) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await create();
  });
  afterAll(() => engine.dispose());

  describe.each(foldersWith('traces.json'))('multi-step sampler: %s', (folder) => {
    const traces = readJson<Record<string, Trace>>(folder, 'traces.json');

    it.each(Object.keys(traces))('reproduces the trace %s', async (name) => {
      const trace = traces[name]!;
      const io = readTensors(folder, `${name}.safetensors`);
      const config = transformerConfig(trace.transformer);
      const model = maskTransformer(config);
      const side = model.tokenSpace.grid[0];
      const row = trace.batch * side * side;
      const sliceOf = (tensor: string, index: number) =>
        get(io, tensor).data.slice(index * row, (index + 1) * row) as Float32Array;
      const sampler = await compileMultiStep(
        engine,
        { model, nullCondition: { label: int32([], [config.numClasses]) } },
        {
          batchSize: trace.batch,
          sampler: {
            numSteps: trace.steps,
            schedule: trace.mode,
            guidanceScale: 1 + trace.w,
            temperature: 1 / trace.sm_temp,
            choiceTemperature: trace.r_temp,
            confidence: trace.randomize === 'warm_up' ? 'warm-up' : trace.randomize,
            reference: true,
          },
        },
      );
      const weights = await engine.upload(readTensors(trace.transformer, 'model.safetensors'));
      const steps: number[][] = [];
      const initial = io['init_code'];
      const result = await sampler.sample(weights, {
        condition: { label: get(io, 'labels') },
        draws: {
          tokenDraws: (step) => sliceOf('uniforms', step),
          gumbel: (step) => sliceOf('gumbel', step),
          uniform: (_purpose, step) => sliceOf('rand_confidence', step),
        },
        ...(initial ? { knownTokens: int32([trace.batch, side * side], initial.data) } : {}),
        onStep: ({ tokens }) => void steps.push(numbers(tokens)),
      });
      await weights.dispose();
      await sampler.dispose();

      expect(steps.length).toBe(trace.steps_executed);
      const before = numbers(get(io, 'codes_before_step'));
      for (let step = 1; step < steps.length; step++)
        expect(steps[step - 1]).toEqual(before.slice(step * row, (step + 1) * row));
      expect(numbers(result)).toEqual(numbers(get(io, 'codes_final')));
      const image = await decodeRaw(engine, trace.vqgan, result, side);
      expect(largestError(image, channelsLast(get(io, 'image')))).toBeLessThan(imageTolerance);
    });
  });

  describe.each(foldersWith('meta.json').filter((folder) => folder.startsWith('one-step')))('%s', (folder) => {
    const meta = readJson<Record<string, { vqgan: string; variants: Record<string, Variant> }>>(folder, 'meta.json');
    const cases = Object.entries(meta).flatMap(([transformer, { vqgan, variants }]) =>
      Object.entries(variants).map(([name, variant]) => ({ transformer, vqgan, name, variant })),
    );

    it.each(cases)('generates $name with $transformer', async ({ transformer, vqgan, name, variant }) => {
      const io = subtree(name, renamed(readTensors(folder, `${transformer}.safetensors`), name));
      const model = maskTransformer(transformerConfig(transformer));
      const side = model.tokenSpace.grid[0];
      const labels = get(io, 'labels');
      const batch = labels.shape[0]!;
      const row = [batch, side * side];
      const uniforms = float32(row, get(io, 'uniforms').data);
      const tokens = initialTokens(
        { codes: int32(row, get(io, 'init_code').data), maskUniforms: float32(row, get(io, 'mask_uniforms').data) },
        variant.fixed_ratio,
        model.tokenSpace,
      );
      expect(numbers(tokens)).toEqual(numbers(get(io, 'masked_code')));
      const isMasked = numbers(tokens).map((token) => (token === model.tokenSpace.maskTokenId ? 1 : 0));
      expect(isMasked).toEqual(numbers(get(io, 'mask')));

      const sampling = {
        temperature: variant.gen_temp,
        topK: variant.top_k,
        topP: variant.top_p,
        reference: true,
      };
      const weights = readTensors(transformer, 'model.safetensors');
      const noise = variant.noise > 0 ? (get(io, 'noise') as HostTensor<'float32'>) : undefined;
      const forward: PureFunction = (state, inputs) => {
        const logits = forwardPass(model, state, {
          tokens: inputs['tokens'] as Tensor2D,
          condition: { label: inputs['label']! },
          ...(inputs['noise']
            ? { embeddingNoise: { noise: inputs['noise'] as Tensor3D, scale: inputs['scale'] as Scalar } }
            : {}),
        });
        const probabilities = tf.softmax(samplingLogits(logits, model.tokenSpace, sampling), -1);
        return { outputs: { logits, probabilities } };
      };
      const { logits, probabilities } = await runOnce(engine, forward, weights, {
        tokens,
        label: labels,
        ...(noise ? { noise, scale: scalar(variant.noise) } : {}),
      });
      expect(largestError(logits!, get(io, 'logits'))).toBeLessThan(logitTolerance);
      expect(largestError(probabilities!, get(io, 'probs'))).toBeLessThan(logitTolerance);

      const tokenInit = { maskRatio: variant.fixed_ratio, embeddingNoise: variant.noise, noiseDeviation: 1 };
      const sampler = await compileOneStep(engine, model, { batchSize: batch, tokenInit, sampling });
      const state = await engine.upload(weights);
      const generated = await sampler.sample(
        state,
        { label: labels },
        {
          initialTokens: tokens,
          tokenDraws: uniforms,
          initialMaskRatio: float32([batch], new Float32Array(batch).fill(variant.fixed_ratio)),
          ...(noise ? { embeddingNoise: noise } : {}),
        },
      );
      await state.dispose();
      await sampler.dispose();
      expect(numbers(generated)).toEqual(numbers(get(io, 'tokens')));

      const largest = model.tokenSpace.codebookSize - 1;
      const known = int32(
        row,
        generated.data.map((token) => Math.min(token, largest)),
      );
      const image = await decodeRaw(engine, vqgan, known, side);
      expect(largestError(image, channelsLast(get(io, 'image')))).toBeLessThan(imageTolerance);
    });
  });
});

/** `<case>.<name>` as `<case>/<name>`. */
function renamed<T>(tree: Record<string, T>, name: string): Record<string, T> {
  return Object.fromEntries(
    Object.entries(tree).map(([key, value]) => [
      key.startsWith(`${name}.`) ? `${name}/${key.slice(name.length + 1)}` : key,
      value,
    ]),
  );
}

describe.each(foldersWith('schedules.json'))('unmasking schedules of %s', (folder) => {
  const { schedules } = readJson<{
    schedules: { mode: UnmaskingSchedule; grid: number; steps: number; tokens_per_step: number[] }[];
  }>(folder, 'schedules.json');
  it('are those of the original', () => {
    expect(schedules.length).toBeGreaterThan(0);
    for (const { mode, grid, steps, tokens_per_step } of schedules)
      expect({ mode, grid, steps, counts: tokensPerStep(mode, steps, grid * grid) }).toEqual({
        mode,
        grid,
        steps,
        counts: tokens_per_step,
      });
  });
});

describe.each(foldersWith('masking.safetensors', 'meta.json'))('re-masking of %s', (folder) => {
  const io = readTensors(folder, 'masking.safetensors');
  const { mask_value } = readJson<{ mask_value: number }>(folder, 'meta.json');
  const cases = Object.keys(io).flatMap((key) =>
    key.endsWith('.uniforms') ? [key.slice(0, -'.uniforms'.length)] : [],
  );

  it.each(cases)('%s', (name) => {
    const mode = name.split('.')[0] as MaskRatioSchedule;
    const r = get(io, `${name}.r`) as HostTensor<'float32'>;
    const uniforms = get(io, `${name}.uniforms`) as HostTensor<'float32'>;
    numbers(get(io, `${name}.ratio`)).forEach((ratio, b) => {
      expect(maskRatioAt(mode, r.data[b]!)).toBeCloseTo(ratio, 6);
    });
    const { isMasked } = scheduledMask(mode, r, uniforms);
    expect(numbers(isMasked)).toEqual(numbers(get(io, `${name}.mask`)));
    const code = int32(uniforms.shape, get(io, `${name}.code`).data);
    expect(numbers(maskTokens(code, isMasked, mask_value))).toEqual(numbers(get(io, `${name}.masked_code`)));
  });
});
