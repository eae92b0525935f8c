/**
 * Both halves of `@dimo/pipeline/worker` over a message port, in Node: what the page is told is what core computes, and
 * a distillation can be paused, stopped, continued and saved without a change in its numbers.
 */
import { folderWeightSource, nodeEngines } from '@dimo/backend-node';
import { serveWorker } from '@dimo/pipeline/worker';
import {
  connectWorker,
  type DimoWorker,
  type DistillEvent,
  type DistillParameters,
  type Frame,
  type LoadedModel,
  WorkerError,
} from '@dimo/pipeline/worker-client';
import {
  compileOneStep,
  createDistillation,
  DimoError,
  generatorBundleSource,
  readGenerator,
  runTraining,
  sampleOneStep,
  type Engine,
  type Teacher,
} from '@dimo/core';
import { presetFolder, presets } from '@dimo/presets';
import { maskgitTeacher } from '@dimo/teacher-maskgit';
import { fileURLToPath } from 'node:url';
import { MessageChannel } from 'node:worker_threads';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const preset = fileURLToPath(presetFolder(presets.mnist));
const factory = nodeEngines.find(({ name }) => name === 'wasm')!;

let worker: DimoWorker;
let model: LoadedModel;
let engine: Engine;
const { port1, port2 } = new MessageChannel();
let numLost = 0;

beforeAll(async () => {
  engine = await factory.create();
  serveWorker({
    endpoint: port1 as never,
    async openEngine(name) {
      if (name !== 'wasm' && name !== 'auto')
        throw new DimoError('backend-unavailable', `no engine ${name}`, { hint: 'take wasm' });
      return { engine: failingOnce(await factory.create()), explanation: 'engine wasm' };
    },
    teachers: { maskgit: () => Promise.resolve(maskgitTeacher) },
    openFolder: (location) =>
      Promise.resolve(folderWeightSource(location.kind === 'url' ? location.url : location.files[0]!.path)),
  });
  worker = connectWorker(port2 as never);
  await worker.openEngine('wasm');
  model = await worker.load({ kind: 'url', url: preset });
});
afterAll(async () => {
  port1.close();
  port2.close();
  await engine.dispose();
});

/** Calls to come of which the last one fails as a lost device does; 0: none. */
let failAfter = 0;
function failingOnce(real: Engine): Engine {
  return {
    ...real,
    info: real.info,
    async compile(fn, signature) {
      const compiled = await real.compile(fn, signature);
      return {
        ...compiled,
        run(state, inputs) {
          if (failAfter > 0 && --failAfter === 0) {
            numLost++;
            return Promise.reject(new DimoError('device', 'the device was lost'));
          }
          return compiled.run(state, inputs);
        },
      };
    },
  };
}

async function teacher(): Promise<Teacher> {
  return maskgitTeacher.load({}, folderWeightSource(preset));
}

describe('generating', { timeout: 120_000 }, () => {
  it('tells what the model is', () => {
    expect(model).toMatchObject({
      teacher: { name: 'maskgit', numSteps: 16 },
      generator: { model: 'maskgit-h96-d4', temperature: 0.75 },
      classNames: ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'],
      imageShape: [28, 28, 1],
      grid: [7, 7],
    });
  });

  it('gives the tokens of core, and pictures of them', async () => {
    const { tokens, pictures, numSteps } = await worker.generate({
      model: model.id,
      network: 'generator',
      texts: ['3', '7'],
      seed: 5,
    });
    const generator = await readGenerator(
      folderWeightSource(`${preset}/generator`),
      new Map([['maskgit', maskgitTeacher]]),
    );
    const sampler = await compileOneStep(engine, generator.definition.model, {
      batchSize: 2,
      tokenInit: generator.description.tokenInit!,
      sampling: { temperature: 0.75 },
    });
    const expected = await sampleOneStep(sampler, {
      weights: await engine.upload(generator.weights),
      condition: await generator.definition.conditions.parse(['3', '7']),
      seed: 5,
    });
    expect([...tokens]).toEqual([...expected.data]);
    expect(pictures).toMatchObject({ count: 2, width: 28, height: 28 });
    expect(pictures.rgba.filter((_, i) => i % 4 === 3).every((alpha) => alpha === 255)).toBe(true);
    expect(Math.max(...pictures.rgba.filter((_, i) => i % 4 === 0))).toBeGreaterThan(200);
    expect(numSteps).toBe(1);
  });

  it('shows which tokens the teacher has decided, step by step; the frames change nothing', async () => {
    const frames: Frame[] = [];
    const request = { model: model.id, network: 'teacher', texts: ['3'], seed: 1, sampler: { numSteps: 4 } } as const;
    const drawn = await worker.generate({ ...request, frames: true }, { onEvent: (frame) => frames.push(frame) });
    expect(frames.map(({ step }) => step)).toEqual([1, 2, 3, 4]);
    const counts = frames.map(({ isDecided }) => isDecided.reduce((sum, value) => sum + value, 0));
    expect(counts).toEqual([...counts].sort((a, b) => a - b));
    expect(counts.at(-1)).toBe(49);
    expect(counts[0]).toBeLessThan(49);
    frames[0]!.isDecided.forEach((decided, i) => expect(decided).toBeLessThanOrEqual(frames[1]!.isDecided[i]!));
    expect(frames.at(-1)!.pictures!.rgba).toEqual(drawn.pictures.rgba);
    expect((await worker.generate(request)).tokens).toEqual(drawn.tokens);
  });

  it('stops on request, and reports errors with code and hint', async () => {
    const stop = new AbortController();
    const stopped = worker.generate(
      { model: model.id, network: 'teacher', texts: ['3'], seed: 1, sampler: { numSteps: 16 }, frames: true },
      { signal: stop.signal, onEvent: () => stop.abort() },
    );
    await expect(stopped).rejects.toMatchObject({ code: 'cancelled' });
    const wrong = worker.generate({ model: model.id, network: 'generator', texts: ['ten'], seed: 1 });
    await expect(wrong).rejects.toSatisfy((error) => DimoError.isInstance(error) && error instanceof WorkerError);
    await expect(wrong).rejects.toMatchObject({ code: 'option', message: expect.stringContaining('"ten"') });
    await expect(worker.openEngine('absent')).rejects.toMatchObject({ code: 'backend-unavailable', hint: 'take wasm' });
    await expect(worker.load({ kind: 'url', url: '/absent' })).rejects.toMatchObject({ code: 'io' });
    // The engine that failed to open left none behind; the next request opens one.
    await worker.generate({ model: model.id, network: 'generator', texts: ['1'], seed: 1 });
  });
});

