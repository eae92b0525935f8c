/**
 * Laws of both samplers: every id is below codebookSize; a sample depends on the seed and its index alone, not on the
 * batch size; exactly the scheduled number of tokens is decided per step and decided tokens stay; given tokens stay.
 */
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  compileDecoder,
  compileMultiStep,
  compileOneStep,
  createDistillation,
  describeGenerator,
  eagerEngine,
  guidanceScaleAt,
  int32,
  randomMultiStepDraws,
  randomStream,
  resolveSampler,
  sampleMultiStep,
  sampleOneStep,
  tokensPerStep,
  type Teacher,
  type TokenDecoder,
} from '../index.js';
import { tinyTeacher } from '../testing/tiny-model.js';
import type { SamplerSettings } from '../model/sampler-options.js';
import { parseGeneratorDescription } from '../generator/generator.js';

beforeAll(() => tf.setBackend('cpu'));

const definition = tinyTeacher();
const weights = definition.model.initialize(randomStream(3, 0, 'weights'));
// The mask token is made the most probable prediction everywhere.
weights['output.bias']!.data[6] = 20;
const condition = { label: int32([5], [0, 1, 2, 0, 1]) };

async function multiStep(batchSize: number, sampling: SamplerSettings, seed = 0) {
  const engine = eagerEngine('cpu');
  const state = await engine.upload(weights);
  const sampler = await compileMultiStep(engine, definition, { batchSize, sampler: sampling });
  const tokens = await sampleMultiStep(sampler, definition.model, { weights: state, condition, seed });
  await engine.dispose();
  return tokens;
}

async function oneStep(batchSize: number, seed = 0, maskRatio: number | [number, number] = 0.6) {
  const engine = eagerEngine('cpu');
  const state = await engine.upload(weights);
  const sampler = await compileOneStep(engine, definition.model, {
    batchSize,
    tokenInit: { maskRatio, embeddingNoise: 0.1, noiseDeviation: 0.5 },
  });
  const tokens = await sampleOneStep(sampler, { weights: state, condition, seed });
  await engine.dispose();
  return tokens;
}

describe('one-step sampler', () => {
  it('gives known ids, the same for every batch size, others for another seed', async () => {
    const tokens = await oneStep(5);
    expect(tokens.shape).toEqual([5, 6]);
    expect(tokens.data.every((id) => id >= 0 && id < 6)).toBe(true);
    expect(await oneStep(2)).toEqual(tokens);
    expect((await oneStep(5, 1)).data).not.toEqual(tokens.data);
    expect(await oneStep(3, 0, [0.2, 0.9])).toEqual(await oneStep(5, 0, [0.2, 0.9]));
  });
});

