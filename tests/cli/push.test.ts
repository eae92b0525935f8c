/**
 * `dimo push` against a hub on loopback that speaks the endpoints of the public one, cuts connections and refuses. The
 * repository changes by one whole commit or not at all, and the token goes to the hub alone.
 */
import { cp, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { randomBytes, token } from '../robustness/hub-trial.js';
import { dimoTrial, type CommandResult } from '../support/in-process-dimo.js';
import { sha256 } from '../support/hub-server.js';
import { startPushServer, type PushServer } from '../support/push-server.js';
import { startDimo } from '../support/run-dimo.js';

const preset = fileURLToPath(new URL('../../packages/presets/presets/mnist/', import.meta.url));
const target = 'hf:maker/model';
const trial = dimoTrial();
const { at } = trial;

let hub: PushServer;
beforeEach(async () => {
  hub = await startPushServer(token);
  await cp(`${preset}generator`, at('model'), { recursive: true });
  await writeFile(at('model', 'README.md'), '# A model\n');
});
afterEach(() => hub.close());

/** Runs a command; whatever happens, neither token nor signed addresses are printed. */
async function push(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<CommandResult> {
  const result = await trial.dimo(['push', ...args], { HF_ENDPOINT: hub.endpoint, HF_TOKEN: token, ...env });
  expect(result.stdout + result.stderr).not.toMatch(/canary|signature/i);
  for (const { server, headers } of hub.requests)
    expect(headers.authorization).toBe(server === 'hub' ? `Bearer ${token}` : undefined);
  return result;
}

async function succeed(args: readonly string[], env?: Readonly<Record<string, string>>): Promise<string> {
  const { code, stdout, stderr } = await push(args, env);
  expect(code, stdout + stderr).toBe(0);
  return stdout;
}

const names = ['README.md', 'config.json', 'decoder.safetensors', 'model.safetensors'];

async function expectPublished(prefix = ''): Promise<void> {
  for (const name of names)
    expect(hub.files.get(prefix + name)?.equals(await readFile(at('model', name))), name).toBe(true);
}

describe('a push', { timeout: 60_000 }, () => {
  it('lists what it sends, sends large files to the store, and makes one commit', async () => {
    const stdout = await succeed([at('model'), target, '--message', 'First']);
    for (const name of names) expect(stdout).toContain(name);
    await expectPublished();
    expect(hub.commits).toEqual([expect.objectContaining({ summary: 'First', paths: names })]);
    expect(hub.puts().map(({ path }) => path.split('/')[1])).toEqual(['whole', 'whole']);
    expect(hub.requests.some(({ path }) => path === '/verify')).toBe(true);
  });

  it('sends in parts where the store asks for it', async () => {
    hub.partBytes = 100_000;
    await succeed([at('model'), target, '--quiet']);
    await expectPublished();
    expect(hub.puts().length).toBeGreaterThan(4);
  });

  it('a second time sends and commits nothing; then only what has changed', async () => {
    await succeed([at('model'), target]);
    hub.requests.length = 0;
    expect(await succeed([at('model'), target])).toContain('has all of it already');
    expect(hub.requests.map(({ method }) => method)).toEqual(['GET', 'GET']);
    await writeFile(at('model', 'README.md'), '# Another\n');
    await succeed([at('model'), target]);
    expect(hub.commits.map(({ paths }) => paths)).toEqual([names, ['README.md']]);
    expect(hub.puts()).toEqual([]);
  });

  it('content that the store has already is named in the commit, not sent', async () => {
    const weights = await readFile(at('model', 'model.safetensors'));
    hub.store.set(sha256(weights), weights);
    const { files } = JSON.parse(await succeed([at('model'), target, '--json'])) as {
      files: { path: string; state: string }[];
    };
    expect(Object.fromEntries(files.map(({ path, state }) => [path, state]))).toEqual({
      'README.md': 'sent',
      'config.json': 'sent',
      'decoder.safetensors': 'sent',
      'model.safetensors': 'stored',
    });
    expect(hub.puts()).toHaveLength(1);
  });

  it('into a folder of a repository', async () => {
    await succeed([at('model'), `${target}/one/step`]);
    await expectPublished('one/step/');
  });

  it('--dry-run asks no hub for anything', async () => {
    await hub.close();
    const stdout = await succeed([at('model'), target, '--dry-run'], { HF_TOKEN: '' });
    for (const name of names) expect(stdout).toContain(name);
    const listed = JSON.parse(await succeed([at('model'), target, '--dry-run', '--json'])) as object;
    expect(listed).toMatchObject({ dryRun: true, repository: target, kind: 'generator', leftOut: [] });
    expect(hub.requests).toEqual([]);
  });

  it('--create makes the repository, --private a private one, and neither changes one that is there', async () => {
    hub.repository = undefined;
    const { code, stderr } = await push([at('model'), target]);
    expect([code, stderr]).toEqual([2, expect.stringContaining('--create')]);
    await succeed([at('model'), target, '--create', '--private']);
    expect(hub.repository).toEqual({ isPrivate: true });
    await writeFile(at('model', 'README.md'), '# Another\n');
    await succeed([at('model'), target, '--create', '--private']);
    expect(hub.commits).toHaveLength(2);
    hub.repository = { isPrivate: false };
    const refused = await push([at('model'), target, '--create', '--private']);
    expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining('not private')]);
    expect((await push([at('model'), target, '--private'])).stderr).toContain('no effect without --create');
  });
});