describe('distilling', { timeout: 300_000 }, () => {
  const options = { numSteps: 4, batchSize: 2, seed: 3 };
  const parameters = (): DistillParameters => ({ model: model.id, options, sampleTexts: ['1'], sampleEvery: 2 });
  let expected: Record<string, Float32Array>;

  beforeAll(async () => {
    const distillation = createDistillation(await teacher(), { ...options, onNonFinite: 'skip' });
    const { state } = await runTraining(distillation.program, { engine });
    expected = weightsOf((distillation.models.ema.weights as (tree: never) => object)(state as never));
  });

  function weightsOf(tree: object): Record<string, Float32Array> {
    return Object.fromEntries(
      Object.entries(tree as Record<string, { data: Float32Array }>).map(([name, { data }]) => [name, data]),
    );
  }

  async function savedWeights(): Promise<Record<string, Float32Array>> {
    const { bytes, name } = await worker.downloadGenerator();
    expect(name).toMatch(/\.safetensors$/);
    const teachers = new Map([['maskgit', maskgitTeacher]]);
    return weightsOf((await readGenerator(generatorBundleSource(bytes, name), teachers)).weights);
  }

  it('needs a run before there is anything to save', async () => {
    await expect(worker.downloadGenerator()).rejects.toMatchObject({ code: 'option' });
    await expect(worker.distill({ ...parameters(), resume: true })).rejects.toMatchObject({ code: 'option' });
  });

  it('reports steps and samples, pauses, and ends where core does', async () => {
    const events: DistillEvent[] = [];
    let pausing: Promise<unknown> | undefined;
    const run = worker.distill(parameters(), {
      onEvent(event) {
        events.push(event);
        if (event.kind === 'step' && event.step === 1) void worker.pauseDistillation(true);
        if (event.kind === 'paused')
          pausing = savedWeights().then(async (saved) => {
            expect(saved).not.toEqual(expected);
            await worker.pauseDistillation(false);
          });
      },
    });
    await expect(worker.distill(parameters())).rejects.toMatchObject({ code: 'option' });
    expect(await run).toEqual({ step: 4, done: true });
    await pausing;
    const steps = events.filter((event) => event.kind === 'step');
    expect(steps.map(({ step }) => step)).toEqual([1, 2, 3, 4]);
    expect(steps[0]!.metrics['generator/divergence']).toBeGreaterThan(0);
    expect(events.filter(({ kind }) => kind === 'samples').map(({ step }) => step)).toEqual([1, 2, 4]);
    expect(events.map(({ kind }) => kind)).toEqual(expect.arrayContaining(['paused', 'resumed']));
    expect(await savedWeights()).toEqual(expected);
  });

  it('stops, and goes on from there to the same end', async () => {
    const stop = new AbortController();
    const stopped = worker.distill(parameters(), {
      signal: stop.signal,
      // After the first of four steps: the request may arrive a step or two late.
      onEvent: (event) => event.kind === 'step' && event.step === 1 && stop.abort(),
    });
    await expect(stopped).rejects.toMatchObject({ code: 'cancelled' });
    expect(await savedWeights()).not.toEqual(expected);
    expect(await worker.distill({ ...parameters(), resume: true })).toMatchObject({ done: true });
    expect(await savedWeights()).toEqual(expected);
  });

  it('a lost device takes it back to its last samples', async () => {
    const lost = worker.distill(parameters(), {
      onEvent(event) {
        if (event.kind === 'step' && event.step === 1) failAfter = 1;
      },
    });
    await expect(lost).rejects.toMatchObject({ code: 'device' });
    expect(numLost).toBe(1);
    await worker.openEngine('wasm');
    expect(await worker.distill({ ...parameters(), resume: true })).toEqual({ step: 4, done: true });
    expect(await savedWeights()).toEqual(expected);
  });
});
