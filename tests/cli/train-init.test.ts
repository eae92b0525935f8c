/** `dimo train teacher --init`: a training that starts from weights, or goes on from the checkpoint of a PyTorch trainer. */
import { float32, readSafetensors, writeSafetensors, type HostTree } from '@dimo/core';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import {
  bytesOf,
  integer,
  tensor,
  text,
  torchZip,
} from '../../packages/core/src/weight-files/torch/test-support/torch-writer.js';
import { dimoTrial } from '../support/in-process-dimo.js';

const { at, dimo, succeed, fails } = dimoTrial();

/** Shapes of the teacher of `toy-plugin.mjs`, in an order of registration of their own. */
const shapes: Readonly<Record<string, readonly number[]>> = {
  'output.weight': [7, 8],
  'output.bias': [7],
  'tokens.weight': [7, 8],
  'labels.weight': [4, 8],
};
const sizeOf = (shape: readonly number[]) => shape.reduce((product, length) => product * length, 1);

/** What differs from a checkpoint of four parameters after 40 updates. */
interface Different {
  readonly shapes?: Readonly<Record<string, readonly number[]>>;
  readonly numbers?: readonly number[];
  readonly groups?: number;
  readonly second?: number;
  readonly steps?: readonly number[];
  readonly iteration?: number | null;
  readonly weight?: number;
}

/** A trainer's checkpoint, as the official one writes it, without PyTorch. */
function checkpoint(different: Different = {}): Uint8Array {
  const { second = 0.25, iteration = 40, weight = 0.5, groups = 1 } = different;
  const storages: Record<string, Float32Array> = {};
  const written = (shape: readonly number[], value: number): Uint8Array => {
    const key = String(Object.keys(storages).length);
    const size = sizeOf(shape);
    storages[key] = new Float32Array(size).fill(value);
    const strides = shape.map((_, axis) => sizeOf(shape.slice(axis + 1)));
    return tensor({ key, numElements: size, offset: 0, shape, strides });
  };
  const dict = (entries: readonly (readonly [Uint8Array, Uint8Array])[]) => bytesOf('}(', ...entries.flat(), 'u');
  const named = (entries: Readonly<Record<string, Uint8Array>>) =>
    dict(Object.entries(entries).map(([name, value]) => [text(name), value]));
  const number = (value: number) => bytesOf(`F${value}\n`);
  const model = named(
    Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, written(shape, weight)])),
  );
  const ofOptimizer = Object.values(different.shapes ?? shapes);
  const numbers = different.numbers ?? ofOptimizer.map((_, i) => i);
  const state = dict(
    numbers.map((i) => [
      integer(i),
      named({
        step: number(different.steps?.[i] ?? 40),
        exp_avg: written(ofOptimizer[i]!, 0.125),
        exp_avg_sq: written(ofOptimizer[i]!, second),
      }),
    ]),
  );
  const group = named({
    lr: number(0.0001),
    betas: bytesOf('(', number(0.9), number(0.96), 't'),
    eps: number(1e-8),
    weight_decay: number(0.01),
    params: bytesOf('](', ...ofOptimizer.map((_, i) => integer(i)), 'e'),
  });
  const optimizer = named({ state, param_groups: bytesOf('](', ...Array.from({ length: groups }, () => group), 'e') });
  const whole = named({
    ...(iteration === null ? {} : { iter: integer(iteration) }),
    global_epoch: integer(2),
    model_state_dict: model,
    optimizer_state_dict: optimizer,
  });
  return torchZip(bytesOf('\x80\x02', whole, '.'), storages);
}

const plugin = fileURLToPath(new URL('../support/toy-plugin.mjs', import.meta.url));
const command = ['train', 'teacher', '--plugin', plugin, '--engine', 'cpu'];
const training = (file: string, ...more: string[]) => [
  ...command,
  ...['--teacher-plugin', 'toy', '--dataset', 'toy-tokens', '--batch', '4', '--runs', at('runs'), '--name', 'r'],
  ...['--init', at(file), ...more],
];

