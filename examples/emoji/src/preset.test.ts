/** The committed preset draws what it is asked for. */
import { createOnnxEngine, folderWeightSource } from '@dimo/backend-node';
import {
  compileDecoder,
  compileOneStep,
  readGenerator,
  sampleOneStep,
  type Engine,
  type HostTensor,
  type LoadedGenerator,
} from '@dimo/core';
import { presetFolder, presets } from '@dimo/presets';
import { wordsTeacher } from '@dimo/teacher-words';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadMatcher } from './matcher/metric.js';
import { retrievalAccuracy } from './matcher/retrieval.js';

/** Names of pictures that the generator has learnt well, and compositions that were held out. */
const learnt = ['grinning face', 'red heart', 'purple circle', 'cat face', 'red apple', 'green frog'];
const samplesPerPrompt = 4;

describe('the preset', () => {
  let engine: Engine;
  let generator: LoadedGenerator;
  beforeAll(async () => {
    engine = await createOnnxEngine();
    const folder = fileURLToPath(new URL('generator/', presetFolder(presets.emoji)));
    generator = await readGenerator(folderWeightSource(folder), new Map([[wordsTeacher.name, wordsTeacher]]));
  });
  afterAll(() => engine.dispose());

  async function draw(prompts: readonly string[]): Promise<HostTensor<'float32'>> {
    const { definition, description } = generator;
    const { tokenInit, temperature = 1 } = description;
    const batchSize = prompts.length;
    const sampler = await compileOneStep(engine, definition.model, {
      batchSize,
      tokenInit: tokenInit!,
      sampling: { temperature },
    });
    const decoder = await compileDecoder(engine, definition.decoder!, batchSize);
    const weights = await engine.upload(generator.weights);
    const condition = await definition.conditions.parse(prompts);
    const tokens = await sampleOneStep(sampler, { weights, condition, seed: 0 });
    return decoder.decode(await engine.upload(generator.decoderWeights!), tokens);
  }

  it('draws well-learnt names in one step so that they are found among 100', async () => {
    const prompts = learnt.flatMap((name) => Array.from({ length: samplesPerPrompt }, () => name));
    const images = await draw(prompts);
    // Chance is 0.01. The right pictures for other prompts are found no more often than that.
    expect(await retrievalAccuracy(engine, await loadMatcher(), images, prompts)).toBeGreaterThan(0.5);
    const wrong = prompts.map((_, i) => prompts[(i + samplesPerPrompt) % prompts.length]!);
    expect(await retrievalAccuracy(engine, await loadMatcher(), images, wrong)).toBeLessThan(0.2);
  }, 120_000);

  it('paints a heart in a colour that no heart had in training', async () => {
    const images = await draw(Array.from({ length: 8 }, () => 'blue heart'));
    const channels = [0, 0, 0];
    for (let image = 0; image < 8; image++)
      for (let y = 10; y < 20; y++)
        for (let x = 10; x < 22; x++)
          for (let c = 0; c < 3; c++) channels[c]! += images.data[((image * 32 + y) * 32 + x) * 3 + c]! / (8 * 120);
    const [red, , blue] = channels;
    expect(blue!).toBeGreaterThan(red! + 0.2);
  }, 120_000);
});
