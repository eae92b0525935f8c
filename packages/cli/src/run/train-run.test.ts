import { createOnnxEngine, folderWeightSource, openRunFolder } from '@dimo/backend-node';
import {
  float32,
  readSafetensors,
  type DeviceTree,
  type Engine,
  type TensorTree,
  type TrainingProgram,
} from '@dimo/core';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { trainRun, type TrainRun } from './train-run.js';

let folder: string;
let engine: Engine;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'dimo-train-run-'));
  engine = await createOnnxEngine({ threads: 1 });
});
afterAll(async () => {
  await engine.dispose();
  await rm(folder, { recursive: true, force: true });
});

/** The engine, and how many tensors were read or replaced at once. */
function watched(): { readonly engine: Engine; readonly downloads: number[]; readonly assigns: number[] } {
  const downloads: number[] = [];
  const assigns: number[] = [];
  const upload: Engine['upload'] = async (tree, options) => {
    const made: DeviceTree = await engine.upload(tree, options);
    const { download, assign } = made;
    return Object.assign(made, {
      download: (names = Object.keys(made.specs)) => {
        downloads.push(names.length);
        return download(names);
      },
      assign: (values) => {
        assigns.push(Object.keys(values).length);
        return assign(values);
      },
    } satisfies Partial<DeviceTree>);
  };
  return { engine: { ...engine, upload }, downloads, assigns };
}

const swap = (state: TensorTree) => ({ 'net/a': state['net/b']!, 'net/b': state['net/a']! });
const program = (numSteps: number): TrainingProgram<undefined> => ({
  name: 'swapping',
  numSteps,
  batchSize: 1,
  functions: { step: (state) => ({ state: swap(state), outputs: {} }) },
  initialState: () => ({
    'teacher/w': float32([1], [9]),
    'net/a': float32([2], [1, 2]),
    'net/b': float32([2], [3, 4]),
  }),
  initialCounters: { updates: 0 },
  draw: () => undefined,
  calls: () => [{ fn: 'step', inputs: {} }],
  finish: (_step, { updates = 0 }) => ({ metrics: {}, counters: { updates: updates + 1 } }),
});

async function train(used: Engine, numSteps: number, changes: Partial<TrainRun<undefined, string>> = {}) {
  const run = await openRunFolder(folder);
  try {
    return await trainRun<undefined, string>({
      label: 'swap',
      unit: 'swaps/s',
      program: program(numSteps),
      engine: used,
      run,
      config: {
        checkpoint: { everySteps: 1, everyMinutes: 0, keep: 3 },
        log: { everySteps: 1, everySeconds: 1000, tensorboard: false },
      } as TrainRun<undefined, string>['config'],
      identity: { config: {}, seed: 0, engine: 'onnx', version: '0.1.0' },
      resume: numSteps > 1,
      resumeOverride: [],
      quiet: true,
      frozen: ['teacher'],
      shown: [],
      finish: async ({ deviceState }) => String((await deviceState.download(['net/a']))['net/a']!.data),
      ...changes,
    });
  } finally {
    await run.release();
  }
}

async function savedAt(step: number) {
  const source = folderWeightSource(join(folder, 'checkpoints', `step-${step}`));
  const { a, b } = readSafetensors(await source.read('net.safetensors')).tensors;
  return [String(a!.data), String(b!.data)];
}

describe('a training in a run folder', () => {
  it('is saved and resumed a tensor at a time, without what is frozen', async () => {
    const first = watched();
    expect(await train(first.engine, 1)).toMatchObject({
      step: 1,
      stopped: false,
      counters: { updates: 1 },
      made: '3,4',
    });
    expect(first.downloads).toEqual([1, 1, 1]);
    expect(await savedAt(1)).toEqual(['3,4', '1,2']);
    const second = watched();
    expect(await train(second.engine, 2)).toMatchObject({ step: 2, counters: { updates: 2 }, made: '1,2' });
    expect(second.assigns).toEqual([1, 1]);
    expect(second.downloads).toEqual([1, 1, 1]);
    expect(await savedAt(2)).toEqual(['1,2', '3,4']);
  });

  it('is saved, and can be resumed, although what it made could not be written', async () => {
    const finish = () => Promise.reject(new Error('no space'));
    await expect(train(engine, 3, { finish })).rejects.toMatchObject({
      message: expect.stringContaining('no space') as string,
      hint: expect.stringContaining('the last good checkpoint is step-3') as string,
    });
    expect(await train(engine, 3)).toMatchObject({ step: 3, made: '3,4' });
  });
});
