import { folderCheckpointStore } from '@dimo/backend-node';
import { float32, saveCheckpoint } from '@dimo/core';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { checkRunFits, judgeRun, machineSpace, needsOf, runNeeds } from './run-needs.js';

const spec = (length: number) => ({ dtype: 'float32', shape: [length] }) as const;
const state = { 'teacher/w': spec(100), 'generator/w': spec(100), 'generatorOptimizer/m/w': spec(100) };

describe('what a run needs', () => {
  it('is its state, and what it saves as often as that will be on the disk', () => {
    expect(runNeeds(state, { frozen: ['teacher'], keep: 3, existing: 0 })).toEqual({
      stateBytes: 1200,
      checkpointBytes: 800,
      numCheckpoints: 4,
    });
    const times = (keep: number, existing: number): number =>
      runNeeds(state, { frozen: [], keep, existing }).numCheckpoints;
    expect([times(1, 0), times(3, 2), times(3, 4), times(1, 5)]).toEqual([2, 2, 1, 1]);
  });

  it('of a run that is continued counts the checkpoints that it has', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'dimo-needs-'));
    const identity = { config: {}, seed: 0, engine: 'onnx', version: '0' };
    const store = folderCheckpointStore(join(folder, 'checkpoints'));
    await store.makeFolder('');
    await saveCheckpoint(store, { step: 1, groups: { net: { w: float32([1]) } }, state: null, identity });
    const config = { checkpoint: { keep: 3 }, run: { folder: 'runs' } } as Parameters<typeof needsOf>[0]['config'];
    const continued = await needsOf({ config, state, resume: folder });
    expect([continued.needs.numCheckpoints, continued.folder]).toEqual([3, folder]);
    const fresh = await needsOf({ config, state });
    expect([fresh.needs.numCheckpoints, fresh.folder]).toEqual([4, 'runs']);
    await rm(folder, { recursive: true });
  });
});

describe('a run', () => {
  const needs = { stateBytes: 5e9, checkpointBytes: 4e9, numCheckpoints: 4, stepBytes: 9e9 };
  const enough = { memoryBytes: 20e9, availableBytes: 10e9, diskBytes: 20e9 };

  it('that fits is not spoken of, nor one on a machine of which nothing is known', () => {
    expect(judgeRun(needs, enough, 'runs')).toEqual([]);
    expect(judgeRun(needs, {}, 'runs')).toEqual([]);
  });

  it('is refused where its state exceeds all memory, or not one checkpoint could be saved', () => {
    expect(() => judgeRun(needs, { ...enough, memoryBytes: 4.9e9 }, 'runs')).toThrow(
      expect.objectContaining({
        code: 'device',
        message: expect.stringMatching(/5\.0+ GB, the machine 4\.9/) as string,
      }),
    );
    expect(() => judgeRun(needs, { ...enough, diskBytes: 3.9e9 }, 'runs')).toThrow(
      expect.objectContaining({ code: 'io', message: expect.stringMatching(/has 4\.0+ GB, 3\.9/) as string }),
    );
  });

  it('is warned of where space may be made, or an estimate says so', () => {
    expect(judgeRun(needs, { ...enough, diskBytes: 15.9e9 }, 'runs')).toEqual([
      expect.stringMatching(/need 16(\.0+)? GB, 15\.9\d* GB are free on the disk of runs: .*checkpoint\.keep/),
    ]);
    expect(judgeRun(needs, { ...enough, availableBytes: 8.9e9 }, 'runs')).toEqual([
      expect.stringMatching(/about 9(\.0+)? GB of memory, 8\.9\d* GB are free: lower the batch size/),
    ]);
  });

  it('whose step would not fit computes blocks twice, unless it is told not to', async () => {
    if (process.platform !== 'linux') return;
    const config = { checkpoint: { keep: 1 }, run: { folder: tmpdir() } } as Parameters<typeof needsOf>[0]['config'];
    const tooMuch = 2 * machineSpace('onnx', tmpdir()).memoryBytes!;
    const stepBytes = (how: string) => Promise.resolve(how === 'blocks' ? 1e6 : tooMuch);
    const run = { engine: 'onnx', config, state, tokens: 2 ** 16, stepBytes };
    const chosen = await checkRunFits({ ...run, recompute: 'auto' });
    expect(chosen).toEqual({
      recompute: 'blocks',
      notes: [expect.stringMatching(/would need about .* GB of memory: the blocks .* computed twice/)],
    });
    expect(await checkRunFits({ ...run, recompute: 'none' })).toEqual({
      recompute: 'none',
      notes: [expect.stringMatching(/this run needs about .* lower the batch size/)],
    });
    expect(await checkRunFits({ ...run, recompute: 'blocks' })).toEqual({ recompute: 'blocks', notes: [] });
    // A step that fits, and one that is too small to be planned.
    expect(await checkRunFits({ ...run, recompute: 'auto', stepBytes: () => Promise.resolve(1e6) })).toEqual({
      recompute: 'none',
      notes: [],
    });
    expect((await checkRunFits({ ...run, recompute: 'auto', tokens: 100 })).recompute).toBe('none');
  });

  it('of gigabytes asks for a plan, a small one does not', async () => {
    const config = { checkpoint: { keep: 1 }, run: { folder: tmpdir() } } as Parameters<typeof needsOf>[0]['config'];
    let numPlans = 0;
    const stepBytes = () => Promise.resolve(++numPlans);
    await checkRunFits({ engine: 'onnx', config, state, stepBytes });
    expect(numPlans).toBe(0);
    if (process.platform !== 'linux') return;
    const { memoryBytes } = machineSpace('onnx', tmpdir());
    const half = { 'teacher/w': spec(Math.floor(memoryBytes! / 8)) };
    await checkRunFits({ engine: 'onnx', config, state: half, frozen: ['teacher'], stepBytes });
    expect(numPlans).toBe(1);
    const twice = { 'teacher/w': spec(Math.floor(memoryBytes! / 2)) };
    await expect(checkRunFits({ engine: 'onnx', config, state: twice, frozen: ['teacher'] })).rejects.toThrow(
      /not fit/,
    );
    // Its state is elsewhere.
    await checkRunFits({ engine: 'onnx-cuda', config, state: twice, frozen: ['teacher'] });
  });
});
