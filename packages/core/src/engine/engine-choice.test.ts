/** The choice among engines, with engines of known speed. The step itself is measured where real engines are. */
import { describe, expect, it } from 'vitest';
import { chooseFastestEngine, type ChooseFastestOptions, type EngineMemory } from './engine-choice.js';
import { measureEngine } from './engine-measurement.js';
import type { Engine, EngineFactory } from './engine.js';
import { BackendUnavailableError, OptionError } from '../errors.js';
import type { HostTree } from '../tensors/tensors.js';

interface Kind {
  /** Milliseconds of a step; -1: it does not start, -2: it fails in the step. */
  readonly step?: number;
  readonly isSoftware?: boolean;
}

function factory(name: string, { step = 1, isSoftware = false }: Kind = {}) {
  const seen = { created: 0, disposed: 0, runs: 0 };
  const create = async (): Promise<Engine> => {
    seen.created++;
    if (step === -1) throw new BackendUnavailableError(`${name} engine: there is no ${name}`);
    const tree = { specs: {}, download: async () => ({}), assign: async () => {}, dispose: async () => {} };
    return {
      info: { name, device: `${name} device`, versions: {}, isSoftware },
      upload: async () => tree,
      compile: async (_, signature) => ({
        signature,
        async run(): Promise<HostTree> {
          seen.runs++;
          if (step === -2) throw new Error('it broke');
          await new Promise((resolve) => setTimeout(resolve, step));
          return { loss: { dtype: 'float32', shape: [], data: Float32Array.of(1) } };
        },
        dispose: async () => {},
      }),
      dispose: async () => void seen.disposed++,
    };
  };
  const made: EngineFactory & { seen: typeof seen } = {
    name,
    create,
    probe: () => Promise.reject(new Error('not used here')),
    seen,
  };
  return made;
}

function memory(): EngineMemory & { readonly values: Map<string, string> } {
  const values = new Map<string, string>();
  return {
    values,
    get: (key) => Promise.resolve(values.get(key)),
    set: (key, value) => Promise.resolve(void values.set(key, value)),
  };
}

const choose = (groups: EngineFactory[][], more: Partial<ChooseFastestOptions> = {}) =>
  chooseFastestEngine({ groups, key: 'here', seconds: 0.02, ...more });

