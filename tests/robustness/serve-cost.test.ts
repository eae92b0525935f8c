/**
 * Row D5: what a client that brings nothing costs. Requests whose client has gone are not computed, those who do not read
 * are cut off, and however many dead connections there are, the next one is answered. The model is a slow one of its own,
 * so that what is computed can be counted.
 */
import { openPage, startServer, type RunningServer, type ServedModel, type ServeLimits } from '@dimo/cli';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { get, post, send } from './hostile-requests.js';

let folder: string;
let server: RunningServer;
let numComputed = 0;
const sockets: Socket[] = [];

/** A picture takes a hundredth of a second. */
const slow: ServedModel = {
  name: 'slow',
  kind: 'generator',
  classNames: undefined,
  imageShape: [2, 2, 1],
  samplers: [],
  maximumPasses: () => 1,
  async *generate({ signal, count }) {
    for (let index = 0; index < count && !signal.aborted; index++) {
      numComputed++;
      await wait(10);
      yield { index, image: { dtype: 'float32', shape: [2, 2, 1], data: new Float32Array(4) }, label: '' };
    }
  },
  dispose: () => Promise.resolve(),
};

async function start(limits: Partial<ServeLimits> = {}): Promise<number> {
  numComputed = 0;
  server = await startServer({ models: [slow], port: 0, page: await openPage(path.join(folder, 'page')), limits });
  return server.port;
}

/** An open connection that has sent bytes and reads nothing. */
function dead(port: number, bytes: string | Buffer = ''): Promise<Socket> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      if (bytes.length > 0) socket.write(bytes);
      resolve(socket);
    });
    socket.pause().on('error', () => undefined);
    sockets.push(socket);
  });
}

const health = async (port: number): Promise<number> => (await send(get(port, '/health'), port)).status;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'dimo-serve-cost-'));
  const page = path.join(folder, 'page');
  await mkdir(path.join(page, 'real'), { recursive: true });
  await mkdir(path.join(folder, 'outside'));
  await writeFile(path.join(folder, 'outside', 'secret.txt'), 'a secret');
  await writeFile(path.join(page, 'index.html'), '<!doctype html><title>page</title>');
  await writeFile(path.join(page, 'real', 'text.txt'), '0123456789');
  await writeFile(path.join(page, 'large.bin'), new Uint8Array(2 ** 24));
  await writeFile(path.join(page, 'removed.txt'), 'here for now');
  await symlink(path.join('real', 'text.txt'), path.join(page, 'inside.txt'));
  await symlink('../outside/secret.txt', path.join(page, 'link.txt'));
  await symlink('../outside', path.join(page, 'outside'));
  await symlink('real', path.join(page, 'again'));
  await symlink('loop', path.join(page, 'loop'));
});
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await server.close();
});
afterAll(() => rm(folder, { recursive: true }));

describe('requests whose client has gone', { timeout: 60_000 }, () => {
  it('are not computed, though they were sent at once over one connection', async () => {
    const port = await start();
    const job = post(port, '{"count": 64}');
    const socket = await dead(port, Buffer.concat(Array.from({ length: 33 }, () => job)));
    await vi.waitFor(() => expect(numComputed).toBeGreaterThan(0));
    socket.destroy();
    expect((await send(post(port, '{"count": 1}'), port)).status).toBe(200);
    // The first of them was stopped in the middle, the others never began.
    expect(numComputed).toBeLessThan(64);
  });

  it('are not computed either when each has a connection of its own', async () => {
    const port = await start();
    const many = await Promise.all(Array.from({ length: 32 }, () => dead(port, post(port, '{"count": 64}'))));
    await vi.waitFor(() => expect(numComputed).toBeGreaterThan(0));
    for (const socket of many) socket.destroy();
    await vi.waitFor(async () => expect((await send(post(port, '{"count": 1}'), port)).status).toBe(200));
    expect(numComputed).toBeLessThan(2 * 64);
  });

  it('one connection cannot take all places in the queue', async () => {
    const port = await start({ jobsPerConnection: 2 });
    await dead(port, Buffer.concat(Array.from({ length: 33 }, () => post(port, '{"count": 5}'))));
    await vi.waitFor(() => expect(numComputed).toBeGreaterThan(0));
    expect((await send(post(port, '{"count": 1}'), port)).status).toBe(200);
    expect(numComputed).toBe(2 * 5 + 1);
  });
});

