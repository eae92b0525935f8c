import {
  DimoError,
  float32,
  loadLatestCheckpoint,
  saveCheckpoint,
  sha256Hex,
  type CheckpointIdentity,
} from '@dimo/core';
import { mkdir, mkdtemp, open, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { folderCheckpointStore, openRunFolder } from './checkpoint-folder.js';
import { openFileChecked, readFileChecked, syncFolder, writeFileAtomically, writeFileDurably } from './files.js';
import { ioError } from './io-error.js';
import { acquireRunLock } from './run-lock.js';
import { sha256OfContent, sha256OfFile } from './sha256.js';
import { folderWeightSource } from './weight-folder.js';

let folder: string;
beforeEach(async () => void (folder = await mkdtemp(join(tmpdir(), 'dimo-storage-'))));
afterEach(async () => {
  vi.restoreAllMocks();
  await rm(folder, { recursive: true, force: true });
});

const identity: CheckpointIdentity = { config: {}, seed: 1, engine: 'onnx', version: '0.1.0' };

/** A process number that no process has: above the largest that Linux gives. */
const deadPid = 2 ** 22 + 1;

async function failure(promise: Promise<unknown>): Promise<DimoError> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!DimoError.isInstance(error)) throw new Error(`expected a DimoError, got ${String(error)}`);
  return error;
}

describe('files', () => {
  it('are flushed, the folder too, before a checkpoint is announced', async () => {
    const handle = await open(join(folder, 'x'), 'w');
    const sync = vi.spyOn(Object.getPrototypeOf(handle) as { sync(): Promise<void> }, 'sync');
    await handle.close();
    await writeFileDurably(join(folder, 'x'), new Uint8Array(3));
    expect(sync).toHaveBeenCalledTimes(1);
    await syncFolder(folder);
    expect(sync).toHaveBeenCalledTimes(2);
    const store = folderCheckpointStore(join(folder, 'checkpoints'));
    await store.makeFolder('');
    await saveCheckpoint(store, { step: 1, groups: { ema: { w: float32([1]) } }, state: null, identity });
    // ema, state.json, temporary folder, parent folder, latest, parent folder
    expect(sync).toHaveBeenCalledTimes(8);
  });

  it('are read only if they are files of an allowed size that do not change', async () => {
    await writeFile(join(folder, 'x'), new Uint8Array(10));
    expect(await readFileChecked(join(folder, 'x'), 10)).toEqual(new Uint8Array(10));
    expect((await failure(readFileChecked(join(folder, 'x'), 9))).message).toMatch(/10 bytes, at most 9/);
    expect((await failure(readFileChecked(folder))).code).toBe('io');
    expect((await failure(readFileChecked(join(folder, 'absent')))).message).toMatch(/ENOENT/);
  });

  it('are read in parts, and say so when they are cut or change', async () => {
    const path = join(folder, 'parts');
    await writeFile(path, Uint8Array.of(0, 1, 2, 3, 4, 5));
    const file = await openFileChecked(path);
    expect(file.length).toBe(6);
    expect([...(await file.read(2, 5))]).toEqual([2, 3, 4]);
    expect([...(await file.read(3, 3))]).toEqual([]);
    await writeFile(path, Uint8Array.of(9, 9));
    expect([...(await file.read(0, 2))]).toEqual([9, 9]);
    expect((await failure(file.close())).message).toMatch(/changed while being read/);
    const cut = await openFileChecked(path);
    expect((await failure(cut.read(0, 6))).message).toMatch(/cut at 2 of 6 bytes/);
    await cut.close();
    expect((await failure(openFileChecked(folder))).message).toMatch(/not a regular file/);
  });

  it('are written part by part, and not at all where a part cannot be made', async () => {
    async function* parts(last: () => Uint8Array) {
      yield Uint8Array.of(1, 2);
      await Promise.resolve();
      yield last();
    }
    const path = join(folder, 'stream');
    await writeFileAtomically(path, { length: 3, parts: () => parts(() => Uint8Array.of(3)) });
    expect([...(await readFile(path))]).toEqual([1, 2, 3]);
    const lost = new DimoError('device', 'the device is lost', { cause: new Error('as the driver says') });
    const fail = (): never => {
      throw lost;
    };
    expect(await failure(writeFileAtomically(path, { length: 3, parts: () => parts(fail) }))).toBe(lost);
    expect(await failure(writeFileDurably(join(folder, 'other'), { length: 3, parts: () => parts(fail) }))).toBe(lost);
    expect(await readdir(folder)).toEqual(['stream']);
    expect([...(await readFile(path))]).toEqual([1, 2, 3]);
  });

  it('have the same SHA-256 as a whole and in parts', async () => {
    const bytes = Uint8Array.from({ length: 2 ** 22 + 5 }, (_, i) => i * 7);
    const expected = await sha256Hex(bytes);
    async function* halves() {
      yield bytes.subarray(0, 1001);
      await Promise.resolve();
      yield bytes.subarray(1001);
    }
    await writeFile(join(folder, 'x'), bytes);
    expect(await sha256OfContent(bytes)).toBe(expected);
    expect(await sha256OfContent({ length: bytes.length, parts: halves })).toBe(expected);
    expect(await sha256OfFile(join(folder, 'x'))).toBe(expected);
  });

  it('say what is needed when the disk is full', async () => {
    const error = ioError(Object.assign(new Error(), { code: 'ENOSPC' }), 'write', join(folder, 'x'), 1000);
    expect(error.message).toMatch(/1000 bytes are needed, \d+ are free/);
  });
});