describe('chooseFastestEngine', () => {
  it('takes the fastest of those that run, says why, and gives the others back', async () => {
    const [slow, fast, absent] = [factory('slow', { step: 60 }), factory('fast'), factory('absent', { step: -1 })];
    const { engine, explanation, measurements, isRemembered } = await choose([[slow, absent, fast]]);
    expect(engine.info.name).toBe('fast');
    expect(explanation).toMatch(
      /^engine fast on fast device, the fastest that runs here by measurement \(fast [\d.]+ ms, slow \d+ ms a step\); passed over: absent \(there is no absent\)$/,
    );
    expect(measurements.map(({ name }) => name)).toEqual(['fast', 'slow']);
    expect(isRemembered).toBe(false);
    expect([slow.seen.disposed, fast.seen.disposed]).toEqual([1, 0]);
  });

  it('measures nothing where there is nothing to compare', async () => {
    const only = factory('only');
    const software = factory('software', { isSoftware: true });
    const { explanation, measurements } = await choose([[only, software], [factory('last')]]);
    expect(only.seen.runs + software.seen.runs).toBe(0);
    expect(measurements).toEqual([]);
    expect(explanation).toBe(
      'engine only on only device, the fastest that runs here; passed over: software (software device only emulates a GPU)',
    );
  });

  it('asks the next group if none runs, or none is fast enough', async () => {
    const [gpu, cpu] = [factory('gpu', { step: 80 }), factory('cpu')];
    expect((await choose([[factory('absent', { step: -1 })], [cpu]])).engine.info.name).toBe('cpu');
    expect((await choose([[gpu], [cpu]])).engine.info.name).toBe('gpu');
    expect((await choose([[gpu], [cpu]], { fastEnoughMilliseconds: 20 })).engine.info.name).toBe('cpu');
    expect((await choose([[gpu], [cpu]], { fastEnoughMilliseconds: 2000 })).engine.info.name).toBe('gpu');
  });

  it('passes over an engine that breaks in its first step', async () => {
    const broken = factory('broken', { step: -2 });
    const { engine, explanation } = await choose([[broken, factory('good')]]);
    expect(engine.info.name).toBe('good');
    expect(explanation).toContain('passed over: broken (it broke)');
    expect(broken.seen.disposed).toBe(1);
  });

  it('remembers: the second time only the chosen engine is started', async () => {
    const kept = memory();
    const [slow, fast] = [factory('slow', { step: 60 }), factory('fast')];
    await choose([[slow, fast]], { memory: kept });
    const again = await choose([[slow, fast]], { memory: kept });
    expect(again).toMatchObject({ isRemembered: true, engine: { info: { name: 'fast' } } });
    expect(again.explanation).toMatch(
      /^engine fast on fast device, found the fastest here on \d{4}-\d\d-\d\d, by measu/,
    );
    expect(slow.seen.created).toBe(1);
    await choose([[slow, fast]], { memory: kept, remeasure: true });
    await choose([[slow, fast]], { memory: kept, key: 'elsewhere' });
    expect(slow.seen.created).toBe(3);
  });

  it('names and tries again what a fallback stands in for, and remembers no fallback that was not measured', async () => {
    const kept = memory();
    const groups = (step: number) => [[factory('better', { step })], [factory('fallback')]];
    for (const attempt of ['first', 'second'])
      expect((await choose(groups(-1), { memory: kept })).explanation, attempt).toContain(
        'passed over: better (there is no better)',
      );
    expect((await choose(groups(1), { memory: kept })).engine.info.name).toBe('better');
    const lastGroup = [[], [factory('fallback')]];
    await choose(lastGroup, { memory: kept, key: 'nothing better exists' });
    expect((await choose(lastGroup, { memory: kept, key: 'nothing better exists' })).isRemembered).toBe(true);
  });

  it('looks again if the remembered engine is gone, the answer is old or damaged, or the memory fails', async () => {
    const kept = memory();
    const answer = (name: string, time: number) => JSON.stringify({ name, time, measurements: [] });
    const good = factory('good');
    for (const text of [
      answer('absent', Date.now()),
      answer('unknown', Date.now()),
      answer('good', Date.now() - 40 * 24 * 3600 * 1000),
      '{"name":"good"',
      '{"name":"good","time":1,"measurements":[null]}',
      'null',
    ]) {
      kept.values.set('here', text);
      const { engine, isRemembered } = await choose([[factory('absent', { step: -1 }), good]], { memory: kept });
      expect([engine.info.name, isRemembered], text).toEqual(['good', false]);
    }
    const failing: EngineMemory = { get: () => Promise.reject(new Error()), set: () => Promise.reject(new Error()) };
    expect((await choose([[good]], { memory: failing })).engine.info.name).toBe('good');
  });

  it('stops on request, leaving no engine behind', async () => {
    const controller = new AbortController();
    const engines = [factory('a'), factory('b')];
    const stopped = choose([engines], {
      signal: controller.signal,
      onProgress: ({ engine, stage }) => engine === 'b' && stage === 'measure' && controller.abort(),
    });
    await expect(stopped).rejects.toMatchObject({ code: 'cancelled' });
    expect(engines.map(({ seen }) => seen.created - seen.disposed)).toEqual([0, 0]);
  });

  it('fails with every reason if nothing runs, and at once for wrong options', async () => {
    const absent = ['a', 'b'].map((name) => factory(name, { step: -1 }));
    await expect(choose([absent])).rejects.toThrow(/no engine runs here: a \(there is no a\); b \(/);
    const picky = { ...factory('picky'), create: () => Promise.reject(new OptionError('threads: expected ...')) };
    await expect(choose([[picky, factory('other')]])).rejects.toThrow(OptionError);
  });
});

describe('measureEngine', () => {
  it('refuses an engine that computes nonsense, and stops on request', async () => {
    const engine = await factory('odd').create();
    const stopped = new AbortController();
    stopped.abort();
    await expect(measureEngine(engine, { signal: stopped.signal })).rejects.toMatchObject({ code: 'cancelled' });
    const broken: Engine = {
      ...engine,
      compile: async (fn, signature) => ({
        ...(await engine.compile(fn, signature)),
        run: async () => ({ loss: { dtype: 'float32', shape: [], data: Float32Array.of(NaN) } }),
      }),
    };
    await expect(measureEngine(broken)).rejects.toMatchObject({ code: 'non-finite' });
  });
});