describe('multi-step sampler', () => {
  it.each<SamplerSettings>([
    { numSteps: 1, guidanceScale: 2 },
    { numSteps: 3, guidanceScale: 2 },
    { numSteps: 4, confidence: 'warm-up', guidanceRamp: 'constant', guidanceScale: 1.5 },
    { numSteps: 10, confidence: 'random', topK: 2, schedule: 'square' },
  ])('gives known ids, the same for every batch size: %o', async (options) => {
    const tokens = await multiStep(5, options);
    expect(tokens.data.every((id) => id >= 0 && id < 6)).toBe(true);
    expect(await multiStep(2, options)).toEqual(tokens);
  });

  it('decides the scheduled number per step, and what is decided stays', async () => {
    const engine = eagerEngine('cpu');
    const state = await engine.upload(weights);
    const sampler = await compileMultiStep(engine, definition, { batchSize: 2, sampler: { numSteps: 3 } });
    const given = int32([2, 6], [6, 1, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6]);
    const seen: Int32Array[] = [given.data.slice()];
    await sampler.sample(state, {
      condition: { label: int32([2], [0, 1]) },
      draws: randomMultiStepDraws(0, 0, { batchSize: 2, tokenSpace: definition.model.tokenSpace }),
      knownTokens: given,
      onStep: ({ tokens }) => seen.push(tokens.data),
    });
    // Of the tokens that are wanted: 5 and 6.
    const counts = [tokensPerStep('arccos', 3, 5), tokensPerStep('arccos', 3, 6)];
    for (let step = 1; step <= 3; step++)
      for (let row = 0; row < 2; row++) {
        const [before, after] = [seen[step - 1]!, seen[step]!].map((tokens) => [...tokens.slice(row * 6, row * 6 + 6)]);
        const left = before!.filter((id) => id === 6).length;
        const decided = step === 3 ? left : Math.min(counts[row]![step - 1]!, left);
        expect(after!.filter((id) => id === 6).length).toBe(left - decided);
        before!.forEach((id, i) => id !== 6 && expect(after![i]).toBe(id));
      }
    expect(given.data[0]).toBe(6);
    await engine.dispose();
  });

  it('ramps the guidance from 1 to the scale', () => {
    const optionsOf = (numSteps: number) => ({ numSteps, guidanceScale: 3, guidanceRamp: 'linear' as const });
    expect([0, 1, 2, 3, 4].map((i) => guidanceScaleAt(optionsOf(5), i))).toEqual([1, 1.5, 2, 2.5, 3]);
    expect(guidanceScaleAt(optionsOf(1), 0)).toBe(3);
  });

  it('refuses wrong options', () => {
    expect(() => resolveSampler({ numSteps: 0 })).toThrow('sampler.numSteps');
    expect(() => resolveSampler({ schedule: 'cubic' })).toThrow('sampler.schedule');
    expect(() => resolveSampler({ confidence: 'high' })).toThrow('sampler.confidence');
    expect(() => resolveSampler({ choiceTemperature: -1 })).toThrow('sampler.choiceTemperature');
    expect(() => resolveSampler({ steps: 3 })).toThrow('sampler: unknown "steps"; known are numSteps');
    expect(() => resolveSampler({ name: 'haltom' })).toThrow('sampler.name: there is no sampler "haltom"');
  });
});

describe('decoder', () => {
  const decoder: TokenDecoder = {
    name: 'grey',
    parameters: { table: { dtype: 'float32', shape: [6] } },
    imageShape: [2, 3, 1],
    grid: [2, 3],
    codebookSize: 6,
    decode: (state, tokens) => tf.reshape(tf.gather(state['table'] as tf.Tensor1D, tokens), [-1, 2, 3, 1]),
  };

  it('decodes any number of images, and refuses mask tokens', async () => {
    const engine = eagerEngine('cpu');
    const state = await engine.upload({
      table: { dtype: 'float32', shape: [6], data: Float32Array.from([0, 0.2, 0.4, 0.6, 0.8, 1]) },
    });
    const compiled = await compileDecoder(engine, decoder, 2);
    const tokens = int32(
      [3, 6],
      Int32Array.from({ length: 18 }, (_, i) => i % 6),
    );
    const images = await compiled.decode(state, tokens);
    expect(images.shape).toEqual([3, 2, 3, 1]);
    images.data.forEach((value, i) => expect(value).toBeCloseTo((i % 6) / 5, 6));
    tokens.data[4] = 6;
    await expect(compiled.decode(state, tokens)).rejects.toThrow('got 6; mask tokens cannot be decoded');
    await engine.dispose();
  });
});

describe('generator description', () => {
  const teacher: Teacher = { ...definition, weights };
  const distillation = createDistillation(teacher, { tokenInit: { maskRatio: [0.2, 0.8] } });
  const description = describeGenerator(teacher, distillation, { training: { steps: 10 }, temperature: 0.8 });

  it('survives JSON', () => {
    expect(parseGeneratorDescription(JSON.parse(JSON.stringify(description)), 'generator.json')).toEqual(description);
    expect(description.tokenInit!.maskRatio).toEqual([0.2, 0.8]);
    expect(description.tokenInit!.noiseDeviation).toBeGreaterThan(0.3);
  });

  it('is refused when a field is wrong, naming it', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('format', 'version', 'teacher', 'model', 'tokenInit', 'temperature'),
        fc.constantFrom<unknown>(null, 7, 'x', []),
        (field, value) => {
          if ((field === 'model' && value === 'x') || (field === 'temperature' && value === 7)) return;
          expect(() => parseGeneratorDescription({ ...description, [field]: value }, 'generator.json')).toThrow(
            new RegExp(`^generator.json: ${field}`),
          );
        },
      ),
    );
    expect(() => parseGeneratorDescription('x', 'g.json')).toThrow(
      'g.json: the description must be an object, got "x"',
    );
  });
});
