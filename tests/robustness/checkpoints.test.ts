/** Rows B1, B4 and B6: killed, damaged and contested run folders. */
import { acquireRunLock, folderCheckpointStore, openRunFolder } from '@dimo/backend-node';
import {
  CheckpointError,
  float32,
  int32,
  loadLatestCheckpoint,
  randomStream,
  saveCheckpoint,
  treeDifference,
  type CheckpointIdentity,
  type HostTree,
} from '@dimo/core';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, unlink, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { buildChild, startChild, type RunningChild } from './child-programs.js';

const seed = Number(process.env['DIMO_FUZZ_SEED'] ?? 20240711);
const numKills = Number(process.env['DIMO_CRASH_KILLS'] ?? 20);

/** As in the program `tiny-trainer`. */
const saveEvery = 5;

let folder: string;
beforeEach(async () => void (folder = await mkdtemp(join(tmpdir(), 'dimo-checkpoints-'))));
afterEach(async () => rm(folder, { recursive: true, force: true }));

/** The number after the last line that begins with `event`. */
function last(child: RunningChild, event: string): number | undefined {
  const line = child.lines.findLast((candidate) => candidate.startsWith(`${event} `));
  return line === undefined ? undefined : Number(line.slice(event.length + 1));
}

describe('B1: kill -9 while training and saving', () => {
  it(
    `loses nothing in ${numKills} kills and ends with the bits of the uninterrupted run`,
    { timeout: 60_000 + numKills * 5_000 },
    async () => {
      const program = buildChild('tiny-trainer');
      const draw = randomStream(seed, 0, 'kills');
      const run = join(folder, 'killed');
      let saved = 0;
      let insideWrite = 0;
      let kills = 0;
      for (; kills < numKills || (insideWrite < 0.3 * numKills && kills < 3 * numKills); kills++) {
        const child = startChild(program, [run, String(Number.MAX_SAFE_INTEGER)]);
        // A few saves are allowed first. Then two of three kills come at a random time after the beginning of a
        // save, the others soon after its end, when training goes on.
        const [saves = 0] = draw.integers(1, 4);
        const isInSave = kills % 3 !== 0;
        const delay = (isInSave ? 20 : 15) * (draw.uniform(1)[0] as number);
        const isReached = (): boolean =>
          child.lines.filter((line) => line.startsWith(isInSave ? 'saving' : 'saved')).length > saves;
        while (!isReached() && child.process.exitCode === null) await child.nextLine();
        await wait(delay);
        child.process.kill('SIGKILL');
        expect(await child.ended, child.lines.join('\n')).toBe('SIGKILL');
        expect(child.lines.filter((line) => line.startsWith('warning'))).toEqual([]);
        // Nothing that was announced as saved before the last kill is lost.
        const resumed = last(child, 'resumed') ?? -1;
        expect(resumed).toBeGreaterThanOrEqual(saved);
        saved = last(child, 'saved') ?? resumed;
        if (child.lines.at(-1)?.startsWith('saving')) insideWrite++;
      }
      const numSteps = saved + 4 * saveEvery;
      const final = startChild(program, [run, String(numSteps)]);
      const uninterrupted = startChild(program, [join(folder, 'uninterrupted'), String(numSteps)]);
      expect([await final.ended, await uninterrupted.ended]).toEqual([0, 0]);
      console.log(
        `B1: seed ${seed}, ${kills} kills, ${insideWrite} of them inside a write, ${numSteps} steps, ` +
          `resumed at ${last(final, 'resumed')}`,
      );
      expect(last(final, 'resumed')).toBeGreaterThanOrEqual(saved);
      expect(final.lines.at(-1)).toMatch(/^done [0-9a-f]{64} /);
      expect(final.lines.at(-1)).toBe(uninterrupted.lines.at(-1));
      // The kills prove something only if enough of them hit a write; on a fast disk more are made.
      expect(insideWrite).toBeGreaterThanOrEqual(0.3 * numKills);
      // What the killed processes left behind is gone.
      expect((await readdir(join(run, 'checkpoints'))).sort()).toEqual(
        ['latest', `step-${numSteps - saveEvery}`, `step-${numSteps}`].sort(),
      );
    },
  );
});

