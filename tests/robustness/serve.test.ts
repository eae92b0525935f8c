/**
 * Rows D5 and D6: `dimo serve` under hostile requests, over real sockets. Every one is refused with the right status or
 * its connection closed, nothing outside the page folder is read, and afterwards a good request gets the same bytes as
 * before. A hundred requests here; `DIMO_HOSTILE=1000` for the full figure.
 */
import { chooseEngine, nodeEngines } from '@dimo/backend-node';
import {
  findModel,
  findTeacher,
  loadRegistry,
  openPage,
  run,
  serveModel,
  startServer,
  type RunningServer,
  type ServedModel,
} from '@dimo/cli';
import type { Engine } from '@dimo/core';
import { decode } from 'fast-png';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { get, good, hostileRequests, post, send, type Answer } from './hostile-requests.js';

const numHostile = Number(process.env['DIMO_HOSTILE'] ?? 100);
const token = 'canary-canary-canary';
const secret = 'the content of a file outside the page';

let folder: string;
let engine: Engine;
let model: ServedModel;
let server: RunningServer;
const logged: string[] = [];

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'dimo-serve-'));
  await mkdir(path.join(folder, 'page', 'assets'), { recursive: true });
  await writeFile(path.join(folder, 'secret.txt'), secret);
  await writeFile(path.join(folder, 'page', 'index.html'), '<!doctype html><title>page</title>');
  await writeFile(path.join(folder, 'page', 'assets', 'app.js'), 'export {};');
  await writeFile(path.join(folder, 'page', '.env'), secret);
  const registry = await loadRegistry([], process.cwd(), ['teachers']);
  ({ engine } = await chooseEngine('cpu', { engines: Object.values(nodeEngines) }));
  model = await serveModel(engine, 'mnist', await findModel('mnist', registry));
  server = await startServer({
    models: [model],
    port: 0,
    page: await openPage(path.join(folder, 'page')),
    limits: { headersMilliseconds: 600, requestMilliseconds: 900, queue: 2, connections: 60 },
    log: (line) => logged.push(line),
  });
});
afterAll(async () => {
  await server.close();
  await model.dispose();
  await engine.dispose();
  await rm(folder, { recursive: true });
});

async function goodAnswer(): Promise<{ images: { png: string; label: string }[]; seed: number }> {
  const response = await fetch(`${server.address}/v1/images`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: good,
  });
  expect(response.status).toBe(200);
  return (await response.json()) as { images: { png: string; label: string }[]; seed: number };
}

