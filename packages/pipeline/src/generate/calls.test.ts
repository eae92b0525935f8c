/** What calls owe to each other and to those who stop them, on an engine that computes on this thread. */
import { chooseEngine, folderWeightSource } from '@dimo/backend-node';
import { DimoError, readGenerator, type Engine, type LoadedGenerator, type Teacher } from '@dimo/core';
import { presetFolder, presets } from '@dimo/presets';
import { maskgitTeacher } from '@dimo/teacher-maskgit';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createGenerate, type Generate, type GenerateParts } from './generate.js';

const folder = fileURLToPath(presetFolder(presets.mnist));
let engine: Engine;
let generator: LoadedGenerator;
let teacher: Teacher;

function make(changes: Partial<GenerateParts> = {}): Promise<Generate> {
  return createGenerate({
    model: 'mnist',
    engine,
    ownsEngine: false,
    generator: () => Promise.resolve(generator),
    teacher: () => Promise.resolve(teacher),
    saveFile: () => Promise.reject(new Error('no files')),
    ...changes,
  });
}

/** The generator with another definition. */
function changed(changes: Partial<LoadedGenerator['definition']>): () => Promise<LoadedGenerator> {
  return () => Promise.resolve({ ...generator, definition: { ...generator.definition, ...changes } });
}

const cancelled = { code: 'cancelled' };
const nextTask = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));

beforeAll(async () => {
  ({ engine } = await chooseEngine('wasm'));
  const teachers = new Map([['maskgit', maskgitTeacher]]);
  generator = await readGenerator(folderWeightSource(path.join(folder, 'generator')), teachers);
  teacher = await maskgitTeacher.load({}, folderWeightSource(folder));
});
afterAll(() => engine.dispose());

describe('picture i of a seed', () => {
  it('is for prompt i, whatever the first index is', async () => {
    const generate = await make();
    const both = await generate(['3', '7'], { seed: 1 });
    const [second] = await generate(['3', '7'], { seed: 1, count: 1, firstIndex: 1 });
    expect(second!.prompt).toBe('7');
    expect(second!.tokens).toEqual(both[1]!.tokens);
    const [fourth] = await generate(undefined, { seed: 1, firstIndex: 4 });
    expect([fourth!.prompt, fourth!.className, fourth!.index]).toEqual(['4', '4', 4]);
    await generate.dispose();
  });

  it('has a random condition of its own where classes have no names', async () => {
    const { classNames: _names, ...conditions } = generator.definition.conditions;
    const generate = await make({ generator: changed({ conditions }) });
    const all = await generate(undefined, { seed: 6, count: 5 });
    const last = await generate(undefined, { seed: 6, count: 2, firstIndex: 3 });
    expect(last.map(({ tokens }) => tokens)).toEqual(all.slice(3).map(({ tokens }) => tokens));
    await generate.dispose();
  });

  it('tells the class that was drawn, not one whose id looks like its name', async () => {
    const names = ['1', '0', '2', '3', '4', '5', '6', '7', '8', '9'];
    const conditions = {
      ...generator.definition.conditions,
      classNames: names,
      parse: (texts: readonly string[]) =>
        generator.definition.conditions.parse(texts.map((text) => String(names.indexOf(text)))),
    };
    const generate = await make({ generator: changed({ conditions }) });
    const pictures = await generate(['1', '0', '2'], { seed: 1 });
    expect(pictures.map(({ className }) => className)).toEqual(['1', '0', '2']);
    await generate.dispose();
  });
});

