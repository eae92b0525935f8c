/** `auto` and its explanation, with factories that stand for machines of other kinds; and on this machine as it is. */
import { BackendUnavailableError, measureEngine, OptionError, type Engine, type EngineFactory } from '@dimo/core';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { chooseEngine, type ChooseEngineOptions } from './choose-engine.js';
import { fileEngineMemory } from './engine-memory.js';
import { createOnnxEngine } from './onnx-engine.js';

/** The engine of a processor that is measured beside those of GPUs. */
const processor = process.platform === 'linux' ? 'onnx-native' : 'onnx';

/** An engine whose steps take some milliseconds. */
function factory(name: string, outcome: number | 'software' | 'missing' = 1): EngineFactory {
  const create = async (): Promise<Engine> => {
    if (outcome === 'missing')
      throw new BackendUnavailableError(`${name} engine: the package ${name}-package is not installed`, {
        hint: `run \`npm install ${name}-package\``,
      });
    const milliseconds = outcome === 'software' ? 1 : outcome;
    return {
      info: { name, device: `${name} device`, versions: {}, isSoftware: outcome === 'software' },
      upload: async () => ({
        specs: {},
        download: async () => ({}),
        assign: async () => {},
        dispose: async () => {},
      }),
      compile: async (_, signature) => ({
        signature,
        async run() {
          await new Promise((resolve) => setTimeout(resolve, milliseconds));
          return { loss: { dtype: 'float32' as const, shape: [], data: Float32Array.of(1) } };
        },
        dispose: async () => {},
      }),
      dispose: async () => {},
    };
  };
  return { name, create, probe: () => Promise.reject(new Error('not used here')) };
}

const automatic = (engines: EngineFactory[], options: ChooseEngineOptions = {}) =>
  chooseEngine('auto', { engines, memory: false, ...options });

describe('chooseEngine auto', () => {
  it('takes the fastest and says so', async () => {
    const engines = [factory('wasm'), factory(processor, 60), factory('webgpu', 30), factory('cuda', 5)];
    const { engine, explanation } = await automatic(engines);
    expect(engine.info.name).toBe('cuda');
    expect(explanation).toMatch(
      /^engine cuda on cuda device, the fastest that runs here by measurement \(cuda .* a step\)$/,
    );
    expect(explanation.replace(/ [\d.]+ ms/g, '')).toContain(`(cuda, webgpu, ${processor} a step)`);
  });

  it('passes over a software GPU and says so', async () => {
    const engines = [factory('cuda', 'missing'), factory('webgpu', 'software'), factory(processor)];
    const { engine, explanation, measurements } = await automatic(engines);
    expect(engine.info.name).toBe(processor);
    expect(measurements).toEqual([]);
    expect(explanation).toBe(
      `engine ${processor} on ${processor} device, the fastest that runs here; passed over: ` +
        'cuda (the package cuda-package is not installed); webgpu (webgpu device only emulates a GPU)',
    );
  });

  it('takes onnx where the library of onnxruntime cannot be called, and measures nothing', async () => {
    const engines = [factory('onnx-native', 'missing'), factory('onnx'), factory('wasm')];
    const { engine, measurements } = await automatic(engines);
    expect([engine.info.name, measurements]).toEqual(['onnx', []]);
  });

  it('falls back to wasm where onnxruntime is missing', async () => {
    const engines = ['cuda', 'onnx-native', 'onnx'].map((name) => factory(name, 'missing'));
    engines.push(factory('wasm'));
    expect((await automatic(engines)).engine.info.name).toBe('wasm');
  });

  it('fails with every reason if nothing runs', async () => {
    const engines = ['cuda', 'webgpu', 'onnx', 'wasm'].map((name) => factory(name, 'missing'));
    await expect(automatic(engines)).rejects.toThrow(/cuda \(.*webgpu \(.*onnx \(.*wasm \(/);
  });
});

describe('the answer of auto', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'dimo-engines-'));
  });
  afterAll(() => rm(folder, { recursive: true }));

  it('is kept in a file, which may be damaged', async () => {
    const file = join(folder, 'cache', 'engines.json');
    const memory = fileEngineMemory(file);
    const engines = [factory('webgpu', 40), factory(processor)];
    expect((await automatic(engines, { memory })).isRemembered).toBe(false);
    const again = await automatic(engines, { memory });
    expect(again).toMatchObject({ isRemembered: true, engine: { info: { name: processor } } });
    expect((await automatic(engines, { memory, remeasure: true })).isRemembered).toBe(false);
    expect((await automatic(engines, { memory, threads: 3 })).isRemembered).toBe(false);
    for (const text of ['{', '[]', '{"a":1}', '']) {
      await writeFile(file, text);
      expect((await automatic(engines, { memory })).isRemembered).toBe(false);
    }
    expect((await automatic(engines, { memory })).isRemembered).toBe(true);
  });

  it('keeps the latest sixteen, and survives a folder that cannot be written', async () => {
    const file = join(folder, 'many.json');
    const memory = fileEngineMemory(file);
    for (let i = 0; i < 20; i++) await memory.set(`key ${i}`, String(i));
    expect(Object.keys(JSON.parse(await readFile(file, 'utf8')) as object)).toHaveLength(16);
    expect([await memory.get('key 0'), await memory.get('key 19')]).toEqual([undefined, '19']);
    const blocked = fileEngineMemory(join(file, 'below-a-file', 'engines.json'));
    expect((await automatic([factory('onnx')], { memory: blocked })).engine.info.name).toBe('onnx');
  });

  it('on this machine is an engine that computes a real step, without noise from native code', async () => {
    const { engine, explanation } = await chooseEngine('auto', { memory: false });
    expect(explanation).toContain('the fastest that runs here');
    expect(engine.info.isSoftware ?? false).toBe(false);
    await engine.dispose();
  });
});

describe('measureEngine', () => {
  it('times a step of the onnx engine', async () => {
    const engine = await createOnnxEngine();
    expect(await measureEngine(engine, { seconds: 2 })).toBeGreaterThan(0); // some 50 steps, all of them finite
    await engine.dispose();
  });
});

describe('chooseEngine by name', () => {
  it('refuses an unknown name and lists the known ones', async () => {
    const failure = chooseEngine('onyx');
    await expect(failure).rejects.toThrow(OptionError);
    await expect(failure).rejects.toThrow(
      'expected auto, cuda, onnx-cuda, webgpu, onnx-webgpu, onnx, onnx-native, wasm, tensorflow, cpu; got "onyx"',
    );
  });

  it('makes a software GPU engine when asked for by name', async () => {
    const { engine } = await chooseEngine('webgpu', { engines: [factory('webgpu', 'software')] });
    expect(engine.info.isSoftware).toBe(true);
  });

  it('passes a failure on, with the fix', async () => {
    await expect(chooseEngine('cuda', { engines: [factory('cuda', 'missing')] })).rejects.toMatchObject({
      code: 'backend-unavailable',
      hint: 'run `npm install cuda-package`',
    });
  });

  it('refuses a number of threads that is none', async () => {
    await expect(chooseEngine('onnx', { threads: 0 })).rejects.toThrow(OptionError);
    await expect(chooseEngine('auto', { threads: 1.5, memory: false })).rejects.toThrow(OptionError);
  });
});
