/**
 * Row B9, interruptions: a real hub on loopback. The cache never holds a file with another content than the hub's list
 * promises, and what has arrived is not fetched again. (What a hub may lie about: hub-lies.test.ts.)
 */
import { openHubRepository, parseHubReference } from '@dimo/backend-node';
import { readdir, readFile, realpath, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { sha256 } from '../support/hub-server.js';
import { buildChild, startChild, type RunningChild } from './child-programs.js';
import { config, failure, flipped, hubTrial, weights } from './hub-trial.js';

const trial = hubTrial();
const { cache, settings, open, fetchWeights, script, expectGoodCache } = trial;

describe('a good hub', () => {
  it('is asked once; the cache has the layout of all tools, and the second time nothing is fetched', async () => {
    const repository = await open();
    expect(repository.files.map(({ path: name }) => name).sort()).toEqual([
      'config.json',
      'part/model.safetensors',
      'part/run.py',
    ]);
    const progress: number[] = [];
    const files = await repository.download(['config.json', 'part/model.safetensors'], ({ doneBytes, totalBytes }) => {
      expect(totalBytes).toBe(config.length + weights.length);
      progress.push(doneBytes);
    });
    expect(files.map(({ checkedBy, resumedBytes }) => [checkedBy, resumedBytes])).toEqual([
      ['git-sha1', 0],
      ['sha256', 0],
    ]);
    expect(progress.at(-1)).toBe(config.length + weights.length);
    expect([...progress].sort((a, b) => a - b)).toEqual(progress);
    expect(await expectGoodCache()).toBe(2);
    expect(await readFile(path.join(cache(), 'refs', 'main'), 'utf8')).toBe(trial.hub.commit);
    const link = path.join(cache(), 'snapshots', trial.hub.commit, 'part', 'model.safetensors');
    expect(path.basename(await realpath(link))).toBe(sha256(weights));
    expect(await readdir(path.join(cache(), '.partial'))).toEqual([]);
    expect(Buffer.from(await repository.source().read('part/model.safetensors')).equals(weights)).toBe(true);
    const before = trial.hub.fetches().length;
    const again = await (await open()).download(['config.json', 'part/model.safetensors']);
    expect(again.map(({ transferredBytes }) => transferredBytes)).toEqual([0, 0]);
    expect(trial.hub.fetches().length).toBe(before);
  });

  it('in a folder: names count from there', async () => {
    const repository = await openHubRepository(parseHubReference('hf:maker/model/part@main'), { settings: settings() });
    await repository.download(['model.safetensors']);
    expect(await repository.source().list()).toEqual(['model.safetensors']);
  });

  it('pickles, code and unknown files are not fetched', async () => {
    const repository = await open();
    const { message, code } = await failure(repository.download(['part/run.py']));
    expect([code, message]).toEqual(['option', expect.stringContaining('only .safetensors, .json and .txt')]);
    expect(trial.hub.fetches()).toEqual([]);
  });
});

describe('interruptions', () => {
  const cuts = 100;

  it(
    `cut at ${cuts} random bytes: the file is right, and what has arrived is not fetched again`,
    {
      timeout: 120_000,
    },
    async () => {
      let state = 7;
      let continued = 0;
      for (let i = 0; i < cuts; i++) {
        await rm(path.join(trial.folder, 'hub'), { recursive: true, force: true });
        trial.hub.requests.length = 0;
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        const first = state % weights.length;
        // Every third is cut twice.
        script({ cutAfter: first }, ...(i % 3 === 0 ? [{ cutAfter: Math.floor((weights.length - first) / 2) }] : []));
        const { transferredBytes } = await fetchWeights();
        expect(await expectGoodCache()).toBe(1);
        expect(transferredBytes).toBe(weights.length);
        const { range, ifRange } = trial.hub.fetches()[1]!;
        if (range === undefined) continue;
        expect(Number(/^bytes=(\d+)-$/.exec(range)?.[1])).toBeLessThanOrEqual(first);
        expect(ifRange).toMatch(/^"store-/);
        if (range === `bytes=${first}-`) continued++;
      }
      // A reset may overtake the last bytes before it, so not quite all.
      expect(continued).toBeGreaterThan(0.8 * cuts);
    },
  );

  it('the next process continues where the last one was cut', async () => {
    script({ cutAfter: 100_000 });
    await failure(fetchWeights({ maximumFailures: 0 }));
    expect(await expectGoodCache()).toBe(0);
    trial.hub.requests.length = 0;
    const { resumedBytes, transferredBytes } = await fetchWeights();
    expect([resumedBytes, transferredBytes]).toEqual([100_000, weights.length - 100_000]);
    expect(trial.hub.fetches().map(({ range }) => range)).toEqual(['bytes=100000-']);
    await expectGoodCache();
  });

  it('a stall is cut and continued', async () => {
    script({ stallAfter: 50_000 });
    const { transferredBytes } = await fetchWeights({ stallMilliseconds: 300 });
    expect(transferredBytes).toBe(weights.length);
    expect(trial.hub.fetches()[1]?.range).toBe('bytes=50000-');
    await expectGoodCache();
  });

  it('a server that never answers', async () => {
    trial.hub.fault = () => true;
    const { code, message } = await failure(open({ stallMilliseconds: 100, maximumFailures: 2 }));
    expect([code, message]).toEqual(['network', expect.stringMatching(/sent nothing for 0.1 s \(3 attempts\)/)]);
  });

  it('no server at all', async () => {
    await trial.hub.close();
    const { code, message } = await failure(open({ maximumFailures: 1 }));
    expect([code, message]).toEqual(['network', expect.stringContaining('ECONNREFUSED')]);
  });

  it.each([429, 500, 502, 503])('status %s passes', async (status) => {
    let times = 0;
    trial.hub.fault = ({ answer }) =>
      times++ % 3 === 0 ? (answer({ status, headers: { 'retry-after': '0' } }), true) : false;
    await fetchWeights();
    await expectGoodCache();
  });

  it('a pause of hours is not waited for', async () => {
    script({ status: 503, headers: { 'retry-after': '7200' } });
    const { hint } = await failure(fetchWeights());
    expect(hint).toContain('wait 7200 s');
  });
});

describe('offline', () => {
  it('uses the cache, and names what is not there', async () => {
    await (await open()).download(['config.json']);
    await trial.hub.close();
    const offline = await open({ offline: true });
    expect(offline.commit).toBe(trial.hub.commit);
    await offline.download(['config.json']);
    expect(await offline.source().list()).toEqual(['config.json']);
    const { code, message, hint } = await failure(offline.download(['part/model.safetensors']));
    expect([code, message, hint]).toEqual([
      'option',
      expect.stringContaining('part/model.safetensors'),
      expect.stringContaining('HF_HUB_OFFLINE'),
    ]);
    const other = openHubRepository(parseHubReference('hf:maker/other'), { settings: settings({ offline: true }) });
    expect((await failure(other)).message).toContain('hf:maker/other is not in the cache');
  });

  it('finds a damaged blob', async () => {
    const { path: file } = await fetchWeights();
    await writeFile(await realpath(file), flipped(weights));
    expect((await failure(fetchWeights({ offline: true }))).message).toContain('damaged');
    // On line it is fetched again.
    expect((await fetchWeights()).transferredBytes).toBe(weights.length);
    expect(await expectGoodCache()).toBe(1);
  });
});

describe('at the same time', () => {
  it('four downloads of one file: it is fetched once and right', async () => {
    const files = await Promise.all([1, 2, 3, 4].map(() => fetchWeights()));
    expect(files.reduce((sum, { transferredBytes }) => sum + transferredBytes, 0)).toBe(weights.length);
    expect(await expectGoodCache()).toBe(1);
  });

  it('processes: one fetches, the others wait; after kill -9 another takes over what had arrived', async () => {
    const program = buildChild('hub-download');
    const env = { ...process.env, HF_ENDPOINT: trial.hub.endpoint, HF_HOME: trial.folder };
    const start = (): RunningChild => startChild(program, [], [], env);
    const result = async (child: RunningChild): Promise<{ transferred: number; resumed: number }> => {
      expect(await child.ended).toBe(0);
      return JSON.parse(child.lines[0]!) as { transferred: number; resumed: number };
    };
    // The first answer stops after 100,000 bytes and keeps the connection.
    let isStopped = (): void => {};
    const stopped = new Promise<void>((resolve) => (isStopped = resolve));
    let times = 0;
    trial.hub.fault = ({ seen, answer }) => {
      if (seen.server !== 'store' || times++ > 0) return false;
      answer({ stallAfter: 100_000 });
      isStopped();
      return true;
    };
    const first = start();
    await stopped;
    const others = [start(), start()];
    const partSize = async (): Promise<number> => {
      const parts = await readdir(path.join(cache(), '.partial')).catch(() => []);
      const sizes = parts.map((name) => stat(path.join(cache(), '.partial', name, 'content.part')));
      return (await Promise.all(sizes).catch(() => []))[0]?.size ?? 0;
    };
    while ((await partSize()) < 100_000) await new Promise((resolve) => setTimeout(resolve, 20));
    first.process.kill('SIGKILL');
    expect(await first.ended).toBe('SIGKILL');
    const results = await Promise.all(others.map(result));
    expect(results.map(({ transferred }) => transferred).sort((a, b) => a - b)).toEqual([0, weights.length - 100_000]);
    expect(Math.max(...results.map(({ resumed }) => resumed))).toBe(100_000);
    expect(await expectGoodCache()).toBe(1);
  });
});