describe('dimo serve', { timeout: 300_000 }, () => {
  it('answers with PNGs, the labels and the seed; the same request gives the same bytes', async () => {
    const first = await goodAnswer();
    expect(first.images.map(({ label }) => label)).toEqual(['3', '7']);
    expect(decode(Buffer.from(first.images[0]!.png, 'base64'))).toMatchObject({ width: 28, height: 28 });
    expect(await goodAnswer()).toMatchObject({ images: first.images, seed: 5 });
    // Sample i depends on the seed and i alone: nine of them run as a batch of eight and one.
    const many = await (
      await fetch(`${server.address}/v1/images`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ classes: [3, 7], seed: 5, count: 9 }),
      })
    ).json();
    expect((many as { images: unknown[] }).images).toHaveLength(9);
    expect((many as { images: unknown[] }).images.slice(0, 2)).toEqual(first.images);
  });

  it('answers with one grid if a picture is asked for, and with files of the page', async () => {
    const response = await fetch(`${server.address}/v1/images`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'image/png' },
      body: JSON.stringify({ count: 4, seed: 1, temperature: 0.5 }),
    });
    expect([response.status, response.headers.get('x-seed')]).toEqual([200, '1']);
    expect(decode(new Uint8Array(await response.arrayBuffer())).width).toBeGreaterThan(100);
    const page = await fetch(`${server.address}/assets/app.js`);
    expect([page.status, await page.text()]).toEqual([200, 'export {};']);
    expect(page.headers.get('x-content-type-options')).toBe('nosniff');
    expect(await (await fetch(`${server.address}/v1/models`)).json()).toMatchObject({ models: [{ name: 'mnist' }] });
  });

  it('draws with the sampler that a request names, of a teacher alone', async () => {
    const registry = await loadRegistry([], process.cwd(), ['teachers']);
    const { teacher } = await findTeacher({ source: 'mnist', config: {} }, registry);
    const taught = await serveModel(engine, 'taught', { kind: 'teacher', teacher });
    const other = await startServer({ models: [taught, model], port: 0 });
    const ask = async (body: object) => {
      const response = await fetch(`${other.address}/v1/images`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ classes: [3], seed: 5, ...body }),
      });
      const { images, error } = (await response.json()) as {
        images?: { png: string }[];
        error?: { message: string };
      };
      return { status: response.status, png: images?.[0]?.png, message: error?.message };
    };
    const asked = { name: 'halton', numSteps: 2 };
    const byName = await ask({ sampler: 'halton', steps: 2 });
    expect(byName.status).toBe(200);
    expect(await ask({ sampler: asked })).toEqual(byName);
    // The sampler itself, as core runs it.
    const signal = new AbortController().signal;
    for await (const { image } of taught.generate({ texts: ['3'], count: 1, seed: 5, sampler: asked, signal }))
      expect([...decode(Buffer.from(byName.png!, 'base64')).data]).toEqual(
        Array.from(image.data, (value) => Math.round(value * 255)),
      );
    expect((await ask({ steps: 2 })).png).not.toBe(byName.png);
    for (const [body, message] of [
      [{ sampler: 'haltom' }, /there is no sampler "haltom"/],
      [{ sampler: { name: 'halton', stride: 2 } }, /stride/],
      [{ sampler: ['halton'] }, /sampler must be a name, or an object/],
      [{ sampler: 'halton', steps: 1e6 }, /steps must be an integer from 1 to 256/],
      [{ sampler: { numSteps: 1000 } }, /sampler.numSteps must be an integer from 1 to 256/],
      [{ steps: 2, sampler: { numSteps: 2 } }, /exclude each other/],
      [{ sampler: 'halton', model: 'mnist' }, /sampler is for teachers/],
      [{ sampler: { name: 'theta-trapezoidal', numSteps: 256 } }, /takes 513 passes, at most 256/],
      [{ sampler: { name: 'tau-leaping', numSteps: 256 } }, /takes 257 passes, at most 256/],
      [{ sampler: { method: 'exponential-race' } }, /sampler.method is not for requests/],
      [{ sampler: { reference: true } }, /sampler.reference is not for requests/],
      [{ sampler: { temperature: 1e-9 } }, /sampler.temperature must be a number from 0.01 to 100/],
      [{ sampler: { temperature: 101 } }, /sampler.temperature must be a number from 0.01 to 100/],
    ] as const) {
      const answer = await ask(body);
      expect([answer.status, answer.message]).toEqual([400, expect.stringMatching(message)]);
    }
    const { models } = (await (await fetch(`${other.address}/v1/models`)).json()) as {
      models: { samplers?: string[] }[];
    };
    expect([models[0]!.samplers, models[1]!.samplers]).toEqual([expect.arrayContaining(['halton']), undefined]);
    await other.close();
    // A sampler without steps takes a pass for each of the 49 tokens.
    const strict = await startServer({ models: [taught], port: 0, limits: { steps: 48 } });
    for (const sampler of [
      { name: 'entropy-bound', gamma: 0 },
      { name: 'confidence-threshold', threshold: 1 },
    ]) {
      const response = await fetch(`${strict.address}/v1/images`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ classes: [3], sampler }),
      });
      expect([response.status, await response.text()]).toEqual([
        400,
        expect.stringMatching(/takes 49 passes, at most 48/),
      ]);
    }
    await strict.close();
    await taught.dispose();
  });

  it(`${numHostile} hostile requests: each is refused, and the server is as good as before`, async () => {
    const before = await goodAnswer();
    const kinds = hostileRequests(server.port, folder);
    const memory = process.memoryUsage().rss;
    const surprises: string[] = [];
    for (let from = 0; from < numHostile; from += 20) {
      const some = Array.from({ length: Math.min(20, numHostile - from) }, (_, i) => kinds[(from + i) % kinds.length]!);
      await Promise.all(
        some.map(async ([name, bytes, statuses]) => {
          const { status, text } = await send(bytes, server.port);
          if (!statuses.includes(status)) surprises.push(`${name}: ${status} ${text.slice(-200)}`);
          expect(text, name).not.toContain(secret);
        }),
      );
    }
    expect(surprises).toEqual([]);
    expect(await goodAnswer()).toMatchObject({ images: before.images });
    expect(({} as Record<string, unknown>)['count']).toBeUndefined();
    const growth = (process.memoryUsage().rss - memory) / 2 ** 20;
    // Bodies of a megabyte come and go with the garbage collector; a leak of them would be far above this.
    expect(growth).toBeLessThan(200);
  });

  it('a request whose client goes away is not computed', async () => {
    let numComputed = 0;
    const slow: ServedModel = {
      ...model,
      async *generate({ signal, count }) {
        for (let i = 0; i < count && !signal.aborted; i++) {
          numComputed++;
          await new Promise((resolve) => setTimeout(resolve, 20));
          yield {
            index: i,
            image: { dtype: 'float32', shape: [28, 28, 1], data: new Float32Array(784) },
            label: '',
          };
        }
      },
    };
    const other = await startServer({ models: [slow], port: 0, limits: { queue: 2 } });
    const start = (): { socket: ReturnType<typeof connect>; answer: Promise<string> } => {
      const socket = connect(other.port, '127.0.0.1', () => socket.write(post(other.port, '{"count": 60}')));
      const answer = new Promise<string>((resolve) => {
        socket.once('data', (chunk) => resolve(chunk.toString('latin1').slice(9, 12)));
        socket.on('error', () => resolve('error')).on('close', () => resolve('closed'));
      });
      return { socket, answer };
    };
    const first = start();
    while (numComputed === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    const waiting = [start(), start()];
    await new Promise((resolve) => setTimeout(resolve, 100));
    // Two may wait; the next is told to come later, at once.
    expect(await start().answer).toBe('429');
    for (const { socket } of [first, waiting[0]!]) socket.destroy();
    expect(await waiting[1]!.answer).toBe('200');
    // The first stopped in the middle, the second never began.
    expect(numComputed).toBeLessThan(2 * 60);
    await other.close();
  });

  it('more connections than allowed: the rest is closed, and later ones are served', async () => {
    const sockets = Array.from({ length: 200 }, () => connect(server.port, '127.0.0.1').on('error', () => undefined));
    await new Promise((resolve) => setTimeout(resolve, 300));
    for (const socket of sockets) socket.destroy();
    await vi.waitFor(async () => expect((await fetch(`${server.address}/health`)).status).toBe(200), {
      timeout: 10_000,
    });
  });

  it('log lines hold no query and no control characters', () => {
    expect(logged.length).toBeGreaterThan(50);
    expect(logged.filter((line) => /[\u0000-\u001f?]/.test(line))).toEqual([]);
  });
});

