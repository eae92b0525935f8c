/**
 * Row B9: interrupted and lying downloads. A real hub on loopback; whatever it does, the cache never holds a file with
 * another content than the hub's list promises, and every failure is one error that says what to do.
 */
import { hubSettings, openHubRepository, parseHubReference, type HubRepository } from '@dimo/backend-node';
import { DimoError } from '@dimo/core';
import { mkdtemp, readdir, readFile, realpath, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { buildChild, startChild, type RunningChild } from './child-programs.js';
import { gitSha1, sha256, startHub, type AnswerOptions, type HubServer } from '../support/hub-server.js';

const token = 'hf_canaryCanaryCanary';
const reference = parseHubReference('hf:maker/model');
const weights = randomBytes(300_000, 1);
const config = Buffer.from('{"kind": "test"}\n');

let folder: string;
let hub: HubServer;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'dimo-hub-'));
  hub = await startHub({
    files: { 'config.json': config, 'part/model.safetensors': weights, 'part/run.py': Buffer.from('import os') },
  });
});
afterEach(async () => {
  await hub.close();
  await rm(folder, { recursive: true, force: true });
});

/** Bytes that are the same in every run. */
function randomBytes(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length);
  let state = seed;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}

function settings(overrides: Parameters<typeof hubSettings>[1] = {}): ReturnType<typeof hubSettings> {
  return hubSettings(
    { HF_ENDPOINT: hub.endpoint, HF_HOME: folder, HF_TOKEN: token },
    { stallMilliseconds: 2000, backoffMilliseconds: 1, maximumFailures: 5, ...overrides },
  );
}

async function open(overrides: Parameters<typeof hubSettings>[1] = {}): Promise<HubRepository> {
  return openHubRepository(reference, { settings: settings(overrides) });
}

async function fetchWeights(overrides: Parameters<typeof hubSettings>[1] = {}) {
  const repository = await open(overrides);
  return (await repository.download(['part/model.safetensors']))[0]!;
}

async function failure(promise: Promise<unknown>): Promise<DimoError> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!DimoError.isInstance(error)) throw new Error(`expected a DimoError, got ${String(error)}`);
  // Whatever goes wrong, no message gives the token or a signed address away.
  for (let current: unknown = error; current instanceof Error; current = current.cause)
    expect(`${current.message} ${current.stack}`).not.toMatch(/canary|signature/i);
  return error;
}

const repositoryFolder = (): string => path.join(folder, 'hub', 'models--maker--model');

/** Every blob has the content that its name says; every name in the snapshot leads to the right one. */
async function expectGoodCache(): Promise<number> {
  const names = await readdir(path.join(repositoryFolder(), 'blobs')).catch(() => []);
  for (const name of names) {
    const bytes = await readFile(path.join(repositoryFolder(), 'blobs', name));
    expect(name).toBe(name.length === 64 ? sha256(bytes) : gitSha1(bytes));
  }
  const snapshot = path.join(repositoryFolder(), 'snapshots', hub.commit);
  for (const entry of await readdir(snapshot, { recursive: true }).catch(() => [])) {
    const file = path.join(snapshot, entry);
    if ((await stat(file)).isFile()) expect((await readFile(file)).equals(hub.content.files[entry]!), entry).toBe(true);
  }
  return names.length;
}

