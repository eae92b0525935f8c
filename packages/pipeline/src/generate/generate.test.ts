/** The door in Node, on a real engine with the bundled models. */
import { createOnnxEngine, folderWeightSource } from '@dimo/backend-node';
import {
  compileDecoder,
  compileMultiStep,
  compileOneStep,
  readGenerator,
  sampleMultiStep,
  sampleOneStep,
  type Engine,
  type HostTensor,
  type WeightSource,
} from '@dimo/core';
import { presetFolder, presets } from '@dimo/presets';
import { maskgitTeacher } from '@dimo/teacher-maskgit';
import { decode } from 'fast-png';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { pipeline, type Generate, type LoadingProgress } from '../index.js';

const folder = fileURLToPath(presetFolder(presets.mnist));
let engine: Engine;
let generate: Generate;
let scratch: string;
/** What the engine has done, by what it was asked for. */
const counts = { runs: 0, uploads: 0, open: 0, isDisposed: false };

/** The same engine, counted. */
function counted(inner: Engine): Engine {
  const track = <T extends { dispose(): Promise<void> }>(made: T): T => {
    counts.open++;
    return {
      ...made,
      async dispose() {
        counts.open--;
        await made.dispose();
      },
    };
  };
  return {
    ...inner,
    info: inner.info,
    async compile(fn, signature) {
      const compiled = await inner.compile(fn, signature);
      return track({
        ...compiled,
        run(state, inputs) {
          counts.runs++;
          return compiled.run(state, inputs);
        },
        dispose: () => compiled.dispose(),
      });
    },
    async upload(tree, options) {
      counts.uploads++;
      const made = await inner.upload(tree, options);
      const { dispose } = made;
      counts.open++;
      made.dispose = () => {
        counts.open--;
        return dispose.call(made);
      };
      return made;
    },
    async dispose() {
      counts.isDisposed = true;
      await inner.dispose();
    },
  };
}

beforeAll(async () => {
  scratch = await mkdtemp(path.join(tmpdir(), 'dimo-pipeline-'));
  engine = counted(await createOnnxEngine({ threads: 1 }));
  generate = await pipeline('mnist', { engine });
});
afterAll(async () => {
  await engine.dispose();
  await rm(scratch, { recursive: true, force: true });
});

/** Images of core's own functions, batch of their own. */
async function expected(tokens: HostTensor<'int32'>): Promise<HostTensor<'float32'>> {
  const { decoder, decoderWeights } = await maskgitTeacher.load({}, folderWeightSource(folder));
  const compiled = await compileDecoder(engine, decoder!, tokens.shape[0]!);
  const weights = await engine.upload(decoderWeights!);
  const images = await compiled.decode(weights, tokens);
  await compiled.dispose();
  await weights.dispose();
  return images;
}