async function metrics(): Promise<{ step: number; learningRate: number; averageDecay: number }[]> {
  const lines = (await readFile(at('runs', 'r', 'metrics.jsonl'), 'utf8')).trim().split('\n');
  return lines.map((line) => JSON.parse(line) as { step: number; learningRate: number; averageDecay: number });
}

describe('from the checkpoint of a trainer', { timeout: 60_000 }, () => {
  it('goes on with weights, moments, updates and iterations, and says what is left', async () => {
    await writeFile(at('m.pth'), checkpoint());
    const rate = ['--set', 'train.teacher.learningRateSchedule={kind: linear, warmupSteps: 0, finalFraction: 0}'];
    const { stderr } = await succeed(training('m.pth', '--steps', '50', ...rate));
    for (const line of [
      /taken from .*m\.pth: weights: 4 tensors/,
      /taken from .*: Adam's moments of all of them, after 40 updates/,
      /taken from .*: iterations made: 40/,
      /goes on at step 40 of 50/,
      /left: what else the file holds: global_epoch/,
      /left: settings of its optimizer: lr 0\.0001 \(the run has 0\.002\); to have them: --set train\.teacher\.learningRate=0\.0001$/m,
      /left: the average of the weights/,
    ])
      expect(stderr).toMatch(line);
    const lines = await metrics();
    expect(lines.map(({ step }) => step)).toEqual([41, 42, 43, 44, 45, 46, 47, 48, 49, 50]);
    // Linear from 0.002 to 0 over 50 steps: a fifth of it after 40.
    expect(lines[0]!.learningRate).toBeCloseTo(0.0004, 8);
    // min(0.998, (1 + 40) / (10 + 40)), by the updates that were made.
    expect(lines[0]!.averageDecay).toBeCloseTo(41 / 50, 6);
  });

  it('with its numbers in their places', async () => {
    await writeFile(at('m.pth'), checkpoint());
    await succeed(training('m.pth', '--steps', '41', '--learning-rate', '1e-12'));
    const group = async (name: string) => {
      const file = at('runs', 'r', 'checkpoints', 'step-41', `${name}.safetensors`);
      return Object.entries(readSafetensors(await readFile(file)).tensors).map(([key, { data }]) => [key, [...data]]);
    };
    // At this rate weights stay as they are.
    for (const name of ['teacher', 'ema'])
      for (const [key, data] of await group(name)) for (const x of data!) expect(x, String(key)).toBeCloseTo(0.5, 6);
    // Of gradients clipped to a norm of 1: 0.9 * 0.125 + 0.1 * [-1, 1] and 0.96 * 0.25 + 0.04 * [0, 1].
    for (const [key, data] of await group('optimizer')) {
      const [low, high] = String(key).startsWith('m/') ? [0.0124, 0.2126] : [0.2399, 0.2801];
      expect(Math.min(...(data as number[])), String(key)).toBeGreaterThan(low!);
      expect(Math.max(...(data as number[])), String(key)).toBeLessThan(high!);
    }
  });

  it('resumed is as if it had not been stopped, also where no checkpoint was saved', async () => {
    await writeFile(at('m.pth'), checkpoint());
    const { stdout } = await succeed(training('m.pth', '--steps', '46', '--checkpoint-steps', '3', '--json'));
    expect(JSON.parse(stdout)).toMatchObject({ step: 46, counters: { updates: 46, skipped: 0 } });
    const run = at('runs', 'r');
    const result = () => readFile(path.join(run, 'teacher', 'model.safetensors'));
    const whole = await result();
    const resume = async () => {
      await rm(path.join(run, 'teacher'), { recursive: true });
      await succeed([...command, '--resume', run]);
      expect(await result()).toEqual(whole);
    };
    // From a checkpoint nothing of the file is needed ...
    await rename(at('m.pth'), at('away.pth'));
    await rm(path.join(run, 'checkpoints', 'step-46'), { recursive: true });
    await rm(path.join(run, 'checkpoints', 'latest'), { force: true });
    await resume();
    // ... and without one it starts there again.
    await rm(path.join(run, 'checkpoints'), { recursive: true });
    await mkdir(path.join(run, 'checkpoints'));
    expect((await dimo([...command, '--resume', run])).stderr).toMatch(/m\.pth is no file/);
    await rename(at('away.pth'), at('m.pth'));
    await resume();
  });

  it('with the weights alone begins a new training', async () => {
    await writeFile(at('m.pth'), checkpoint());
    const { stderr } = await succeed(training('m.pth', '--steps', '3', '--set', 'train.teacher.initWith=weights'));
    expect(stderr).toMatch(/weights: 4 tensors\nleft there: all but the weights/);
    const lines = await metrics();
    expect(lines.map(({ step }) => step)).toEqual([1, 2, 3]);
    expect(lines[0]!.averageDecay).toBeCloseTo(0.1, 6);
  });

  const others: [string, Different, RegExp][] = [
    ['fewer parameters', { shapes: { a: [7, 8] } }, /optimizer has 1 parameters, the file 4 tensors/],
    [
      'another order',
      { shapes: { a: [7], b: [7, 8], c: [7, 8], d: [4, 8] } },
      /parameter 0 of the optimizer has the shape \[7\], "output\.weight" \[7, 8\]/,
    ],
    ['parameters without state', { numbers: [0, 1, 3] }, /no state for parameter 2 of 4/],
    ['several groups', { groups: 2 }, /2 groups of parameters/],
    ['different numbers of updates', { steps: [40, 40, 39, 40] }, /not updated equally often/],
  ];
  it.each(others)('an optimizer with %s is left, and said', async (_, different, message) => {
    await writeFile(at('m.pth'), checkpoint(different));
    const { stderr, stdout } = await succeed(training('m.pth', '--steps', '42', '--json'));
    expect(stderr).toMatch(/left: Adam's moments start at zero: /);
    expect(stderr).toMatch(message);
    expect(JSON.parse(stdout)).toMatchObject({ step: 42, counters: { updates: 2 } });
  });

  const refused: [string, Different, string[], RegExp][] = [
    ['an end that is past', {}, ['--steps', '40'], /has made 40 iterations.*--steps 1040.*initWith=weights/s],
    ['a negative second moment', { second: -1 }, ['--steps', '42'], /second moment of "tokens\.weight" is -1/],
    ['a moment that is no number', { second: NaN }, ['--steps', '42'], /exp_avg_sq" holds NaN/],
    ['a weight that is no number', { weight: NaN }, ['--steps', '42'], /holds NaN/],
    [
      'such a weight, of the weights alone',
      { weight: NaN },
      ['--steps', '42', '--set', 'train.teacher.initWith=weights'],
      /holds NaN/,
    ],
  ];
  it.each(refused)('refuses %s before it makes anything', async (_, different, flags, message) => {
    await writeFile(at('m.pth'), checkpoint(different));
    expect(await fails(training('m.pth', ...flags))).toMatch(message);
    expect(existsSync(at('runs'))).toBe(false);
  });
});

describe('from weights', { timeout: 60_000 }, () => {
  it('alone, in any of the files that are read', async () => {
    const weights: HostTree = Object.fromEntries(
      Object.entries(shapes).map(([name, shape]) => [`module.${name}`, float32(shape)]),
    );
    await writeFile(at('w.safetensors'), writeSafetensors(weights));
    const { stderr } = await succeed(training('w.safetensors', '--steps', '1'));
    expect(stderr).toMatch(/weights: 4 tensors, their names without module\./);
    expect(stderr).toMatch(/Adam's moments start at zero: the file is none of a trainer/);
  });

  it('of another model is refused, and so is what is no file', async () => {
    await writeFile(at('w.safetensors'), writeSafetensors({ 'output.weight': float32([3, 3]) }));
    expect(await fails(training('w.safetensors'))).toMatch(/w\.safetensors/);
    expect(await fails(training('absent.pth'))).toMatch(/absent\.pth is no file/);
    expect(await fails(training('.', '--steps', '1'))).toMatch(/is no file/);
    expect(existsSync(at('runs'))).toBe(false);
  });
});