describe('B4: damaged checkpoints', () => {
  const identity: CheckpointIdentity = {
    config: { learningRate: 1e-4, nested: { list: [1, 2, 3] } },
    seed: 3,
    engine: 'onnx',
    version: '0.1.0',
  };
  const groupsAt = (step: number): Record<string, HostTree> => {
    const draw = randomStream(seed, step, 'weights');
    return {
      generator: { 'a.weight': float32([8, 8], draw.normal(64)), 'a.bias': float32([8], draw.normal(8)) },
      ema: { 'a.weight': float32([8, 8], draw.normal(64)) },
      optimizer: { 'm/a.weight': float32([8, 8], draw.normal(64)), count: int32([], [step]) },
    };
  };
  const files = ['generator.safetensors', 'ema.safetensors', 'optimizer.safetensors', 'state.json'];

  /** A run with two checkpoints. */
  async function saveTwo(): Promise<{ run: string; newest: string }> {
    const run = join(folder, 'run');
    const store = folderCheckpointStore(run);
    for (const step of [10, 20]) {
      await store.makeFolder('');
      await saveCheckpoint(store, { step, groups: groupsAt(step), state: { updates: step }, identity });
    }
    return { run, newest: join(run, 'step-20') };
  }

  /** Loads and returns the step and the warnings; checks that the content is really that of the step. */
  async function load(run: string): Promise<{ step: number; warnings: string[] }> {
    const warnings: string[] = [];
    const loaded = await loadLatestCheckpoint(folderCheckpointStore(run), {
      identity,
      onWarning: (message) => warnings.push(message),
    });
    if (loaded === undefined) throw new Error('nothing was loaded');
    for (const [group, tree] of Object.entries(groupsAt(loaded.step)))
      expect(treeDifference(tree, loaded.groups[group] ?? {})).toBeUndefined();
    expect(loaded.state).toEqual({ updates: loaded.step });
    return { step: loaded.step, warnings };
  }

  it('one flipped bit at 1,000 random places: 1,000 found, and the previous one is used', async () => {
    const { run, newest } = await saveTwo();
    expect(await load(run)).toEqual({ step: 20, warnings: [] });
    const contents = new Map<string, Uint8Array>();
    for (const file of files) contents.set(file, new Uint8Array(await readFile(join(newest, file))));
    const numBits = 8 * [...contents.values()].reduce((sum, { length }) => sum + length, 0);
    const draw = randomStream(seed, 0, 'bits');
    const perFile = new Map<string, number>();
    let found = 0;
    for (let flip = 0; flip < 1_000; flip++) {
      let bit = draw.integers(1, numBits)[0] as number;
      for (const [file, content] of contents) {
        if (bit < 8 * content.length) {
          const damaged = content.slice();
          damaged[bit >> 3] = (damaged[bit >> 3] as number) ^ (1 << (bit & 7));
          await writeFile(join(newest, file), damaged);
          const { step, warnings } = await load(run);
          if (step === 10 && warnings.length === 1 && warnings[0]?.includes('step-20')) found++;
          else expect.fail(`bit ${bit} of ${file}: step ${step}, ${warnings.length} warnings`);
          await writeFile(join(newest, file), content);
          perFile.set(file, (perFile.get(file) ?? 0) + 1);
          break;
        }
        bit -= 8 * content.length;
      }
    }
    console.log(`B4: seed ${seed}, ${found} of 1000 found: ${JSON.stringify(Object.fromEntries(perFile))}`);
    expect(found).toBe(1_000);
    expect(perFile.size).toBe(files.length);
    expect(await load(run)).toEqual({ step: 20, warnings: [] });
  });

  it.each(files)('an empty, cut, longer, missing or foreign %s', async (file) => {
    const { run, newest } = await saveTwo();
    const path = join(newest, file);
    const content = await readFile(path);
    const damages: Record<string, () => Promise<unknown>> = {
      empty: () => writeFile(path, ''),
      cut: () => writeFile(path, content.subarray(0, content.length >> 1)),
      longer: () => writeFile(path, Buffer.concat([content, Buffer.from('\n')])),
      missing: () => unlink(path),
      'a folder': async () => {
        await unlink(path);
        await mkdir(path);
      },
      'of the other checkpoint': async () => {
        await rm(path, { recursive: true });
        await cp(join(run, 'step-10', file), path);
      },
    };
    for (const [damage, apply] of Object.entries(damages)) {
      await apply();
      const { step, warnings } = await load(run);
      expect([damage, step, warnings.length]).toEqual([damage, 10, 1]);
      await rm(path, { recursive: true, force: true });
      await writeFile(path, content);
    }
    expect(await load(run)).toEqual({ step: 20, warnings: [] });
  });

  it('none good: refuses to start', async () => {
    const { run } = await saveTwo();
    for (const step of ['step-10', 'step-20']) await writeFile(join(run, step, 'ema.safetensors'), 'damaged');
    await expect(load(run)).rejects.toThrow(CheckpointError);
    await expect(load(run)).rejects.toThrow(/none of the 2 checkpoints can be read/);
  });

  it('continues over the damaged one when its step comes again', async () => {
    const { run, newest } = await saveTwo();
    await writeFile(join(newest, 'state.json'), '{}');
    const store = folderCheckpointStore(run);
    await saveCheckpoint(store, { step: 20, groups: groupsAt(20), state: { updates: 20 }, identity });
    expect(await load(run)).toEqual({ step: 20, warnings: [] });
    expect((await readdir(run)).sort()).toEqual(['latest', 'step-10', 'step-20']);
  });

  it('of another run is refused, not skipped', async () => {
    const { run } = await saveTwo();
    const other = loadLatestCheckpoint(folderCheckpointStore(run), { identity: { ...identity, seed: 4 } });
    await expect(other).rejects.toThrow(/seed: saved 3, now 4/);
  });
});