describe('openRunFolder', () => {
  it('saves and loads checkpoints, and leaves nothing of the probe', async () => {
    const run = await openRunFolder(join(folder, 'runs', 'größe 1'));
    const groups = { ema: { w: float32([2], [1, 2]) } };
    await saveCheckpoint(run.checkpoints, { step: 4, groups, state: { a: 1 }, identity });
    expect((await readdir(join(run.path, 'checkpoints'))).sort()).toEqual(['latest', 'step-4']);
    const loaded = await loadLatestCheckpoint(run.checkpoints, { identity });
    expect({ ...loaded?.groups['ema'] }).toEqual(groups.ema);
    await run.release();
  });

  it.skipIf(process.platform !== 'linux')('tries to write where checkpoints go, whoever asks', async () => {
    const run = await mkdtemp(join(tmpdir(), 'dimo-probe-'));
    await symlink('/proc/self/fdinfo', join(run, 'checkpoints')); // a folder that takes no files, not even root's
    await expect(openRunFolder(run)).rejects.toMatchObject({ code: 'io' });
    await rm(run, { recursive: true });
  });

  it('refuses folders that cannot be written, before any work', async () => {
    await writeFile(join(folder, 'file'), '');
    await symlink('loop', join(folder, 'loop'));
    for (const path of [
      join(folder, 'file'),
      join(folder, 'file', 'below'),
      join(folder, 'loop', 'below'),
      join(folder, 'x'.repeat(256)),
      join(folder, 'nul\0'),
      '/proc/dimo-cannot-write-here',
    ]) {
      const error = await failure(openRunFolder(path));
      expect([path, error.code]).toEqual([path, 'io']);
      expect(error.hint).toBeTruthy();
    }
  });
});

describe('acquireRunLock', () => {
  it('names process, host and age of the owner, and can be had again after release', async () => {
    const first = await acquireRunLock(folder);
    const error = await failure(acquireRunLock(folder));
    expect(error.code).toBe('locked');
    expect(error.message).toMatch(new RegExp(`process ${process.pid} on .*, since \\d+ s$`));
    expect(error.message).toContain(hostname());
    await first.release();
    const second = await acquireRunLock(folder);
    await first.release(); // of no effect: it is not the owner any more
    expect((await failure(acquireRunLock(folder))).code).toBe('locked');
    await second.release();
    await (await acquireRunLock(folder)).release();
    expect(await readdir(join(folder, '.lock'))).toHaveLength(1);
  });

  const stale = { pid: deadPid, host: hostname(), start: '', since: '2024-01-01T00:00:00.000Z', released: false };
  it.each([
    ['a dead process', stale, true],
    [
      'a process whose number is used again',
      { ...stale, pid: process.pid, start: 'other-boot/1' },
      process.platform === 'linux',
    ],
    ['a process of another machine', { ...stale, host: 'elsewhere' }, false],
    ['nobody that can be told', { pid: 'x' }, false],
  ])('is taken over from %s as far as that is safe', async (_owner, content, isTaken) => {
    await mkdir(join(folder, '.lock'));
    await writeFile(join(folder, '.lock', '00000041'), JSON.stringify(content));
    const outcome = await acquireRunLock(folder).catch((error: unknown) => error);
    expect(DimoError.isInstance(outcome) ? outcome.code : 'taken').toBe(isTaken ? 'taken' : 'locked');
    if (isTaken) expect(await readdir(join(folder, '.lock'))).toEqual(['00000042']);
  });

  it('is not lost over a candidate file that cannot be read, as while another process writes it', async () => {
    await mkdir(join(folder, '.lock'));
    const candidate = join(folder, '.lock', `new-${process.pid}-unreadable`);
    await writeFile(candidate, 'x'.repeat(20_000)); // more than a lock may have: reading it is an error
    const lock = await acquireRunLock(folder);
    expect((await failure(acquireRunLock(folder))).code).toBe('locked');
    expect(await readdir(join(folder, '.lock'))).toContain(`new-${process.pid}-unreadable`);
    await lock.release();
  });
});

