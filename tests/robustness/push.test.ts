/**
 * Row B9, uploads: a hub on loopback that is cut, stalls, refuses and lies. The repository changes by one whole commit or
 * not at all, what has arrived is not sent again, and no file is in memory whole. (The command: cli/push.test.ts.)
 */
import { hubSettings, parseHubReference, pushToHub, type HubSettings } from '@dimo/backend-node';
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { sha256 } from '../support/hub-server.js';
import { startPushServer, type PushServer } from '../support/push-server.js';
import { failure, randomBytes, token } from './hub-trial.js';

const target = 'hf:maker/model';
let folder: string;
let hub: PushServer;
const at = (...parts: string[]): string => path.join(folder, ...parts);

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'dimo-push-'));
  hub = await startPushServer(token);
});
afterEach(async () => {
  await hub.close();
  await rm(folder, { recursive: true, force: true });
});

describe('interruptions', { timeout: 120_000 }, () => {
  const weights = randomBytes(1_500_000, 5);
  const settings = (overrides: Partial<HubSettings> = {}): HubSettings =>
    hubSettings(
      { HF_ENDPOINT: hub.endpoint, HF_HOME: at('hf'), HF_TOKEN: token },
      { stallMilliseconds: 300, backoffMilliseconds: 1, maximumFailures: 3, ...overrides },
    );
  const options = { summary: 'test', onProgress: () => {} };
  const pushWeights = async (overrides?: Partial<HubSettings>, signal?: AbortSignal) => {
    await writeFile(at('w.safetensors'), weights);
    return pushToHub(parseHubReference(target), [{ path: 'w.safetensors', source: at('w.safetensors') }], {
      ...options,
      boundary: at(),
      settings: settings(overrides),
      ...(signal ? { signal } : {}),
    });
  };
  /** The first requests that the pattern fits fail so, in turn. */
  const failFirst = (pattern: RegExp, ...faults: object[]): void => {
    let next = 0;
    hub.fault = ({ method, path }) => (pattern.test(`${method} ${path}`) ? faults[next++] : undefined);
  };

  it.each([undefined, 400_000])('an upload that is cut is sent again (parts of %s bytes)', async (partBytes) => {
    hub.partBytes = partBytes;
    failFirst(/^PUT/, { cutAfter: 100_000 }, {}, { cutAfter: 1 });
    await pushWeights();
    expect(hub.files.get('w.safetensors')?.equals(weights)).toBe(true);
    // A cut part is sent again by itself.
    if (partBytes !== undefined) expect(hub.puts()).toHaveLength(6);
  });

  it('a store that takes nothing is left, and asked again', async () => {
    failFirst(/^PUT/, { stall: true });
    await pushWeights({ stallMilliseconds: 100 });
    expect(hub.commits).toHaveLength(1);
  });

  it.each([429, 500, 503])('status %i passes, wherever it comes', async (status) => {
    const seen = new Set<string>();
    hub.fault = ({ method, path }) => {
      const isFirst = !seen.has(`${method} ${path}`);
      seen.add(`${method} ${path}`);
      return isFirst ? { status, headers: { 'retry-after': '0' } } : undefined;
    };
    await pushWeights();
    expect(hub.files.get('w.safetensors')?.equals(weights)).toBe(true);
    expect(hub.commits).toHaveLength(1);
  });

  it.each([undefined, 400_000])(
    'an address that has expired is asked for anew (parts of %s bytes)',
    async (partBytes) => {
      hub.partBytes = partBytes;
      failFirst(/^PUT/, { status: 403 }, partBytes === undefined ? {} : { status: 403 });
      await pushWeights();
      expect(hub.requests.filter(({ path }) => path.endsWith('/objects/batch'))).toHaveLength(2);
      expect(hub.commits).toHaveLength(1);
    },
  );

  it('a commit whose answer was lost is not made twice', async () => {
    failFirst(/commit\/main$/, { loseAnswer: true });
    const { commit } = await pushWeights();
    expect(hub.commits).toHaveLength(1);
    expect(commit).toMatch(/^c+2$/);
  });

  it('a commit that did not arrive is made by the second attempt', async () => {
    failFirst(/commit\/main$/, { cutAfter: 1 });
    await pushWeights();
    expect(hub.commits).toHaveLength(1);
  });

  it('what has arrived before a failure is not sent again by the next push', async () => {
    hub.fault = ({ path }) => (path.endsWith('/commit/main') ? { status: 500 } : undefined);
    expect((await failure(pushWeights())).code).toBe('network');
    hub.fault = undefined;
    hub.requests.length = 0;
    const { files } = await pushWeights();
    expect(files).toEqual([expect.objectContaining({ state: 'stored' })]);
    expect(hub.puts()).toEqual([]);
  });

  it('another commit meanwhile is not overwritten', async () => {
    hub.fault = ({ path }) => {
      if (path.endsWith('/objects/batch')) hub.commits.push({ summary: 'other', parent: '', paths: [] });
    };
    expect(await failure(pushWeights())).toMatchObject({ code: 'option', message: expect.stringContaining('412') });
    expect(hub.files.size).toBe(0);
  });

  it('a file that changes while it is pushed is not committed', async () => {
    hub.fault = ({ path }) => {
      if (path.endsWith('/objects/batch')) void writeFile(at('w.safetensors'), randomBytes(weights.length, 6));
    };
    const { code } = await failure(pushWeights());
    expect(code).toBe('io');
    expect(hub.commits).toEqual([]);
  });

  it('a hub whose plan makes no sense', async () => {
    const batch = (object: object): void => {
      hub.fault = ({ path }) =>
        path.endsWith('/objects/batch')
          ? { status: 200, body: { objects: [{ oid: sha256(weights), ...object }] } }
          : undefined;
    };
    const upload = (header: object) => ({ actions: { upload: { href: `${hub.endpoint}/complete`, header } } });
    batch({ error: { code: 422, message: 'too odd\u001b[2J' } });
    expect((await failure(pushWeights())).message).toMatch(/refuses w\.safetensors: too odd\\x1b/);
    batch(upload({ chunk_size: '1000', '1': `${hub.storeEndpoint}/x` }));
    expect((await failure(pushWeights())).message).toContain('parts that do not add up');
    batch({ actions: { upload: { href: 'file:///etc/passwd' } } });
    expect((await failure(pushWeights())).message).toContain('leads to file:');
    expect(hub.commits).toEqual([]);
  });

  it('a stop while the file is sent ends it, and nothing is committed', async () => {
    const controller = new AbortController();
    hub.fault = ({ method }) => {
      if (method !== 'PUT') return undefined;
      controller.abort();
      return { stall: true };
    };
    expect((await failure(pushWeights({ stallMilliseconds: 60_000 }, controller.signal))).code).toBe('cancelled');
    expect(hub.commits).toEqual([]);
  });

  it('a file of which the whole is never in memory', async () => {
    // 300 MB, sparse on the disk; the process may grow by a third of it.
    const size = 300 * 2 ** 20;
    await writeFile(at('big.safetensors'), '');
    await truncate(at('big.safetensors'), size);
    let received = 0;
    hub.fault = ({ method }) => (method === 'PUT' ? { status: 200, discard: true } : undefined);
    const before = process.memoryUsage().rss;
    let peak = before;
    await pushToHub(parseHubReference(target), [{ path: 'big.safetensors', source: at('big.safetensors') }], {
      ...options,
      boundary: at(),
      settings: settings({ stallMilliseconds: 30_000 }),
      onProgress: ({ doneBytes }) => {
        received = Math.max(received, doneBytes);
        peak = Math.max(peak, process.memoryUsage().rss);
      },
    }).catch(() => undefined);
    expect(received).toBeGreaterThan(size * 0.9);
    expect(peak - before).toBeLessThan(size / 3);
  });
});