describe('a call', () => {
  it('gives the pictures of core, with what each was drawn for', async () => {
    const pictures = await generate(['3', 7], { seed: 5, count: 3 });
    const generator = await readGenerator(
      folderWeightSource(path.join(folder, 'generator')),
      new Map([['maskgit', maskgitTeacher]]),
    );
    const { tokenInit, temperature } = generator.description;
    const sampler = await compileOneStep(engine, generator.definition.model, {
      batchSize: 3,
      tokenInit: tokenInit!,
      sampling: { temperature: temperature! },
    });
    const weights = await engine.upload(generator.weights);
    const condition = await generator.definition.conditions.parse(['3', '7', '3']);
    const tokens = await sampleOneStep(sampler, { weights, condition, seed: 5 });
    await sampler.dispose();
    await weights.dispose();
    expect(pictures.flatMap((picture) => [...picture.tokens.data])).toEqual([...tokens.data]);
    const images = await expected(tokens);
    pictures.forEach(({ image }, i) =>
      image.data.forEach((value, k) => expect(value).toBeCloseTo(images.data[i * 784 + k]!, 5)),
    );
    expect(
      pictures.map(({ prompt, className, seed, index, passes }) => [prompt, className, seed, index, passes]),
    ).toEqual([
      ['3', '3', 5, 0, 1],
      ['7', '7', 5, 1, 1],
      ['3', '3', 5, 2, 1],
    ]);
  });

  it('asks the teacher in n steps by any sampler, with progress', async () => {
    const events: unknown[] = [];
    const [picture] = await generate('4', {
      seed: 2,
      steps: 3,
      sampler: 'halton',
      onProgress: (event) => events.push(event),
    });
    const teacher = await maskgitTeacher.load({}, folderWeightSource(folder));
    const sampler = await compileMultiStep(engine, teacher, {
      batchSize: 1,
      sampler: { name: 'halton', numSteps: 3 },
    });
    const weights = await engine.upload(teacher.weights);
    const condition = await teacher.conditions.parse(['4']);
    const tokens = await sampleMultiStep(sampler, teacher.model, { weights, condition, seed: 2 });
    await sampler.dispose();
    await weights.dispose();
    expect([...picture!.tokens.data]).toEqual([...tokens.data]);
    expect(picture!.passes).toBe(3);
    expect(events).toEqual([
      ...[1, 2, 3].map((step) => ({ done: 0, count: 1, step, numSteps: 3 })),
      { done: 1, count: 1, step: 3, numSteps: 3 },
    ]);
  });

  it('shares its batch with others at the same time, which changes no picture', async () => {
    const alone = [await generate('1', { seed: 9 }), await generate(['2', '5'], { seed: 4, firstIndex: 3 })];
    const before = counts.runs;
    const together = await Promise.all([generate('1', { seed: 9 }), generate(['2', '5'], { seed: 4, firstIndex: 3 })]);
    // One run of the generator, one of the decoder.
    expect(counts.runs - before).toBe(2);
    expect(together.flat().map(({ tokens }) => [...tokens.data])).toEqual(
      alone.flat().map(({ tokens }) => [...tokens.data]),
    );
    expect(together.flat().map((picture) => picture.png())).toEqual(alone.flat().map((picture) => picture.png()));
    const teachers = (seed: number) => generate('6', { seed, sampler: { name: 'remdm', numSteps: 4 } });
    const single = [await teachers(1), await teachers(2)];
    const both = await Promise.all([teachers(1), teachers(2)]);
    expect(both.flat().map(({ tokens }) => [...tokens.data])).toEqual(
      single.flat().map(({ tokens }) => [...tokens.data]),
    );
  });

  it('tells a random seed that gives the picture again', async () => {
    const [picture] = await generate('8');
    const [again] = await generate('8', { seed: picture!.seed });
    expect([...again!.tokens.data]).toEqual([...picture!.tokens.data]);
  });

  it('can be stopped before and while it draws', async () => {
    await expect(generate('1', { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'cancelled' });
    const stop = new AbortController();
    let steps = 0;
    const stopped = generate('1', {
      steps: 16,
      signal: stop.signal,
      onProgress: () => {
        steps++;
        stop.abort();
      },
    });
    await expect(stopped).rejects.toMatchObject({ code: 'cancelled' });
    expect(steps).toBe(1);
    expect(await generate('1', { seed: 1 })).toHaveLength(1);
  });

  it('streams pictures as they are drawn; leaving the loop stops the drawing', async () => {
    const indices: number[] = [];
    for await (const { index } of generate.stream('2', { count: 50, seed: 1 })) {
      indices.push(index);
      if (index === 8) break;
    }
    expect(indices).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
    await expect(generate.stream('cat').next()).rejects.toMatchObject({ code: 'option' });
  });

  it.each([
    [['twelve'], {}, /"twelve"/],
    [[], {}, /there are no prompts/],
    [[NaN], {}, /the prompt must be a text, or a class/],
    ['1', { count: 0 }, /count must be an integer/],
    ['1', { seed: -1 }, /seed must be an integer/],
    ['1', { temperature: 0 }, /temperature must be at least 0.000001/],
    ['1', { steps: 2.5 }, /steps must be an integer/],
    ['1', { sampler: 'haltom' }, /there is no sampler "haltom"; known are maskgit, halton/],
    ['1', { sampler: { name: 'halton', numStep: 3 } }, /numStep/],
    ['1', { step: 3 }, /step/],
    ['1', { negativePrompt: '2' }, /not guided/],
    ['1', { steps: 2, embeddingNoise: 0.1 }, /embeddingNoise is for one-step generators/],
  ] as const)('refuses %j with %j before anything is drawn', async (prompts, options, message) => {
    const before = counts.runs;
    const failure = await generate(prompts as string, options as never).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'option', message: expect.stringMatching(message) as string });
    expect(counts.runs).toBe(before);
  });
});