describe('numbers of locks', () => {
  const released = JSON.stringify({ pid: deadPid, host: hostname(), start: '', since: '', released: true });

  it('go on beyond eight digits, and still one process owns the run', async () => {
    await mkdir(join(folder, '.lock'));
    await writeFile(join(folder, '.lock', '99999999'), released);
    const lock = await acquireRunLock(folder);
    expect(await readdir(join(folder, '.lock'))).toEqual(['100000000']);
    expect((await failure(acquireRunLock(folder))).code).toBe('locked');
    await lock.release();
    await (await acquireRunLock(folder)).release();
    expect(await readdir(join(folder, '.lock'))).toEqual(['100000001']);
  });

  it('that are used up are said to be, and other spellings of a number are none', async () => {
    await mkdir(join(folder, '.lock'));
    await writeFile(join(folder, '.lock', '000000000000005'), released);
    await writeFile(join(folder, '.lock', '9'.repeat(16)), released);
    await (await acquireRunLock(folder)).release();
    expect(await readdir(join(folder, '.lock'))).toContain('00000001');
    await writeFile(join(folder, '.lock', '9'.repeat(15)), released);
    const error = await failure(acquireRunLock(folder));
    expect([error.code, error.message, error.hint]).toEqual([
      'io',
      expect.stringContaining('used up'),
      expect.stringContaining('.lock'),
    ]);
  });
});

describe('folderWeightSource', () => {
  it('lists and reads files, also in subfolders and by URL', async () => {
    const root = join(folder, 'a b#c');
    await mkdir(join(root, 'sub'), { recursive: true });
    await writeFile(join(root, 'model.safetensors'), 'abc');
    await writeFile(join(root, 'sub', 'config.json'), '{}');
    await symlink(join(root, 'model.safetensors'), join(root, 'link'));
    for (const source of [
      folderWeightSource(root),
      folderWeightSource(pathToFileURL(root)),
      folderWeightSource(pathToFileURL(root).href),
    ]) {
      expect(await source.list()).toEqual(['link', 'model.safetensors', 'sub/config.json']);
      expect(Buffer.from(await source.read('link')).toString()).toBe('abc');
      expect(Buffer.from(await source.read('sub/config.json')).toString()).toBe('{}');
    }
    expect((await failure(folderWeightSource(root).read('absent'))).code).toBe('io');
    expect((await failure(folderWeightSource(root).open!('absent'))).code).toBe('io');
  });

  it.each(['100% sure', '%41', 'a b', 'Käse-🎲', '-x', 'a#b?c'])('takes a folder called %j as it is', async (name) => {
    const parent = await mkdtemp(join(tmpdir(), 'dimo-names-'));
    await mkdir(join(parent, name));
    await writeFile(join(parent, name, 'x'), 'y');
    expect(await folderWeightSource(join(parent, name)).list()).toEqual(['x']);
    await rm(parent, { recursive: true });
  });

  it('refuses every name that leads out of the folder', async () => {
    const root = join(folder, 'weights');
    await mkdir(join(root, 'sub'), { recursive: true });
    await mkdir(join(folder, 'weights-2'));
    for (const path of ['secret', 'weights-2/secret']) await writeFile(join(folder, path), 'secret');
    await symlink('../secret', join(root, 'link'));
    await symlink(folder, join(root, 'up'));
    await symlink('../weights-2/secret', join(root, 'sibling'));
    const source = folderWeightSource(root);
    for (const name of [
      '../secret',
      '../absent',
      'sub/../../secret',
      join(folder, 'secret'),
      'C:\\secret',
      'C:secret',
      '..\\secret',
      'link',
      '../secret',
      '../absent',
      'sibling',
      'sub//../../secret',
      './x',
      '',
      '.',
      'x\0',
    ]) {
      const error = await failure(source.read(name));
      expect([name, error.code]).toEqual([name, 'io']);
      expect([name, (await failure(source.open!(name))).message]).toEqual([name, error.message]);
      expect(error.message).not.toMatch(/ENOENT/);
    }
    expect(await readFile(join(folder, 'secret'), 'utf8')).toBe('secret');
  });
});
