/** The order of `auto` and its explanation, with factories that stand for machines of other kinds. */
import { BackendUnavailableError, OptionError, type Engine, type EngineFactory } from '@dimo/core';
import { describe, expect, it } from 'vitest';
import { chooseEngine } from './choose-engine.js';

function factory(name: string, outcome: 'works' | 'software' | 'missing'): EngineFactory {
  const create = async (): Promise<Engine> => {
    if (outcome === 'missing')
      throw new BackendUnavailableError(`${name} engine: the package ${name}-package is not installed`, {
        hint: `run \`npm install ${name}-package\``,
      });
    const unused = () => Promise.reject(new Error('not used here'));
    return {
      info: { name, device: `${name} device`, versions: {}, isSoftware: outcome === 'software' },
      upload: unused,
      compile: unused,
      dispose: async () => {},
    };
  };
  return { name, create, probe: () => Promise.reject(new Error('not used here')) };
}

describe('chooseEngine auto', () => {
  it('takes CUDA first', async () => {
    const engines = ['wasm', 'onnx', 'webgpu', 'cuda'].map((name) => factory(name, 'works'));
    const { engine, explanation } = await chooseEngine('auto', { engines });
    expect(engine.info.name).toBe('cuda');
    expect(explanation).toBe('engine cuda on cuda device, the fastest that runs here');
  });

  it('passes over a software GPU and says so', async () => {
    const engines = [factory('cuda', 'missing'), factory('webgpu', 'software'), factory('onnx', 'works')];
    const { engine, explanation } = await chooseEngine('auto', { engines });
    expect(engine.info.name).toBe('onnx');
    expect(explanation).toBe(
      'engine onnx on onnx device, the fastest that runs here; passed over: ' +
        'cuda (the package cuda-package is not installed); webgpu (webgpu device only emulates a GPU)',
    );
  });

  it('falls back to wasm where onnxruntime is missing', async () => {
    const engines = [factory('cuda', 'missing'), factory('onnx', 'missing'), factory('wasm', 'works')];
    expect((await chooseEngine('auto', { engines })).engine.info.name).toBe('wasm');
  });

  it('fails with every reason if nothing runs', async () => {
    const engines = ['cuda', 'webgpu', 'onnx', 'wasm'].map((name) => factory(name, 'missing'));
    await expect(chooseEngine('auto', { engines })).rejects.toThrow(/cuda \(.*webgpu \(.*onnx \(.*wasm \(/);
  });
});

describe('chooseEngine by name', () => {
  it('refuses an unknown name and lists the known ones', async () => {
    const failure = chooseEngine('onyx');
    await expect(failure).rejects.toThrow(OptionError);
    await expect(failure).rejects.toThrow(
      'expected auto, cuda, onnx-cuda, webgpu, onnx-webgpu, onnx, wasm, tensorflow, cpu; got "onyx"',
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
    await expect(chooseEngine('auto', { threads: 1.5 })).rejects.toThrow(OptionError);
  });
});