describe('a call that fails or is stopped', () => {
  it('leaves the others of its batch alone', async () => {
    const generate = await make();
    const fail = (): never => {
      throw new Error('the page is gone');
    };
    const calls = [generate('1', { seed: 1, steps: 2, onProgress: fail }), generate('1', { seed: 2, steps: 2 })];
    const [failed, drawn] = await Promise.allSettled(calls);
    expect(failed).toMatchObject({
      status: 'rejected',
      reason: { code: 'option', message: 'generate: onProgress failed: the page is gone' },
    });
    expect(drawn).toMatchObject({ status: 'fulfilled', value: [{ seed: 2 }] });
    await generate.dispose();
  });

  it('is stopped by a timer between two steps', async () => {
    const generate = await make();
    await generate('1', { seed: 1, steps: 40 });
    const stop = new AbortController();
    let steps = 0;
    const call = generate('1', {
      seed: 1,
      steps: 40,
      signal: stop.signal,
      onProgress({ step }) {
        steps = step;
        if (step === 1) setTimeout(() => stop.abort(), 0);
      },
    });
    await expect(call).rejects.toMatchObject(cancelled);
    expect(steps).toBeLessThan(40);
    await generate.dispose();
  });

  it('does not wait for weights that are still read', async () => {
    const generate = await make({ teacher: () => new Promise(() => undefined) });
    const stop = new AbortController();
    const call = generate('1', { steps: 2, signal: stop.signal });
    await nextTask();
    stop.abort();
    await expect(call).rejects.toMatchObject(cancelled);
    expect(await generate('1', { seed: 1 })).toHaveLength(1);
  });

  it.each([
    ['3', null, /options/],
    ['3', { signal: {} }, /signal must be an AbortSignal/],
    ['3', { signal: { addEventListener: () => undefined } }, /signal must be an AbortSignal/],
    ['3', { embeddingNoise: '0.5' }, /embeddingNoise must be a number/],
    ['3', { embeddingNoise: [0.5] }, /embeddingNoise must be a number/],
    ['3', { embeddingNoise: null }, /embeddingNoise must be a number/],
    ['3', { temperature: '0.5' }, /temperature must be a finite number/],
    ['3', { topP: null }, /topP must be a finite number/],
    ['3', { temperature: 1e-40 }, /temperature must be at least 0.000001/],
    ['3', { sampler: { name: 'halton', temperature: 1e-40 } }, /sampler.temperature must be at least 0.000001/],
    [new Array(3), {}, /prompt 1 must be a text, or a class/],
  ] as const)('%j with %j is an error of the options, in a stream too', async (prompts, options, message) => {
    const generate = await make();
    const expected = { code: 'option', message: expect.stringMatching(message) as string };
    await expect(generate(prompts as never, options as never)).rejects.toMatchObject(expected);
    await expect(generate.stream(prompts as never, options as never).next()).rejects.toMatchObject(expected);
  });
});

describe('giving up', () => {
  it('waits for calls that were made before, and does it once', async () => {
    const generate = await make();
    const call = generate('3', { seed: 1, steps: 2 });
    const first = generate.dispose();
    expect(generate.dispose()).toBe(first);
    await first;
    expect(await Promise.race([call, nextTask().then(() => 'not yet')])).toHaveLength(1);
    await expect(generate('3')).rejects.toThrow(/was disposed/);
  });

  it('goes on after a part that cannot be given up', async () => {
    const given: string[] = [];
    const failing: Engine = {
      ...engine,
      info: engine.info,
      async upload(tree, options) {
        const uploaded = await engine.upload(tree, options);
        const { dispose } = uploaded;
        uploaded.dispose = async () => {
          given.push('weights');
          await dispose.call(uploaded);
          throw new DimoError('device', 'the device is gone');
        };
        return uploaded;
      },
      compile: (fn, signature) => engine.compile(fn, signature),
      dispose() {
        given.push('engine');
        return Promise.resolve();
      },
    };
    const generate = await make({ engine: failing, ownsEngine: true });
    await generate('3', { seed: 1 });
    await generate('3', { seed: 1, steps: 2 });
    await expect(generate.dispose()).rejects.toMatchObject({ code: 'device' });
    // Weights of two networks, each with its decoder.
    expect(given).toEqual(['weights', 'weights', 'weights', 'weights', 'engine']);
  });

  it('does not begin where pictures could not be made of what is decoded', async () => {
    const decoder = { ...generator.definition.decoder!, imageShape: [28, 28, 2] as const };
    await expect(make({ generator: changed({ decoder }) })).rejects.toMatchObject({
      code: 'option',
      message: '"mnist" makes images of 2 channels; a pipeline draws images of 1, 3 or 4',
    });
  });
});
