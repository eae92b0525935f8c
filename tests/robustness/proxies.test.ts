/**
 * Proxies of the environment: a hub under a name that only the proxy knows is reached through it, in the clear and
 * encrypted; what refuses or is down is told in one paragraph, and no message holds the proxy's password.
 */
import { hubSettings, openHubRepository, parseHubReference } from '@dimo/backend-node';
import { spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startHttpProxy, type HttpProxy, type HttpProxyOptions } from '../support/http-proxy.js';
import { startHub, type HubServer } from '../support/hub-server.js';
import { runDimo } from '../support/run-dimo.js';
import { failure, randomBytes, token } from './hub-trial.js';

const host = 'hub.test';
const secret = 'canaryPassword';
const weights = randomBytes(100_000, 3);

let folder: string;
let hub: HubServer;
let proxy: HttpProxy | undefined;
const closing: (() => Promise<void>)[] = [];

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'dimo-proxy-'));
  hub = await startHub({ files: { 'model.safetensors': weights } }, { host });
  closing.push(() => hub.close());
});
afterEach(async () => {
  await Promise.all(closing.splice(0).map((close) => close()));
  proxy = undefined;
  await rm(folder, { recursive: true, force: true });
});

async function startProxy(options?: HttpProxyOptions): Promise<HttpProxy> {
  proxy = await startHttpProxy(options);
  closing.push(() => proxy!.close());
  return proxy;
}

async function fetchWeights(environment: Readonly<Record<string, string>>): Promise<Buffer> {
  const settings = hubSettings(
    { HF_ENDPOINT: hub.endpoint, HF_HOME: folder, ...environment },
    { stallMilliseconds: 5000, backoffMilliseconds: 1, maximumFailures: 2 },
  );
  const repository = await openHubRepository(parseHubReference('hf:maker/model'), { settings });
  const [file] = await repository.download(['model.safetensors']);
  return readFile(file!.path);
}

describe('a proxy', () => {
  it.each(['HTTP_PROXY', 'http_proxy'])('of %s is used for every request, the stores of a hub too', async (name) => {
    const { port, asked } = await startProxy();
    expect((await fetchWeights({ [name]: `http://127.0.0.1:${port}` })).equals(weights)).toBe(true);
    const reached = (endpoint: string): boolean =>
      asked.some((line) => line.includes(endpoint.slice('http://'.length)));
    expect([reached(hub.endpoint), reached(hub.storeEndpoint)], asked.join('\n')).toEqual([true, true]);
  });

  it('gets its own name and password, and the hub does not', async () => {
    const { port } = await startProxy({ credentials: `me:${secret}` });
    expect((await fetchWeights({ HTTP_PROXY: `me:${secret}@127.0.0.1:${port}` })).equals(weights)).toBe(true);
    expect(JSON.stringify(hub.requests)).not.toContain(secret);
  });

  it.each(['NO_PROXY', 'no_proxy'])('is passed by for hosts of %s', async (name) => {
    const { port, asked } = await startProxy();
    const message = (await failure(fetchWeights({ HTTP_PROXY: `http://127.0.0.1:${port}`, [name]: 'x.org,.test' })))
      .message;
    // Nobody but the proxy knows the name.
    expect(message).toMatch(/ENOTFOUND|EAI_AGAIN/);
    expect(asked).toEqual([]);
  });

  it('is not asked for this machine itself, so a token stays here', async () => {
    const { port, asked } = await startProxy();
    const local = await startHub({ files: { 'model.safetensors': weights } });
    closing.push(() => local.close());
    const environment = { HF_ENDPOINT: local.endpoint, HTTP_PROXY: `http://127.0.0.1:${port}`, HF_TOKEN: token };
    expect((await fetchWeights(environment)).equals(weights)).toBe(true);
    expect(asked).toEqual([]);
    expect(local.requests.some(({ authorization }) => authorization === `Bearer ${token}`)).toBe(true);
  });

  it('that wants another password is told once, without the one that was given', async () => {
    const { port, asked } = await startProxy({ credentials: `me:${secret}` });
    const error = await failure(fetchWeights({ HTTP_PROXY: `http://me:other${secret}@127.0.0.1:${port}` }));
    expect(error).toMatchObject({ code: 'network', message: expect.stringContaining('407') as string });
    expect(error.hint).toContain('user:password@host:port');
    expect(error.message + error.hint).not.toContain(secret);
    expect(asked).toHaveLength(1);
  });

  it('that is down is named', async () => {
    const { port, close } = await startProxy();
    await close();
    closing.pop();
    const { code, message } = await failure(fetchWeights({ HTTP_PROXY: `http://me:${secret}@127.0.0.1:${port}` }));
    expect([code, message]).toEqual([
      'network',
      expect.stringMatching(new RegExp(`hub\\.test.* \\(proxy http://127\\.0\\.0\\.1:${port}\\): ECONNREFUSED`)),
    ]);
  });

  it.each(['socks5://127.0.0.1:1', 'http://', `ftp://me:${secret}@host`])('cannot be %s', (value) => {
    const read = (): unknown => hubSettings({ HTTPS_PROXY: value });
    expect(read).toThrow('HTTPS_PROXY is not the address of an HTTP proxy');
    expect(read).not.toThrow(secret);
  });
});

