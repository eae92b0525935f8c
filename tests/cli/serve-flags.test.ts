/** The flags of `dimo serve`, each seen at work on a running server. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runDimo, startDimo, type RunningDimo } from '../support/run-dimo.js';

const tests = fileURLToPath(new URL('..', import.meta.url));
const toy = ['--plugin', './support/toy-plugin.mjs', '--engine', 'cpu'];
let folder: string;
let teacher: string;
let server: RunningDimo;
let port: number;

interface Answer {
  readonly status: number | undefined;
  readonly body: string;
}

function ask(where: string, headers: Record<string, string> = {}, body?: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port, path: where, headers, method: body === undefined ? 'GET' : 'POST' };
    const sent = request(options, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      response.on('end', () => resolve({ status: response.statusCode, body: text }));
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'dimo-serve-flags-'));
  await writeFile(path.join(folder, 'index.html'), '<p>my own page</p>');
  const flags = [...toy, '--teacher-plugin', 'toy', '--dataset', 'toy-tokens', '--steps', '2', '--batch', '4'];
  const trained = await runDimo(['train', 'teacher', ...flags, '--runs', folder, '--name', 't', '--json'], {
    cwd: tests,
  });
  ({ teacher } = JSON.parse(trained.stdout) as { teacher: string });
  server = startDimo(
    [
      'serve',
      ...toy,
      '--model',
      teacher,
      '--port',
      '0',
      '--host',
      'localhost',
      '--allow-host',
      'my-machine.local',
    ].concat(
      ['--token', 'a-long-secret-token', '--page', folder, '--steps', '3', '--sampler', 'halton'],
      ['--quiet', '--json'],
    ),
    { cwd: tests },
  );
  await server.printed('http://');
  port = Number(/http:\/\/[^:\s]+:(\d+)/.exec(server.output().stdout + server.output().stderr)![1]);
}, 120_000);
afterAll(async () => {
  server.process.kill('SIGKILL');
  await server.ended;
  await rm(folder, { recursive: true });
});

const bearer = { authorization: 'Bearer a-long-secret-token' };

describe('dimo serve', { timeout: 60_000 }, () => {
  it('--port 0 takes a free one, --host names the interface', () => {
    expect(port).toBeGreaterThan(0);
    expect(port).not.toBe(7860);
  });

  it('--json prints one line of JSON: where it is, and what it serves', () => {
    const [line, ...more] = server.output().stdout.trim().split('\n');
    const address = `http://localhost:${port}`;
    expect(JSON.parse(line!)).toEqual({ address, models: [expect.any(String)], page: `${address}/` });
    expect(more).toEqual([]);
  });

  it('--token is what clients must send', async () => {
    expect((await ask('/v1/models')).status).toBe(401);
    expect((await ask('/v1/models', bearer)).status).toBe(200);
  });

  it('--allow-host is a name that the Host header may hold', async () => {
    expect((await ask('/v1/models', { ...bearer, host: 'my-machine.local' })).status).toBe(200);
    expect((await ask('/v1/models', { ...bearer, host: 'another.local' })).status).toBeGreaterThanOrEqual(400);
  });

  it('--page is what is served beside the API', async () => {
    expect((await ask('/', bearer)).body).toContain('my own page');
  });

  it('--model is what is offered, with the --steps of its sampler; --quiet prints no line per request', async () => {
    expect((await ask('/v1/models', bearer)).body).toMatch(/teacher/);
    const request8 = JSON.stringify({ count: 8, seed: 1 });
    const json = { ...bearer, 'content-type': 'application/json' };
    const { status, body } = await ask('/v1/images', json, request8);
    expect(status, body).toBe(200);
    const plain = startDimo(['serve', ...toy, '--model', teacher, '--port', '0'], { cwd: tests });
    await plain.printed('http://');
    const chosen = port;
    port = Number(/http:\/\/[^:\s]+:(\d+)/.exec(plain.output().stdout + plain.output().stderr)![1]);
    const other = await ask('/v1/images', { 'content-type': 'application/json' }, request8);
    port = chosen;
    expect(other.status, other.body).toBe(200);
    const images = (text: string) => JSON.stringify((JSON.parse(text) as { images: unknown }).images);
    expect(images(other.body)).not.toBe(images(body));
    await plain.printed('/v1/images');
    plain.process.kill('SIGKILL');
    await plain.ended;
    const printed = server.output().stdout + server.output().stderr;
    expect(printed).not.toContain('/v1/images');
  });
});