describe('what is published', { timeout: 60_000 }, () => {
  it('is the files that the model is read from and what is said about it; the rest is listed and stays', async () => {
    for (const name of ['credentials.json', 'notes.txt', 'state.ckpt']) await writeFile(at('model', name), '{}');
    await mkdir(at('model', 'checkpoints'));
    await writeFile(at('model', 'checkpoints', 'optimizer.safetensors'), '');
    await writeFile(at('model', '.env'), 'TOKEN=1');
    await writeFile(at('model', 'LICENSE'), 'Apache');
    const { leftOut } = JSON.parse(await succeed([at('model'), target, '--json'])) as { leftOut: string[] };
    expect(leftOut).toEqual(['checkpoints/optimizer.safetensors', 'credentials.json', 'notes.txt', 'state.ckpt']);
    expect([...hub.files.keys()].sort()).toEqual(['LICENSE', ...names]);
  });

  it('of a run is its result', async () => {
    await mkdir(at('run', 'checkpoints'), { recursive: true });
    await writeFile(at('run', 'config.yaml'), 'seed: 1\n');
    await cp(at('model'), at('run', 'generator'), { recursive: true });
    await succeed([at('run'), target]);
    await expectPublished();
  });

  it.each([
    ['a token', 'README.md', `# Model\nHF_TOKEN=hf_${'a1'.repeat(17)}\n`],
    ['the token of this session', 'README.md', `# Model\n${token}\n`],
    ['a private key', 'LICENSE', '-----BEGIN OPENSSH PRIVATE KEY-----\n'],
  ])('holds no secret: %s is refused before anything is sent', async (_what, name, content) => {
    await writeFile(at('model', name), content);
    const { code, stderr } = await push([at('model'), target]);
    expect([code, stderr]).toEqual([2, expect.stringContaining('looks like a token or a private key')]);
    expect(hub.requests).toEqual([]);
  });

  it.each([
    ['no folder', 'absent', 'there is no folder'],
    ['no model', 'empty', 'is no model that is known here'],
    ['an import', 'imported', 'is an import'],
    ['damaged weights', 'damaged', 'damaged'],
  ])('%s is refused before anything is sent', async (_what, name, message) => {
    await mkdir(at('empty'));
    await writeFile(at('empty', 'notes.txt'), '');
    await mkdir(at('imported'));
    const imported = { format: 'dimo-import', version: 1, kind: 'generator', source: at('model') };
    await writeFile(at('imported', 'dimo.json'), JSON.stringify(imported));
    await cp(at('model'), at('damaged'), { recursive: true });
    await writeFile(at('damaged', 'model.safetensors'), randomBytes(1000, 1));
    const { code, stderr } = await push([at(name), target]);
    expect([code, stderr]).toEqual([2, expect.stringContaining(message)]);
    expect(hub.requests).toEqual([]);
  });

  it('a link that leads out of the folder is refused', async () => {
    await writeFile(at('secret.md'), 'secret');
    await rm(at('model', 'README.md'));
    await symlink(at('secret.md'), at('model', 'README.md'));
    const { code, stderr } = await push([at('model'), target]);
    expect([code, stderr]).toEqual([2, expect.stringContaining('leads out')]);
    expect(hub.requests).toEqual([]);
  });
});

