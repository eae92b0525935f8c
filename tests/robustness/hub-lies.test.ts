/**
 * Row B9, lies: a hub on loopback that sends something else than it promised, or somewhere else. Nothing wrong reaches
 * the cache, the token goes nowhere else, and every failure is one error that says what to do.
 */
import { hubSettings } from '@dimo/backend-node';
import { readdir } from 'node:fs/promises';
import { beforeEach, describe, expect, it } from 'vitest';
import type { AnswerOptions } from '../support/hub-server.js';
import { config, failure, flipped, hubTrial, randomBytes, token, weights } from './hub-trial.js';

const trial = hubTrial();
const { open, fetchWeights, script, expectGoodCache } = trial;

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
    expect(trial.hub.fetches()).toHaveLength(2);
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
    trial.hub.fault = ({ seen, response }) => {
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
      expect(trial.hub.fetches()[1]?.range).toBe('bytes=100000-');
      expect(await expectGoodCache()).toBe(1);
    });

    it.each([
      ['a server that knows If-Range', {}],
      ['a server that does not', { ignoreIfRange: true }],
    ])('the file changed, %s', async (_name, answer) => {
      trial.hub.etag = '"first"';
      script({ cutAfter: 100_000, body: randomBytes(weights.length, 4) });
      await failure(fetchWeights({ maximumFailures: 0 }));
      trial.hub.etag = '"second"';
      script(answer);
      trial.hub.requests.length = 0;
      const { resumedBytes } = await fetchWeights();
      expect(trial.hub.fetches()[0]).toMatchObject({ range: 'bytes=100000-', ifRange: '"first"' });
      expect(resumedBytes).toBe(0);
      expect(await expectGoodCache()).toBe(1);
    });

    it('without a strong ETag nothing is continued', async () => {
      trial.hub.etag = 'W/"weak"';
      script({ cutAfter: 100_000 });
      await fetchWeights();
      expect(trial.hub.fetches().map(({ range }) => range)).toEqual([undefined, undefined]);
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
      trial.hub.fault = ({ seen, answer: reply }) => (seen.url.includes('/revision/') ? (reply(answer), true) : false);
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
      trial.hub.fault = ({ seen, answer: reply }) =>
        seen.url.includes('/tree/') ? (reply({ body: list }), true) : false;
      const { code, message } = await failure(open());
      expect([code, message]).toEqual(['network', expect.stringContaining('file name')]);
    }
    expect(await readdir(trial.folder)).toEqual([]);
  });
});

describe('no hash in the hub’s list', () => {
  beforeEach(() => {
    trial.hub.content = { ...trial.hub.content, withoutHashes: true };
  });

  it('the length is checked, parts are continued by ETag alone, and the cache names the blob by its content', async () => {
    script({ cutAfter: 100_000 });
    const { checkedBy } = await fetchWeights();
    expect(checkedBy).toBeUndefined();
    expect(trial.hub.fetches()[1]?.range).toBe('bytes=100000-');
    expect(await expectGoodCache()).toBe(1);
    expect((await fetchWeights()).transferredBytes).toBe(0);
  });

  it('two halves of different versions never become one file', async () => {
    trial.hub.etag = '"first"';
    script({ cutAfter: 100_000, body: randomBytes(weights.length, 4) });
    await failure(fetchWeights({ maximumFailures: 0 }));
    trial.hub.etag = '"second"';
    script({ ignoreIfRange: true });
    await fetchWeights();
    expect(await expectGoodCache()).toBe(1);
  });

  it('nor three, where the second was cut earlier than the first', async () => {
    trial.hub.etag = '"first"';
    script({ cutAfter: 100_000, body: randomBytes(weights.length, 4) });
    await failure(fetchWeights({ maximumFailures: 0 }));
    trial.hub.etag = '"second"';
    script({ cutAfter: 50_000 });
    await failure(fetchWeights({ maximumFailures: 0 }));
    trial.hub.requests.length = 0;
    script();
    await fetchWeights();
    expect(trial.hub.fetches()[0]?.range).toBe('bytes=50000-');
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
      trial.hub.requests.filter((seen) => seen.server === server).map((seen) => seen.authorization);
    expect(new Set(sent('hub'))).toEqual(new Set([`Bearer ${token}`]));
    expect(new Set(sent('store'))).toEqual(new Set([undefined]));
  });

  it('a list whose next page is elsewhere is refused', async () => {
    trial.hub.fault = ({ seen, answer }) =>
      seen.url.includes('/tree/')
        ? (answer({ headers: { link: `<${trial.hub.storeEndpoint}/x>; rel="next"` } }), true)
        : false;
    expect((await failure(open())).message).toContain('another host');
    expect(trial.hub.requests.filter(({ server }) => server === 'store')).toEqual([]);
  });

  it('is not repeated from what a server says', async () => {
    trial.hub.fault = ({ answer }) => (
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
    trial.hub.fault = ({ seen, response }) => {
      if (seen.file === undefined) return false;
      response.writeHead(302, { location: seen.url }).end();
      return true;
    };
    expect((await failure(fetchWeights())).message).toContain('more than 8 redirects');
  });

  it.each(['ftp://127.0.0.1/x', 'file:///etc/passwd', 'http://user:password@127.0.0.1/', 'http://['])(
    'to %s are refused',
    async (location) => {
      trial.hub.fault = ({ seen, answer }) =>
        seen.file !== undefined ? (answer({ headers: { location } }), true) : false;
      expect((await failure(fetchWeights())).code).toBe('network');
    },
  );
});