describe('other machines', { timeout: 60_000 }, () => {
  async function runServe(...args: string[]): Promise<{ code: number; stderr: string }> {
    let stderr = '';
    vi.spyOn(process.stderr, 'write').mockImplementation((chunk) => ((stderr += String(chunk)), true));
    const code = await run(['serve', ...args]);
    vi.restoreAllMocks();
    return { code, stderr };
  }

  it.each(['0.0.0.0', '::', '192.168.1.5', 'my-machine.local'])('--host %s needs a token', async (host) => {
    const { code, stderr } = await runServe('--host', host);
    expect([code, stderr]).toEqual([2, expect.stringContaining('a token is needed')]);
  });

  it.each([
    ['a short token', ['--token', 'short'], 'at least 16'],
    ['a port that is none', ['--port', '70000'], '--port must be'],
    ['a page that is none', ['--page', '/absent'], 'there is no folder'],
  ])('%s is refused', async (_name, args, message) => {
    const { code, stderr } = await runServe(...args);
    expect([code, stderr]).toEqual([2, expect.stringContaining(message)]);
  });

  it('a port that is taken is named, with one that is free', async () => {
    const { code, stderr } = await runServe('--port', String(server.port));
    expect(code).toBe(2);
    expect(stderr).toContain(`cannot listen on port ${server.port} of 127.0.0.1: EADDRINUSE`);
    const free = Number(/--port ([0-9]+)/.exec(stderr)?.[1]);
    expect(free).toBeGreaterThan(server.port);
    const other = await startServer({ models: [model], port: free });
    await other.close();
  });

  it.each([
    ['an address of another machine', '203.0.113.7', 'does not have the address'],
    ['a name that is none', 'no-such-host.invalid', '--host'],
  ])('%s: what to do is said', async (_name, host, hint) => {
    const { code, stderr } = await runServe('--host', host, '--token', token, '--port', '0');
    expect([code, stderr]).toEqual([2, expect.stringContaining(hint)]);
  });

  it('only the right token is let in, and it is in no log', async () => {
    const lines: string[] = [];
    const guarded = await startServer({ models: [model], port: 0, token, log: (line) => lines.push(line) });
    const ask = (authorization?: string): Promise<Answer> =>
      send(post(guarded.port, '{"classes": [1], "seed": 1}', { Authorization: authorization }), guarded.port);
    const wrong = [
      'Bearer',
      'Bearer x',
      `Bearer ${token}x`,
      `Bearer ${token.slice(1)}`,
      `Basic ${token}`,
      token,
      'Bearer  ',
    ];
    for (const authorization of [undefined, ...wrong]) expect((await ask(authorization)).status).toBe(401);
    const answers = [await ask(`Bearer ${token}`), await ask(`bearer ${token}`)];
    expect(answers.map(({ status }) => status)).toEqual([200, 200]);
    expect((await send(get(guarded.port, `/v1/models?token=${token}`), guarded.port)).status).toBe(401);
    expect(lines.length).toBeGreaterThan(8);
    expect(lines.join('\n')).not.toContain('canary');
    await guarded.close();
  });
});