describe('refusals are told in one paragraph, and nothing is committed', { timeout: 60_000 }, () => {
  it.each([
    [400, '/commit/main', 'YAML'],
    [401, '/revision/main', 'token'],
    [401, '/preupload/main', 'hf auth login'],
    [403, '/preupload/main', 'right to write'],
    [404, '/commit/main', '--create'],
    [409, '/commit/main', 'another change is in the way'],
    [412, '/commit/main', 'somebody else changed the repository'],
    [413, '/objects/batch', 'takes no files or accounts of this size'],
    [422, '/commit/main', 'first lines'],
  ])('status %i of %s', async (status, path, hint) => {
    hub.fault = (request) => (request.path.endsWith(path) ? { status, body: { error: 'because of me' } } : undefined);
    const { code, stderr } = await push([at('model'), target, '--quiet']);
    expect(code, stderr).toBe(2);
    const lines = stderr.trim().split('\n');
    expect(lines).toHaveLength(2);
    expect(lines[0]).toMatch(new RegExp(`^error: .*status ${status}`));
    if (path !== '/revision/main') expect(lines[0]).toContain('because of me');
    expect(lines[1]).toContain(hint);
    expect(hub.commits).toEqual([]);
  });

  it('a wrong token that the hub repeats is not shown', async () => {
    const { stderr, code } = await trial.dimo(['push', at('model'), target, '--create'], {
      HF_ENDPOINT: hub.endpoint,
      HF_TOKEN: 'hf_wrongCanary',
    });
    expect([code, stderr]).toEqual([2, expect.stringContaining('Invalid user token Bearer ***')]);
    expect(stderr).not.toMatch(/canary/i);
  });

  it('no token, off line, a commit, a file that the repository ignores', async () => {
    expect((await push([at('model'), target], { HF_TOKEN: '' })).stderr).toContain('a token is needed');
    expect((await push([at('model'), target], { HF_HUB_OFFLINE: '1' })).stderr).toContain('HF_HUB_OFFLINE');
    expect((await push([at('model'), `${target}@${'a'.repeat(40)}`])).stderr).toContain('names a commit');
    expect(hub.requests).toEqual([]);
    hub.gitignored = ['config.json'];
    expect((await push([at('model'), target])).stderr).toContain('.gitignore leaves out config.json');
    expect(hub.commits).toEqual([]);
  });

  it.each([
    [302, '/commit/main'],
    [307, '/commit/main'],
    [307, '/objects/batch'],
  ])('a redirect %i of %s to another host is not followed', async (status, path) => {
    hub.fault = (request) =>
      request.path.endsWith(path) ? { status, headers: { location: `${hub.storeEndpoint}/steal` } } : undefined;
    const { code, stderr } = await push([at('model'), target]);
    expect([code, stderr]).toEqual([1, expect.stringContaining('redirects what is sent to')]);
    expect(hub.requests.some((request) => request.path === '/steal')).toBe(false);
    expect(hub.commits).toEqual([]);
  });
});

describe('a stop', { timeout: 60_000 }, () => {
  it.skipIf(process.platform === 'win32')(
    'Ctrl-C in a terminal: one paragraph, exit 130, nothing committed',
    async () => {
      hub.fault = ({ method }) => (method === 'PUT' ? { stall: true } : undefined);
      const running = startDimo(['push', at('model'), target], {
        env: { HF_ENDPOINT: hub.endpoint, HF_TOKEN: token, HF_HOME: at('hf') },
      });
      while (hub.puts().length === 0 && running.process.exitCode === null)
        await new Promise((resolve) => setTimeout(resolve, 20));
      running.process.kill('SIGINT');
      const { code, stderr, stdout } = await running.ended;
      expect([code, stderr]).toEqual([130, expect.stringContaining('the transfer was stopped')]);
      expect(stdout + stderr).not.toMatch(/canary|signature/i);
      expect(hub.commits).toEqual([]);
    },
  );
});
