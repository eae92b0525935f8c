/**
 * Sampling against the originals (fixtures/maskgit/README.md sections 6 to 8): schedules, masks, one-step generation and
 * the multi-step sampler. The fixtures' random numbers keep a distance from every decision, so tokens must be equal.
 */
import {
  chooseMasked,
  compileMultiStep,
  compileOneStep,
  float32,
  initialTokens,
  int32,
  maskRatioAt,
  maskTokens,
  numMasked,
  tokensPerStep,
  type Engine,
  type HostTensor,
  type HostTree,
  type MaskRatioSchedule,
  type MultiStepOptions,
  type UnmaskingSchedule,
} from '@dimo/core';
import { maskTransformer } from '@dimo/teacher-maskgit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { engines, foldersWith, get, readJson, readTensors, reshaped, transformerConfig } from './maskgit-fixtures.js';

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
}

interface OneStepVariant {
  readonly fixed_ratio: number;
  readonly noise: number;
  readonly gen_temp: number;
  readonly top_k: number;
  readonly top_p: number;
  readonly num_masked: number;
}

const rows = <T extends HostTensor>(tensor: HostTensor, batch: number) =>
  reshaped(tensor, [batch, tensor.data.length / batch]) as T;

function loadModel(folder: string) {
  const config = transformerConfig(folder);
  const model = maskTransformer(config);
  const { tensors } = { tensors: readTensors(folder, 'model.safetensors') };
  return { model, weights: tensors, nullCondition: { label: int32([], [config.numClasses]) } };
}

describe('schedules and masks', () => {
  const { schedules } = readJson<{
    schedules: { mode: UnmaskingSchedule; grid: number; steps: number; tokens_per_step: number[] }[];
  }>('sampler', 'schedules.json');

  it('has schedules to compare', () => expect(schedules.length).toBeGreaterThan(50));

  it.each(schedules)('decides as many tokens per step: $mode, $grid x $grid, $steps steps', (given) => {
    expect(tokensPerStep(given.mode, given.steps, given.grid ** 2)).toEqual(given.tokens_per_step);
  });

  it.each(foldersWith('masking.safetensors'))('masks the same positions: %s', (folder) => {
    const tensors = readTensors(folder, 'masking.safetensors');
    const cases = Object.keys(tensors).filter((name) => name.endsWith('.ratio'));
    expect(cases.length).toBeGreaterThanOrEqual(12);
    for (const name of cases) {
      const prefix = name.slice(0, -'.ratio'.length);
      const part = (field: string) => get(tensors, `${prefix}.${field}`);
      const ratios = Array.from(part('r').data, (r) => maskRatioAt(prefix.split('.')[0] as MaskRatioSchedule, r));
      ratios.forEach((ratio, i) => expect(ratio).toBeCloseTo(part('ratio').data[i]!, 6));
      const uniforms = part('uniforms') as HostTensor<'float32'>;
      const counts = ratios.map((ratio) => numMasked(uniforms.shape[1]!, ratio));
      expect(counts).toEqual([...part('num_masked').data]);
      const isMasked = chooseMasked(uniforms, counts);
      expect(Array.from(isMasked.data)).toEqual(Array.from(part('mask').data));
      const masked = maskTokens(rows(part('code'), counts.length), isMasked, 50);
      expect(masked.data).toEqual(part('masked_code').data);
    }
  });
});

describe.each(engines)('on $name', ({ create }) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await create();
  });
  afterAll(() => engine.dispose());

  const oneStep = readJson<Record<string, { variants?: Record<string, OneStepVariant> }>>('one-step', 'meta.json');
  const oneStepCases = Object.entries(oneStep).flatMap(([folder, { variants = {} }]) =>
    Object.keys(variants).map((variant) => ({ folder, variant })),
  );

  it.each(oneStepCases)('generates in one step: $folder $variant', async ({ folder, variant }) => {
    const { model, weights } = loadModel(folder);
    const options = oneStep[folder]!.variants![variant]!;
    const tensors = readTensors('one-step', `${folder}.safetensors`);
    const part = (name: string) => get(tensors, `${variant}.${name}`);
    const batch = part('labels').shape[0]!;
    const draws = {
      codes: rows<HostTensor<'int32'>>(part('init_code'), batch),
      maskUniforms: part('mask_uniforms') as HostTensor<'float32'>,
    };
    const initial = initialTokens(draws, options.fixed_ratio, model.tokenSpace);
    expect(initial.data).toEqual(part('masked_code').data);
    const sampler = await compileOneStep(engine, model, {
      batchSize: batch,
      tokenInit: { maskRatio: options.fixed_ratio, embeddingNoise: options.noise, noiseDeviation: 1 },
      sampling: { temperature: options.gen_temp, topK: options.top_k, topP: options.top_p, reference: true },
    });
    const device = await engine.upload(weights);
    const tokens = await sampler.sample(
      device,
      { label: part('labels') },
      {
        initialTokens: initial,
        initialMaskRatio: float32([batch], new Float32Array(batch).fill(options.fixed_ratio)),
        sampleUniforms: part('uniforms') as HostTensor<'float32'>,
        ...(options.noise > 0 ? { embeddingNoise: part('noise') as HostTensor<'float32'> } : {}),
      },
    );
    expect(tokens.data).toEqual(part('tokens').data);
    await sampler.dispose();
    await device.dispose();
  });

  const traces = readJson<Record<string, Trace>>('sampler', 'traces.json');

  it.each(Object.keys(traces))('samples in several steps: %s', async (name) => {
    const trace = traces[name]!;
    const tensors = readTensors('sampler', `${name}.safetensors`);
    const { model, weights, nullCondition } = loadModel(trace.transformer);
    const options: MultiStepOptions = {
      numSteps: trace.steps,
      schedule: trace.mode,
      guidanceScale: 1 + trace.w,
      temperature: 1 / trace.sm_temp,
      choiceTemperature: trace.r_temp,
      confidence: trace.randomize === 'warm_up' ? 'warm-up' : trace.randomize,
      reference: true,
    };
    const sampler = await compileMultiStep(engine, { model, nullCondition }, { batchSize: trace.batch, ...options });
    const device = await engine.upload(weights);
    const steps: Int32Array[] = [];
    const initial = tensors['init_code'];
    const tokens = await sampler.sample(device, {
      condition: { label: get(tensors, 'labels') },
      draws: {
        uniforms: (step) => ofStep(tensors, 'uniforms', step) as Float32Array,
        gumbel: (step) => ofStep(tensors, 'gumbel', step),
        randomConfidence: (step) => ofStep(tensors, 'rand_confidence', step),
      },
      ...(initial ? { initialTokens: rows<HostTensor<'int32'>>(initial, trace.batch) } : {}),
      onStep: (progress) => steps.push(progress.tokens.data),
    });
    expect(steps).toHaveLength(trace.steps_executed);
    for (let step = 1; step < trace.steps_executed; step++)
      expect(steps[step - 1], `before step ${step}`).toEqual(ofStep(tensors, 'codes_before_step', step));
    expect(tokens.data).toEqual(get(tensors, 'codes_final').data);
    await sampler.dispose();
    await device.dispose();
  });
});

/** The part of a tensor with a leading step axis that belongs to one step. */
function ofStep(tensors: HostTree, name: string, step: number) {
  const { data, shape } = get(tensors, name);
  const size = data.length / shape[0]!;
  return data.slice(step * size, (step + 1) * size);
}