describe('a picture', () => {
  it('is written as a PNG, and nothing else', async () => {
    const [picture] = await generate('3', { seed: 1 });
    const file = path.join(scratch, 'three.png');
    await picture!.save(file);
    const { width, height, channels, data } = decode(await readFile(file));
    expect([width, height, channels]).toEqual([28, 28, 1]);
    expect([...data]).toEqual(Array.from(picture!.image.data, (value) => Math.round(value * 255)));
    expect([...picture!.rgba().subarray(0, 4)]).toEqual([data[0], data[0], data[0], 255]);
    expect(picture!.toBlob()).toMatchObject({ type: 'image/png', size: picture!.png().length });
    await expect(picture!.save(path.join(scratch, 'three.jpg'))).rejects.toMatchObject({ code: 'option' });
    await expect(picture!.save(path.join(scratch, 'absent', 'three.png'))).rejects.toMatchObject({ code: 'io' });
    expect(() => picture!.toImageData()).toThrow(/no canvases/);
  });
});

describe('loading', () => {
  const untouched: WeightSource = {
    location: 'untouched',
    list: () => Promise.reject(new Error('was listed')),
    read: () => Promise.reject(new Error('was read')),
  };

  it.each([
    [untouched, { engine: 'cudda' }, /engine must be one of auto, .*; got "cudda"/],
    [untouched, { batchSize: 3 }, /batchSize must be 1, 2, 4/],
    [untouched, { bachSize: 4 }, /bachSize/],
    [42, {}, /the model must be .*got number/],
    ['', {}, /the model must be .*got nothing/],
    ['emojis', {}, /"emojis" is neither a preset, nor a folder/],
    ['hf:nothing', {}, /is not owner\/repository/],
    ['package.json', {}, /nor a .safetensors file/],
  ] as const)('refuses %o with %j before anything is read', async (model, options, message) => {
    const failure = await pipeline(model as string, options as never).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'option', message: expect.stringMatching(message) as string });
  });

  it('names what failed where it was not foreseen, and stops on request', async () => {
    await expect(pipeline(untouched, { engine })).rejects.toMatchObject({
      code: 'internal',
      message: '"untouched": was listed',
    });
    await expect(pipeline('mnist', { engine, signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'cancelled',
    });
  });

  it.each([
    ['the folder of a teacher', folder, ['teacher']],
    ['the folder of a generator', path.join(folder, 'generator'), ['generator']],
  ])('takes %s, and the teacher that is not there is an error', async (_, place, kinds) => {
    const own = await pipeline(place, { engine });
    expect(own.networks).toEqual(expect.arrayContaining(kinds));
    if (kinds[0] === 'generator')
      await expect(own('1', { steps: 2 })).rejects.toMatchObject({
        message: expect.stringMatching(/without its teacher/),
      });
    await own.dispose();
  });

  it('gives everything up, once, and leaves an engine that was given', async () => {
    const { open } = counts;
    {
      await using own = await pipeline('mnist', { engine });
      await own('1', { seed: 1, steps: 2 });
      await own('1', { seed: 1 });
      expect(counts.open).toBeGreaterThan(open);
      await own.dispose();
      await expect(own('1')).rejects.toThrow(/was disposed/);
    }
    expect([counts.open, counts.isDisposed]).toEqual([open, false]);
  });

  it('makes an engine of its own by name, and tells how loading goes', async () => {
    const events: LoadingProgress[] = [];
    const own = await pipeline('emoji', {
      engine: 'wasm',
      onProgress: (event) => events.push(event),
    });
    expect(own.engine.name).toBe('wasm');
    expect([own.classNames, own.imageShape, own.networks]).toEqual([undefined, [32, 32, 3], ['generator', 'teacher']]);
    const [heart] = await own('red heart', { seed: 1 });
    const middle = (16 * 32 + 16) * 3;
    const [red, green, blue] = heart!.image.data.subarray(middle, middle + 3);
    expect(red! - Math.max(green!, blue!)).toBeGreaterThan(0.3);
    await own.dispose();
  });
});