/** Answers requests at the store for the weights with these, in turn; then as a good server. */
function script(...answers: AnswerOptions[]): void {
  let next = 0;
  hub.fault = ({ seen, answer }) => {
    if (seen.server !== 'store' || next >= answers.length) return false;
    answer(answers[next++]);
    return true;
  };
}

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
    expect(await readFile(path.join(repositoryFolder(), 'refs', 'main'), 'utf8')).toBe(hub.commit);
    const link = path.join(repositoryFolder(), 'snapshots', hub.commit, 'part', 'model.safetensors');
    expect(path.basename(await realpath(link))).toBe(sha256(weights));
    expect(await readdir(path.join(repositoryFolder(), '.partial'))).toEqual([]);
    expect(Buffer.from(await repository.source().read('part/model.safetensors')).equals(weights)).toBe(true);
    const before = hub.fetches().length;
    const again = await (await open()).download(['config.json', 'part/model.safetensors']);
    expect(again.map(({ transferredBytes }) => transferredBytes)).toEqual([0, 0]);
    expect(hub.fetches().length).toBe(before);
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
    expect(hub.fetches()).toEqual([]);
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
        await rm(path.join(folder, 'hub'), { recursive: true, force: true });
        hub.requests.length = 0;
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        const first = state % weights.length;
        // Every third is cut twice.
        script({ cutAfter: first }, ...(i % 3 === 0 ? [{ cutAfter: Math.floor((weights.length - first) / 2) }] : []));
        const { transferredBytes } = await fetchWeights();
        expect(await expectGoodCache()).toBe(1);
        expect(transferredBytes).toBe(weights.length);
        const { range, ifRange } = hub.fetches()[1]!;
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
    hub.requests.length = 0;
    const { resumedBytes, transferredBytes } = await fetchWeights();
    expect([resumedBytes, transferredBytes]).toEqual([100_000, weights.length - 100_000]);
    expect(hub.fetches().map(({ range }) => range)).toEqual(['bytes=100000-']);
    await expectGoodCache();
  });

  it('a stall is cut and continued', async () => {
    script({ stallAfter: 50_000 });
    const { transferredBytes } = await fetchWeights({ stallMilliseconds: 300 });
    expect(transferredBytes).toBe(weights.length);
    expect(hub.fetches()[1]?.range).toBe('bytes=50000-');
    await expectGoodCache();
  });

  it('a server that never answers', async () => {
    hub.fault = () => true;
    const { code, message } = await failure(open({ stallMilliseconds: 100, maximumFailures: 2 }));
    expect([code, message]).toEqual(['network', expect.stringMatching(/sent nothing for 0.1 s \(3 attempts\)/)]);
  });

  it('no server at all', async () => {
    await hub.close();
    const { code, message } = await failure(open({ maximumFailures: 1 }));
    expect([code, message]).toEqual(['network', expect.stringContaining('ECONNREFUSED')]);
  });

  it.each([429, 500, 502, 503])('status %s passes', async (status) => {
    let times = 0;
    hub.fault = ({ answer }) =>
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

describe('lies', () => {
  const lies: [string, AnswerOptions, RegExp][] = [
    ['a longer file', { body: Buffer.concat([weights, config]) }, /sends 300017 bytes/],
    ['a shorter file', { body: weights.subarray(5) }, /sends 299995 bytes/],
    ['another content of the right length', { body: randomBytes(weights.length, 2) }, /sha256 differs/],
    ['one bit', { body: flipped(weights) }, /sha256 differs/],
    ['a page of HTML', { body: '<html>', headers: { 'content-type': 'text/html; charset=utf-8' } }, /text\/html/],
    ['416 to a request without a range', { status: 416, body: '' }, /refuses the range/],
    ['a compressed body', { headers: { 'content-encoding': 'gzip' } }, /sent as gzip/],
    [
      '206 to a request without a range',
      { status: 206, headers: { 'content-range': 'bytes 0-299999/300000' } },
      /another range/,
    ],
  ];

  it.each(lies)('%s: an error and no file', async (_name, answer, message) => {
    script(...Array.from({ length: 10 }, () => answer));
    const error = await failure(fetchWeights());
    expect([error.code, error.message]).toEqual(['network', expect.stringMatching(message)]);
    expect(await expectGoodCache()).toBe(0);
    // Not hammered: once, and once more.
    expect(hub.fetches()).toHaveLength(2);
    script();
    await fetchWeights();
    expect(await expectGoodCache()).toBe(1);
  });

  it.each(lies)('%s, once: the file is right in the end', async (_name, answer) => {
    script(answer);
    await fetchWeights();
    expect(await expectGoodCache()).toBe(1);
  });

  it('a body without a stated length that goes on', async () => {
    hub.fault = ({ seen, response }) => {
      if (seen.server !== 'store') return false;
      response.writeHead(200, { etag: '"x"' });
      for (let i = 0; i < 100; i++) response.write(weights);
      response.end();
      return true;
    };
    expect((await failure(fetchWeights())).message).toMatch(/more than the 300000 bytes/);
    expect(await expectGoodCache()).toBe(0);
  });

  describe('while continuing', () => {
    const resumed: [string, AnswerOptions, number][] = [
      ['416', { status: 416, body: '' }, 0],
      ['another range', { status: 206, headers: { 'content-range': 'bytes 5-299999/300000' } }, 0],
      ['the range of another file', { status: 206, headers: { 'content-range': 'bytes 100000-499999/500000' } }, 0],
      ['the whole file', { ignoreRange: true }, 0],
      [
        'a wrong rest',
        { status: 206, body: randomBytes(200_000, 3), headers: { 'content-range': 'bytes 100000-299999/300000' } },
        0,
      ],
    ];

    it.each(resumed)('%s: starts over, and the file is right', async (_name, answer) => {
      script({ cutAfter: 100_000 }, answer);
      const { resumedBytes } = await fetchWeights();
      expect(resumedBytes).toBe(0);
      expect(hub.fetches()[1]?.range).toBe('bytes=100000-');
      expect(await expectGoodCache()).toBe(1);
    });

    it.each([
      ['a server that knows If-Range', {}],
      ['a server that does not', { ignoreIfRange: true }],
    ])('the file changed, %s', async (_name, answer) => {
      hub.etag = '"first"';
      script({ cutAfter: 100_000, body: randomBytes(weights.length, 4) });
      await failure(fetchWeights({ maximumFailures: 0 }));
      hub.etag = '"second"';
      script(answer);
      hub.requests.length = 0;
      const { resumedBytes } = await fetchWeights();
      expect(hub.fetches()[0]).toMatchObject({ range: 'bytes=100000-', ifRange: '"first"' });
      expect(resumedBytes).toBe(0);
      expect(await expectGoodCache()).toBe(1);
    });

    it('without a strong ETag nothing is continued', async () => {
      hub.etag = 'W/"weak"';
      script({ cutAfter: 100_000 });
      await fetchWeights();
      expect(hub.fetches().map(({ range }) => range)).toEqual([undefined, undefined]);
      expect(await expectGoodCache()).toBe(1);
    });
  });

  it('questions: a page of HTML, an answer of another kind, a dangerous name', async () => {
    const answers: [AnswerOptions, RegExp][] = [
      [{ body: '<html>log in</html>' }, /is not JSON/],
      [{ body: '{}' }, /names no commit/],
      [{ body: '{"sha": "../../etc"}' }, /names no commit/],
      [{ status: 418 }, /status 418/],
    ];
    for (const [answer, message] of answers) {
      hub.fault = ({ seen, answer: reply }) => (seen.url.includes('/revision/') ? (reply(answer), true) : false);
      expect((await failure(open())).message).toMatch(message);
    }
    const names = [
      '../x.json',
      '/etc/x.json',
      'a/../../x.json',
      'a\\..\\x.json',
      'C:x.json',
      'a//x.json',
      'x\0.json',
      'nul.json',
      'a./x.json',
      '\u202ex.json',
      'y'.repeat(300),
    ];
    for (const name of names) {
      const list = JSON.stringify([{ type: 'file', path: name, size: 1, oid: '0'.repeat(40) }]);
      hub.fault = ({ seen, answer: reply }) => (seen.url.includes('/tree/') ? (reply({ body: list }), true) : false);
      const { code, message } = await failure(open());
      expect([code, message]).toEqual(['network', expect.stringContaining('file name')]);
    }
    expect(await readdir(folder)).toEqual([]);
  });
});

describe('no hash in the hub’s list', () => {
  beforeEach(() => {
    hub.content = { ...hub.content, withoutHashes: true };
  });

  it('the length is checked, parts are continued by ETag alone, and the cache names the blob by its content', async () => {
    script({ cutAfter: 100_000 });
    const { checkedBy } = await fetchWeights();
    expect(checkedBy).toBeUndefined();
    expect(hub.fetches()[1]?.range).toBe('bytes=100000-');
    expect(await expectGoodCache()).toBe(1);
    expect((await fetchWeights()).transferredBytes).toBe(0);
  });

  it('two halves of different versions never become one file', async () => {
    hub.etag = '"first"';
    script({ cutAfter: 100_000, body: randomBytes(weights.length, 4) });
    await failure(fetchWeights({ maximumFailures: 0 }));
    hub.etag = '"second"';
    script({ ignoreIfRange: true });
    await fetchWeights();
    expect(await expectGoodCache()).toBe(1);
  });

  it('a wrong length is an error', async () => {
    script(...Array.from({ length: 3 }, () => ({ body: weights.subarray(1) })));
    expect((await failure(fetchWeights())).message).toMatch(/sends 299999 bytes/);
    expect(await expectGoodCache()).toBe(0);
  });
});

describe('the token', () => {
  it('goes to the hub, never to the store or another host', async () => {
    await fetchWeights();
    const sent = (server: string) =>
      hub.requests.filter((seen) => seen.server === server).map((seen) => seen.authorization);
    expect(new Set(sent('hub'))).toEqual(new Set([`Bearer ${token}`]));
    expect(new Set(sent('store'))).toEqual(new Set([undefined]));
  });

  it('a list whose next page is elsewhere is refused', async () => {
    hub.fault = ({ seen, answer }) =>
      seen.url.includes('/tree/')
        ? (answer({ headers: { link: `<${hub.storeEndpoint}/x>; rel="next"` } }), true)
        : false;
    expect((await failure(open())).message).toContain('another host');
    expect(hub.requests.filter(({ server }) => server === 'store')).toEqual([]);
  });

  it('is not repeated from what a server says', async () => {
    hub.fault = ({ answer }) => (
      answer({ status: 403, headers: { 'x-error-message': `no access with ${token}` } }),
      true
    );
    const { code, message } = await failure(open());
    expect([code, message]).toEqual(['option', expect.stringContaining('no access with ***')]);
  });

  it('is not sent unencrypted to another machine', () => {
    expect(() => hubSettings({ HF_ENDPOINT: 'http://hub.example', HF_TOKEN: token })).toThrow(/not encrypted/);
    expect(() => hubSettings({ HF_TOKEN: 'a\nb' })).toThrow(/not a token/);
  });
});

describe('redirects', () => {
  it('in a circle end', async () => {
    hub.fault = ({ seen, response }) => {
      if (seen.file === undefined) return false;
      response.writeHead(302, { location: seen.url }).end();
      return true;
    };
    expect((await failure(fetchWeights())).message).toContain('more than 8 redirects');
  });

  it.each(['ftp://127.0.0.1/x', 'file:///etc/passwd', 'http://user:password@127.0.0.1/', 'http://['])(
    'to %s are refused',
    async (location) => {
      hub.fault = ({ seen, answer }) => (seen.file !== undefined ? (answer({ headers: { location } }), true) : false);
      expect((await failure(fetchWeights())).code).toBe('network');
    },
  );
});

describe('offline', () => {
  it('uses the cache, and names what is not there', async () => {
    await (await open()).download(['config.json']);
    await hub.close();
    const offline = await open({ offline: true });
    expect(offline.commit).toBe(hub.commit);
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
    const env = { ...process.env, HF_ENDPOINT: hub.endpoint, HF_HOME: folder };
    const start = (): RunningChild => startChild(program, [], [], env);
    const result = async (child: RunningChild): Promise<{ transferred: number; resumed: number }> => {
      expect(await child.ended).toBe(0);
      return JSON.parse(child.lines[0]!) as { transferred: number; resumed: number };
    };
    // The first answer stops after 100,000 bytes and keeps the connection.
    let isStopped = (): void => {};
    const stopped = new Promise<void>((resolve) => (isStopped = resolve));
    let times = 0;
    hub.fault = ({ seen, answer }) => {
      if (seen.server !== 'store' || times++ > 0) return false;
      answer({ stallAfter: 100_000 });
      isStopped();
      return true;
    };
    const first = start();
    await stopped;
    const others = [start(), start()];
    const partSize = async (): Promise<number> => {
      const parts = await readdir(path.join(repositoryFolder(), '.partial')).catch(() => []);
      const sizes = parts.map((name) => stat(path.join(repositoryFolder(), '.partial', name, 'content.part')));
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

function flipped(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  copy[123_456] = copy[123_456]! ^ 1;
  return copy;
}