const hasOpenssl = spawnSync('openssl', ['version']).status === 0;

describe.skipIf(!hasOpenssl)(
  `an encrypted hub${hasOpenssl ? '' : ' (no openssl here)'}, with a token`,
  { timeout: 120_000 },
  () => {
    async function importThrough(address: (port: number) => string, options?: HttpProxyOptions) {
      const [key, cert] = ['key.pem', 'cert.pem'].map((name) => path.join(folder, name)) as [string, string];
      const made = spawnSync(
        'openssl',
        `req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=${host}`
          .split(' ')
          .concat(['-addext', `subjectAltName=DNS:${host}`, '-keyout', key, '-out', cert]),
        { encoding: 'utf8' },
      );
      expect(made.status, made.stderr).toBe(0);
      const model = fileURLToPath(new URL('../../packages/presets/presets/mnist/generator/', import.meta.url));
      const names = ['config.json', 'model.safetensors', 'decoder.safetensors'];
      const files = Object.fromEntries(
        await Promise.all(names.map(async (name) => [name, await readFile(path.join(model, name))] as const)),
      );
      const secure = await startHub(
        { files },
        { host, certificate: { key: await readFile(key, 'utf8'), cert: await readFile(cert, 'utf8') } },
      );
      closing.push(() => secure.close());
      const { port, asked } = await startProxy(options);
      const result = await runDimo(['import', 'hf:maker/model', '--out', path.join(folder, 'imported'), '--debug'], {
        env: {
          HF_ENDPOINT: secure.endpoint,
          HF_HOME: folder,
          HF_TOKEN: token,
          HTTPS_PROXY: address(port),
          NODE_EXTRA_CA_CERTS: cert,
        },
      });
      expect(result.stdout + result.stderr).not.toMatch(/canary/i);
      return { ...result, asked, requests: secure.requests };
    }

    it('is reached through a tunnel, which sees no token', async () => {
      const { code, stderr, asked, requests } = await importThrough((port) => `http://me:${secret}@127.0.0.1:${port}`, {
        credentials: `me:${secret}`,
      });
      expect(code, stderr).toBe(0);
      expect(asked.every((line) => line.startsWith(`CONNECT ${host}:`))).toBe(true);
      expect(requests.some(({ authorization }) => authorization === `Bearer ${token}`)).toBe(true);
    });

    it.each([
      [407, 'it wants a name and password: HTTPS_PROXY=http://user:password@host:port'],
      [403, 'check HTTPS_PROXY'],
    ])('a proxy that refuses with %s: one paragraph', async (refuse, hint) => {
      const { code, stderr, asked } = await importThrough((port) => `http://me:${secret}@127.0.0.1:${port}`, {
        refuse,
      });
      expect(code).toBe(1);
      expect(stderr).toMatch(
        new RegExp(`^error: https://hub\\.test.*: the proxy refuses the connection with status ${refuse}$`, 'm'),
      );
      expect(stderr).toContain(hint);
      expect(asked).toHaveLength(1);
    });
  },
);
