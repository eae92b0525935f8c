/** `dimo import` as a person runs it: folders, a hub on loopback, and what goes wrong with either. */
import { existsSync } from 'node:fs';
import { copyFile, cp, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { run } from '@dimo/cli';
import { readSafetensors, writeSafetensors } from '@dimo/core';
import { decode } from 'fast-png';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { fixtures } from '../parity/fixtures.js';
import { startHub, testCommit, type HubServer } from '../support/hub-server.js';
import { startDimo, type DimoResult } from '../support/run-dimo.js';

const preset = fileURLToPath(new URL('../../packages/presets/presets/mnist/', import.meta.url));
const canary = 'hf_canaryCanaryCanary';

let folder: string;
let hub: HubServer | undefined;
beforeEach(async () => void (folder = await mkdtemp(path.join(tmpdir(), 'dimo-import-'))));
afterEach(async () => {
  await hub?.close();
  hub = undefined;
  await rm(folder, { recursive: true, force: true });
});

const at = (...parts: string[]): string => path.join(folder, ...parts);

/** Runs a command in this process: starting one for each of them takes seconds. */
async function dimo(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<DimoResult> {
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const)
    vi.spyOn(process[name], 'write').mockImplementation((chunk) => ((output[name] += String(chunk)), true));
  const settings = { HF_HOME: at('hf'), HF_ENDPOINT: hub?.endpoint ?? 'http://127.0.0.1:9', HF_TOKEN: canary, ...env };
  for (const [name, value] of Object.entries(settings)) vi.stubEnv(name, value);
  try {
    const code = await run(args);
    expect(output.stdout + output.stderr).not.toMatch(/canary|signature=/i);
    return { code, signal: null, ...output };
  } finally {
    vi.unstubAllEnvs();
    vi.restoreAllMocks();
  }
}

async function succeed(args: readonly string[], env?: Readonly<Record<string, string>>): Promise<DimoResult> {
  const result = await dimo(args, env);
  expect(result.code, `${args.join(' ')}\n${result.stdout}${result.stderr}`).toBe(0);
  return result;
}

async function fails(args: readonly string[], env?: Readonly<Record<string, string>>): Promise<string> {
  const { code, stderr } = await dimo(args, env);
  expect(code, stderr).toBe(2);
  expect(stderr).not.toMatch(/^\s+at /m);
  return stderr;
}

const sampleFlags = ['--engine', 'cpu', '--count', '2', '--classes', '3,7', '--seed', '1', '--out'];

describe('from a hub', { timeout: 120_000 }, () => {
  const names = ['config.json', 'model.safetensors', 'decoder.safetensors'];

  beforeEach(async () => {
    const files = await Promise.all(
      names.map(async (name) => [`one-step/${name}`, await readFile(path.join(preset, 'generator', name))] as const),
    );
    hub = await startHub({ files: { ...Object.fromEntries(files), 'README.md': Buffer.from('# A model') } });
  });

  it('a generator is fetched into the cache and sampled by the folder that names it, off line too', async () => {
    const model = at('models', 'one-step');
    const { stdout } = await succeed(['import', 'hf:maker/model/one-step', '--out', model, '--json']);
    expect(JSON.parse(stdout)).toMatchObject({
      folder: model,
      kind: 'generator',
      source: `hf:maker/model/one-step@${testCommit}`,
    });
    expect(await readFile(path.join(model, 'dimo.json'), 'utf8')).not.toContain(canary);
    await hub!.close();
    await succeed(['sample', '--model', model, ...sampleFlags, at('a.png')]);
    await succeed(['sample', '--model', 'mnist', ...sampleFlags, at('b.png')]);
    const hubFlags = ['--model', 'hf:maker/model/one-step', '--engine', 'cpu', '--seed', '1'];
    await succeed(['sample', '3', '7', ...hubFlags, '--out', at('c.png')]);
    const [a, b, c] = await Promise.all(['a.png', 'b.png', 'c.png'].map((name) => readFile(at(name))));
    expect(a!.equals(b!) && a!.equals(c!)).toBe(true);
    await succeed(['import', 'hf:maker/model/one-step', '--out', at('again'), '--quiet'], { HF_HUB_OFFLINE: '1' });
    expect(await fails(['sample', '--model', at('again')], { HF_HOME: at('elsewhere') })).toContain(
      'is not in the cache',
    );
  });

  it('Ctrl-C keeps what has arrived, and the next run continues', async () => {
    hub!.fault = ({ seen, answer }) => {
      if (seen.server !== 'store' || seen.file !== 'one-step/model.safetensors') return false;
      answer({ stallAfter: 100_000 });
      return true;
    };
    const running = startDimo(['import', 'hf:maker/model/one-step'], {
      cwd: folder,
      env: { HF_HOME: at('hf'), HF_ENDPOINT: hub!.endpoint },
    });
    await running.printed('fetch ');
    // Until the bytes of the stalled answer have arrived.
    await vi.waitFor(async () => expect(await arrivedBytes()).toBe(100_000), { timeout: 30_000, interval: 50 });
    running.process.kill('SIGINT');
    const { code, stderr } = await running.ended;
    expect([code, stderr]).toEqual([130, expect.stringContaining('run the same command again to continue it')]);
    expect(existsSync(at('models'))).toBe(false);
    hub!.fault = undefined;
    hub!.requests.length = 0;
    await succeed(['import', 'hf:maker/model/one-step', '--out', at('models', 'one-step')]);
    expect(hub!.fetches().find(({ file }) => file?.endsWith('model.safetensors'))?.range).toBe('bytes=100000-');
  });

  /** Size of the file that is being fetched. */
  async function arrivedBytes(): Promise<number> {
    const parts = (await readdir(at('hf'), { recursive: true })).filter((name) => name.endsWith('content.part'));
    const sizes = await Promise.all(parts.map(async (name) => (await stat(at('hf', name))).size));
    return Math.max(0, ...sizes);
  }

  it('what is no model, or only pickled, is refused before anything is fetched', async () => {
    const other = ['import', 'hf:maker/model', '--out', at('out')];
    hub!.content = { files: { 'pytorch_model.bin': Buffer.alloc(1000), 'config.json': Buffer.from('{}') } };
    expect(await fails(other)).toMatch(/no model that is known here[^]*pickled/);
    expect(await fails(['import', 'hf:maker/model/absent'])).toContain('no such folder');
    expect(await fails(['import', 'hf:maker/other'])).toContain('status 404');
    expect(await fails(['import', 'hf:maker/../x'])).toContain('is not owner/repository');
    expect(await fails(other, { HF_HUB_OFFLINE: '1', HF_HOME: at('empty') })).toContain('not in the cache');
    expect(hub!.fetches().filter(({ file }) => file !== 'config.json')).toEqual([]);
    hub!.fault = ({ answer }) => (answer({ status: 401 }), true);
    expect(await fails(other)).toContain('the token may not read this repository');
  });

  it('a hub that is not there is a failure (1), not wrong usage', async () => {
    await hub!.close();
    const { code, stderr } = await dimo(['import', 'hf:maker/model', '--debug']);
    expect([code, stderr]).toEqual([1, expect.stringContaining('ECONNREFUSED (2 attempts)')]);
  });

  it('files that came with weights name no plugin', async () => {
    const config = JSON.parse(await readFile(path.join(preset, 'generator', 'config.json'), 'utf8')) as {
      teacher: { name: string };
    };
    config.teacher.name = '../evil.js';
    hub!.content = {
      files: { 'config.json': Buffer.from(JSON.stringify(config)), 'model.safetensors': Buffer.alloc(8) },
    };
    expect(await fails(['import', 'hf:maker/model', '--out', at('out')])).toContain('which no plugin provides');
    expect(existsSync(at('out'))).toBe(false);
  });
});

describe('Meissonic from a hub', { timeout: 120_000 }, () => {
  const release = path.join(fixtures, 'meissonic', 'tiny_release');

  /** The files of the release by name, with the transformer in two shards, and what is not to be fetched. */
  async function releaseFiles(): Promise<Record<string, Buffer>> {
    const files: Record<string, Buffer> = {
      'text_encoder/pytorch_model.bin': Buffer.alloc(10),
      'model.ckpt': Buffer.alloc(10),
    };
    for (const entry of await readdir(release, { recursive: true, withFileTypes: true })) {
      const file = path.join(entry.parentPath, entry.name);
      if (entry.isFile()) files[path.relative(release, file)] = await readFile(file);
    }
    const whole = 'transformer/diffusion_pytorch_model.safetensors';
    const { tensors } = readSafetensors(files[whole]!);
    delete files[whole];
    const names = Object.keys(tensors);
    const shards = [names.slice(0, 20), names.slice(20)];
    const shardName = (i: number): string => `diffusion_pytorch_model-0000${i + 1}-of-00002.safetensors`;
    const weightMap: Record<string, string> = {};
    for (const [i, shard] of shards.entries()) {
      const part = Object.fromEntries(shard.map((name) => [name, tensors[name]!]));
      files[`transformer/${shardName(i)}`] = Buffer.from(writeSafetensors(part));
      for (const name of shard) weightMap[name] = shardName(i);
    }
    const index = JSON.stringify({ metadata: {}, weight_map: weightMap });
    files[`${whole}.index.json`] = Buffer.from(index);
    return files;
  }

  it('the release is fetched in shards; a released generator takes decoder and text encoder from it', async () => {
    const files = await releaseFiles();
    hub = await startHub({ files });
    const imported = await succeed(['import', 'hf:maker/model', '--out', at('teacher'), '--json']);
    expect(JSON.parse(imported.stdout)).toMatchObject({
      kind: 'teacher',
      description: expect.stringMatching(/^Meissonic release/),
    });
    const fetched = new Set(hub.fetches().map(({ file }) => file));
    expect([...fetched].filter((name) => /\.(bin|ckpt)$/.test(name!))).toEqual([]);
    expect([...fetched].filter((name) => name!.startsWith('transformer/'))).toHaveLength(4);

    const own = Object.entries(files).filter(([name]) => name.startsWith('transformer/'));
    hub.content = {
      files: { ...files, ...Object.fromEntries(own.map(([name, bytes]) => [`one-step/${name}`, bytes])) },
    };
    const generator = ['import', 'hf:maker/model/one-step', '--out', at('generator')];
    expect(await fails(generator)).toMatch(/model alone[^]*--teacher/);
    expect(await fails([...generator, '--teacher', 'mnist'])).toContain('expected a teacher of the kind meissonic');
    await succeed([...generator, '--teacher', 'hf:maker/model']);
    const named = await readFile(at('generator', 'dimo.json'), 'utf8');
    await succeed([...generator, '--teacher', at('teacher')]);
    expect(await readFile(at('generator', 'dimo.json'), 'utf8')).toBe(named);
    await hub.close();
    const prompts = ['a red ball on a blue cube', 'a boat'];
    const flags = ['--model', at('generator'), '--engine', 'onnx', '--seed', '1', '--json'];
    const { stdout } = await succeed(['sample', ...prompts, ...flags, '--out', at('a.png')]);
    expect(JSON.parse(stdout)).toMatchObject({ count: 2, steps: 1 });
    expect(decode(await readFile(at('a.png'))).width).toBeGreaterThan(500);
    expect(await fails(['sample', '--model', at('generator'), '--engine', 'onnx'])).toContain('say what to generate');
  });
});

describe('from a folder', { timeout: 120_000 }, () => {
  it('one of ours is usable where it is', async () => {
    const { stdout } = await succeed(['import', path.join(preset, 'generator')]);
    expect(stdout).toContain('usable where it is');
    expect(await readdir(folder)).toEqual([]);
  });

  it('the public checkpoints of MaskGIT: sizes are read from the tensors', async () => {
    await mkdir(at('public'));
    const maskgit = path.join(fixtures, 'maskgit');
    await copyFile(path.join(maskgit, 'transformer-4x4', 'MaskGIT_tiny.pth'), at('public', 'MaskGIT_tiny.pth'));
    await copyFile(path.join(maskgit, 'vqgan-f2-ckpt', 'last.ckpt'), at('public', 'last.ckpt'));
    const { stdout } = await succeed(['import', at('public'), '--out', at('models', 'tiny')]);
    expect(stdout).toMatch(/public MaskGIT checkpoints, 4 x 4 tokens, \d+ classes/);
    const imported = JSON.parse(await readFile(at('models', 'tiny', 'dimo.json'), 'utf8')) as Record<string, unknown>;
    expect(imported).toMatchObject({ kind: 'teacher', source: at('public'), teacher: { name: 'maskgit' } });
    const flags = ['--engine', 'cpu', '--steps', '2', '--count', '2', '--out'];
    await succeed(['sample', '--teacher', at('models', 'tiny'), ...flags, at('a.png')]);
    await succeed(['sample', '--model', at('models', 'tiny'), ...flags, at('b.png')]);
    // A public layout needs no import where it is named itself.
    await succeed(['sample', '--teacher', at('public'), ...flags, at('c.png')]);
    const [a, b, c] = await Promise.all(['a.png', 'b.png', 'c.png'].map((name) => readFile(at(name))));
    expect(a!.equals(b!) && a!.equals(c!)).toBe(true);
    await rm(at('public'), { recursive: true });
    expect(await fails(['sample', '--model', at('models', 'tiny')])).toContain('there is no folder');
  });

  it('a snapshot in the cache of a hub, whose files are links', async () => {
    const model = at('models--maker--model');
    const snapshot = path.join(model, 'snapshots', testCommit);
    await mkdir(path.join(snapshot, 'one-step'), { recursive: true });
    await mkdir(path.join(model, 'blobs'));
    for (const name of await readdir(path.join(preset, 'generator'))) {
      await copyFile(path.join(preset, 'generator', name), path.join(model, 'blobs', name));
      await symlink(path.join('..', '..', '..', 'blobs', name), path.join(snapshot, 'one-step', name));
    }
    await succeed(['import', path.join(snapshot, 'one-step'), '--out', at('models', 'linked')]);
    await succeed(['sample', '--model', at('models', 'linked'), ...sampleFlags, at('a.png')]);
    // No further than the model's own folder.
    await writeFile(at('outside.json'), '{}');
    await rm(path.join(snapshot, 'one-step', 'config.json'));
    await symlink(at('outside.json'), path.join(snapshot, 'one-step', 'config.json'));
    expect(await fails(['import', path.join(snapshot, 'one-step')])).toMatch(/symbolic link/);
  });

  it('of several models names their folders, and of one part the folder above', async () => {
    const transformer = path.join(fixtures, 'meissonic', 'tiny_release', 'transformer');
    await cp(transformer, at('several', 'meissonic', 'transformer'), { recursive: true });
    await mkdir(at('several', 'pictures'));
    await writeFile(at('several', 'pictures', 'a.txt'), '');
    expect(await fails(['import', at('several')])).toMatch(/models are in its folders; name one of them: meissonic$/m);
    expect(await fails(['import', transformer])).toMatch(/one part of a model \(Transformer2DModel\)/);
  });

  it('what cannot be imported is said, and nothing is written', async () => {
    await mkdir(at('other'));
    await writeFile(at('other', 'weights.gguf'), '');
    expect(await fails(['import', at('other'), '--out', at('out')])).toContain('weights.gguf');
    expect(await fails(['import', at('absent')])).toContain('there is no folder');
    expect(await fails(['import', path.join(preset, 'generator'), '--out', at('other')])).toContain(
      'holds other files',
    );
    expect(await fails(['import', path.join(preset, 'generator'), '--teacher', 'mnist'])).toContain('--teacher is for');
    expect(existsSync(at('out'))).toBe(false);
  });

  it.each([
    ['no JSON', '{'],
    ['another format', '{"format": "x"}'],
    ['a newer version', '{"format": "dimo-import", "version": 2}'],
    ['no place', '{"format": "dimo-import", "version": 1, "kind": "teacher"}'],
    ['a place that is none', '{"format": "dimo-import", "version": 1, "kind": "teacher", "source": "hf:../x"}'],
    ['a folder that is gone', '{"format": "dimo-import", "version": 1, "kind": "generator", "source": "/gone/x"}'],
  ])('a damaged import: %s', async (_name, text) => {
    await mkdir(at('broken'));
    await writeFile(at('broken', 'dimo.json'), text);
    expect(await fails(['sample', '--model', at('broken')])).toContain('error:');
  });
});