describe('connections that bring nothing', { timeout: 60_000 }, () => {
  it.each([
    ['say nothing', () => ''],
    ['stop in the middle of a header', () => 'GET /health HTTP/1.1\r\nHost: loc'],
    ['stop in the middle of a body', (port: number) => post(port, '{', { 'Content-Length': '100' })],
    ['do not read a large file', (port: number) => get(port, '/large.bin')],
    ['have had their answer', (port: number) => get(port, '/health')],
    ['ask for more than anybody reads', (port: number) => get(port, '/health').repeat(100)],
  ])('those that %s keep nobody out', async (_what, bytes) => {
    const port = await start({ connections: 30 });
    for (let i = 0; i < 60; i++) await dead(port, bytes(port));
    await wait(100);
    for (let i = 0; i < 5; i++) expect(await health(port)).toBe(200);
    expect((await send(post(port, '{"count": 1}'), port)).status).toBe(200);
  });

  it('make room for others: no more stay than are allowed', async () => {
    const port = await start({ connections: 30 });
    let numClosed = 0;
    for (let i = 0; i < 60; i++) (await dead(port)).on('close', () => numClosed++).resume();
    await vi.waitFor(() => expect(numClosed).toBeGreaterThanOrEqual(30));
    expect(await health(port)).toBe(200);
  });

  it('a job keeps its connection, however many others come', async () => {
    const port = await start({ connections: 10 });
    const job = send(post(port, '{"count": 60}'), port);
    await vi.waitFor(() => expect(numComputed).toBeGreaterThan(0));
    for (let i = 0; i < 40; i++) await dead(port);
    expect((await job).status).toBe(200);
  });

  it('a client that does not take its answer is cut off, one that takes it is not', async () => {
    const port = await start({ readerMilliseconds: 400 });
    const silent = await dead(port, get(port, '/large.bin'));
    const reader = fetch(`${server.address}/large.bin`);
    const body = (await reader).body!.getReader();
    let length = 0;
    for (let part = await body.read(); !part.done; part = await body.read()) {
      length += part.value.length;
      // Longer in all than the other may be silent.
      if (length < 2 ** 21) await wait(20);
    }
    expect(length).toBe(2 ** 24);
    await wait(1000);
    // What its system has taken is there to be read; the rest never comes.
    let taken = 0;
    silent.on('data', (chunk) => (taken += chunk.length)).resume();
    await new Promise((resolve) => silent.on('close', resolve));
    expect(taken).toBeLessThan(2 ** 24);
  });
});

describe('the page', { timeout: 60_000 }, () => {
  it('serves files of its folder, by links inside it too, and none from outside', async () => {
    const port = await start();
    const ask = async (target: string): Promise<string> => {
      const { status, text } = await send(get(port, target), port);
      expect(text).not.toContain('a secret');
      return status === 200 ? text.slice(text.indexOf('\r\n\r\n') + 4) : String(status);
    };
    expect(await ask('/')).toContain('<title>page');
    expect(await ask('/real/text.txt')).toBe('0123456789');
    expect(await ask('/inside.txt')).toBe('0123456789');
    for (const target of ['/link.txt', '/outside/secret.txt', '/loop', '/real', '/outside/', '/../outside/secret.txt'])
      expect(await ask(target), target).toBe('404');
    // Exchanged, and removed, after they were listed.
    await rm(path.join(folder, 'page', 'removed.txt'));
    expect(await ask('/removed.txt')).toBe('404');
    await symlink('../outside/secret.txt', path.join(folder, 'page', 'removed.txt'));
    expect(await ask('/removed.txt')).toBe('404');
    expect(await health(port)).toBe(200);
  });

  it('sends parts of files, and nothing where nothing has changed', async () => {
    await start();
    const ask = (headers: Record<string, string>, method = 'GET'): Promise<Response> =>
      fetch(`${server.address}/real/text.txt`, { headers, method });
    const whole = await ask({});
    expect([whole.status, whole.headers.get('content-type')]).toEqual([200, 'text/plain']);
    expect((await ask({ 'if-none-match': whole.headers.get('etag')! })).status).toBe(304);
    for (const [range, expected] of [
      ['bytes=2-4', [206, '234', 'bytes 2-4/10']],
      ['bytes=7-', [206, '789', 'bytes 7-9/10']],
      ['bytes=7-99', [206, '789', 'bytes 7-9/10']],
      ['bytes=-3', [206, '789', 'bytes 7-9/10']],
      ['bytes=10-', [416, '', 'bytes */10']],
      ['bytes=5-2', [200, '0123456789', null]],
      ['bytes=0-1,3-4', [200, '0123456789', null]],
      ['lines=1-2', [200, '0123456789', null]],
    ] as const) {
      const response = await ask({ range });
      expect([response.status, await response.text(), response.headers.get('content-range')], range).toEqual(expected);
    }
    const head = await ask({}, 'HEAD');
    expect([head.status, head.headers.get('content-length'), await head.text()]).toEqual([200, '10', '']);
  });
});

describe('classes', { timeout: 60_000 }, () => {
  it.each([
    ['many long ranges', Array.from({ length: 125 }, () => '0-99999').join()],
    ['one long range', '0-99999'],
    ['ranges that add up', '0-40,0-40'],
    ['many names', Array.from({ length: 400 }, () => '1').join()],
    ['spaces', ' 0-99999 , 0-99999 '],
    ['huge numbers', '0-999999999'],
  ])('%s are counted before they are written out', async (_name, classes) => {
    const port = await start();
    const before = process.memoryUsage().heapUsed;
    const { status, text } = await send(post(port, JSON.stringify({ classes })), port);
    expect([status, text]).toEqual([400, expect.stringMatching(/classes/)]);
    // Twelve million names would be hundreds of megabytes.
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(64 * 2 ** 20);
    expect(numComputed).toBe(0);
  });
});