describe('B6: several processes and one run folder', () => {
  const numContenders = 8;
  const numRounds = 20;
  /** What is in the folder when the processes start. */
  const starts = {
    'no lock': async () => undefined,
    'the lock of a dead process': async (run: string) => {
      const dead = { pid: 2 ** 22 + 1, host: hostname(), start: '', since: '2024-01-01T00:00:00Z', released: false };
      await mkdir(join(run, '.lock'));
      await writeFile(join(run, '.lock', '00000001'), JSON.stringify(dead));
    },
    'a released lock': async (run: string) => (await acquireRunLock(run)).release(),
  };

  it(`has exactly one winner of ${numContenders} in each round`, { timeout: 120_000 }, async () => {
    const program = buildChild('lock-contender');
    const contenders = Array.from({ length: numContenders }, () => startChild(program, []));
    try {
      let round = 0;
      for (const [start, prepare] of Object.entries(starts))
        for (let repetition = 0; repetition < numRounds; repetition++) {
          const run = join(folder, `run-${round++}`);
          await mkdir(run);
          await prepare(run);
          const time = Date.now() + 20;
          for (const { process } of contenders) process.stdin?.write(`${time} ${run}\n`);
          for (const child of contenders)
            while (child.lines.length < round && child.process.exitCode === null) await child.nextLine();
          const answers = contenders.map(({ lines }) => lines[round - 1] ?? 'ended');
          const winners = contenders.filter((_, index) => answers[index] === 'won');
          expect([start, repetition, winners.length, answers]).toEqual([start, repetition, 1, answers]);
          for (const answer of answers)
            if (answer !== 'won')
              expect(answer).toMatch(new RegExp(`^locked .* process ${winners[0]?.process.pid} on .*, since \\d+ s$`));
        }
    } finally {
      for (const { process } of contenders) process.kill('SIGKILL');
      await Promise.all(contenders.map(({ ended }) => ended));
    }
    // All owners are dead now: their folders are free again.
    await (await openRunFolder(join(folder, 'run-0'))).release();
  });
});
