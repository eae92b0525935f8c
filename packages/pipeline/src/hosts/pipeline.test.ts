/** The door: options that are refused before anything loads, and what loading leaves behind. */
import { createOnnxEngine, folderWeightSource } from '@dimo/backend-node';
import { builtInSamplers, type Engine, type WeightSource } from '@dimo/core';
import { presetFolder, presets } from '@dimo/presets';
import { maskgitTeacher } from '@dimo/teacher-maskgit';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { throwIfAborted } from '../model/resident-model.js';
import { pipeline as browserPipeline } from './browser.js';
import { pipeline } from './node.js';
import type { LoadingProgress } from './host.js';
import { definePipeline } from './pipeline.js';

const untouched: WeightSource = {
  location: 'untouched',
  list: () => Promise.reject(new Error('was listed')),
  read: () => Promise.reject(new Error('was read')),
};
const engine = {
  info: { name: 'none', device: 'none' },
  compile: () => Promise.reject(new Error('compiles nothing')),
} as unknown as Engine;
const failureOf = (made: Promise<unknown>) => made.catch((error: unknown) => error);

describe('options', () => {
  it.each([
    [{ samplers: [{}] }, /samplers\[0\] needs a name/],
    [{ samplers: 5 }, /samplers must be a list, got number/],
    [{ samplers: [{ ...builtInSamplers.get('halton'), name: 'mine', run: 1 }] }, /samplers\[0\] \("mine"\) has no run/],
    [{ samplers: [{ name: 'mine', maximumPasses() {}, run() {} }] }, /samplers\[0\] \("mine"\) has no options/],
    [{ teachers: 5 }, /teachers must be a list, got number/],
    [{ teachers: [null] }, /teachers\[0\] must be an object/],
    [{ teachers: [{ name: 'mine' }] }, /teachers\[0\] \("mine"\) has no define/],
    [{ teachers: [maskgitTeacher] }, /"maskgit" is the name of a teacher of this project/],
    [{ onProgress: 5 }, /onProgress must be a function/],
    [{ signal: 'x' }, /signal must be an AbortSignal/],
    [{ engineOptions: 5 }, /engineOptions must be an object/],
    [{ engine, engineOptions: { threads: 1 } }, /engineOptions are for an engine that is made here/],
    [{ engineOptions: { tfjsWasmFiles: '/tfjs/' } }, /engineOptions has no option .*tfjsWasmFiles/],
    [{ presets: '/presets/' }, /presets is for browsers/],
    [{ presets: 5 }, /presets must be the address of a folder/],
  ])('refuses %j', async (options, message) => {
    expect(await failureOf(pipeline(untouched, options as never))).toMatchObject({
      code: 'option',
      message: expect.stringMatching(message) as string,
    });
  });

  it('refuses an address of presets with a query, which would be lost', async () => {
    for (const presets of ['https://host/p?v=1', 'https://host/p/#top'])
      expect(await failureOf(browserPipeline('mnist', { presets }))).toMatchObject({
        code: 'option',
        message: expect.stringMatching(/presets must be the address of a folder, without "[?#]/) as string,
      });
  });

  it('refuses a file: address that has no path here', async () => {
    expect(await failureOf(pipeline('file:///a%2Fb'))).toMatchObject({
      code: 'option',
      message: expect.stringMatching(/names no file of this machine/) as string,
    });
  });
});

describe('the signal and the listener of loading', () => {
  /** A host whose sources tell and stop as those over a network do: by what they were given when they were opened. */
  const lazy = definePipeline({
    engines: [],
    engineOptions: [],
    readsPresets: false,
    openEngine: () => Promise.reject(new Error('makes none')),
    openPreset: (name, { signal, onProgress }) => {
      const source = folderWeightSource(fileURLToPath(presetFolder(presets[name as 'mnist'])));
      return {
        location: source.location,
        list: () => source.list(),
        read(file) {
          throwIfAborted(signal);
          onProgress({ stage: 'files', file, loadedBytes: 1, totalBytes: 1 });
          return source.read(file);
        },
      };
    },
    openPlace: () => Promise.reject(new Error('opens none')),
    places: 'a preset',
    saveFile: () => Promise.resolve(),
  });

  it('hold until the model is there: the teacher that is read later is neither stopped nor told', async () => {
    const loading = new AbortController();
    const events: LoadingProgress[] = [];
    const real = await createOnnxEngine({ threads: 1 });
    try {
      const generate = await lazy('mnist', {
        engine: real,
        signal: loading.signal,
        onProgress: (event) => events.push(event),
      });
      const told = events.length;
      expect(told).toBeGreaterThan(0);
      loading.abort();
      expect(await generate('3', { seed: 1, steps: 2 })).toHaveLength(1);
      expect(events).toHaveLength(told);
      await generate.dispose();
    } finally {
      await real.dispose();
    }
  });

  it('stop a loading that is under way', async () => {
    const loading = new AbortController();
    const failure = await failureOf(
      lazy('mnist', { engine, signal: loading.signal, onProgress: () => loading.abort() }),
    );
    expect(failure).toMatchObject({ code: 'cancelled' });
  });
});

it('a generator of several passes is drawn in them, and not in one', async () => {
  const preset = folderWeightSource(fileURLToPath(`${presetFolder(presets.mnist)}generator`));
  // The bundled generator as if another algorithm had made it.
  const several: WeightSource = {
    location: preset.location,
    list: () => preset.list(),
    async read(file, maximumBytes) {
      const bytes = await preset.read(file, maximumBytes);
      if (file !== 'config.json') return bytes;
      const { tokenInit: _, ...description } = JSON.parse(new TextDecoder().decode(bytes)) as Record<string, unknown>;
      const sampler = { name: 'ancestral', numSteps: 3 };
      return new TextEncoder().encode(JSON.stringify({ ...description, algorithm: 'other', sampler }));
    },
  };
  const real = await createOnnxEngine({ threads: 1 });
  try {
    const generate = await pipeline(several, { engine: real });
    const [picture] = await generate('3', { seed: 1 });
    expect(picture).toMatchObject({ passes: 3, className: '3' });
    expect((await generate('3', { seed: 1, steps: 2 }))[0]!.passes).toBe(2);
    await generate.dispose();
  } finally {
    await real.dispose();
  }
});
