/**
 * Laws: what is saved is loaded, bit for bit; a power cut after any operation leaves the old or the new checkpoint,
 * whatever unsynchronised operations reached the disk; a run of another identity is refused with the differences.
 */
import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { CheckpointError, DimoError } from '../errors.js';
import { randomStream } from '../random/random.js';
import { float32, int32, specsOf, type HostTree } from '../tensors/tensors.js';
import type { CheckpointIdentity } from './checkpoint-manifest.js';
import { contentParts } from './byte-stream.js';
import type { CheckpointStore } from './checkpoint-store.js';
import {
  cleanCheckpoints,
  listCheckpoints,
  loadCheckpoint,
  loadLatestCheckpoint,
  openLatestCheckpoint,
  saveCheckpoint,
  type Checkpoint,
  type LoadedCheckpoint,
} from './checkpoint.js';
import { bytesAsWeightFile } from './weight-source.js';
import { treeDifference } from './weights.js';

const identity: CheckpointIdentity = {
  config: { optimizer: { learningRate: 1e-4, betas: [0.9, 0.999] }, teacher: 'maskgit' },
  seed: 7,
  engine: 'onnx',
  version: '0.1.0',
};

function checkpointAt(step: number): Omit<LoadedCheckpoint, 'name'> {
  const generator: HostTree = { w: float32([3], [step, -0, 1 / 3]) };
  const optimizer: HostTree = { 'm/w': float32([3], [1, 2, step]), count: int32([], [step]) };
  return { step, groups: { generator, optimizer }, state: { updates: step, note: 'ok' }, identity };
}

type Inode = { readonly kind: 'file'; bytes: Uint8Array } | { readonly kind: 'folder'; entries: Map<string, Inode> };
type Folder = Extract<Inode, { kind: 'folder' }>;
type Change = { readonly folder: Folder; readonly apply: (entries: Map<string, Inode>) => void };
/** One step that a power cut can come after: a change of names, file content, or a flush of a folder's names. */
type LogEntry =
  | ({ readonly kind: 'names' } & Change)
  | { readonly kind: 'data'; readonly file: Inode; readonly bytes: Uint8Array }
  | { readonly kind: 'sync'; readonly folder: Folder };

/** A disk in memory that records every step. */
function memoryStore(
  root: Folder = { kind: 'folder', entries: new Map() },
  processId = 1,
): { store: CheckpointStore; root: Folder; log: LogEntry[] } {
  const log: LogEntry[] = [];
  const absent = (path: string): DimoError => new DimoError('io', `${path} is absent`);
  const folderAt = (path: string): Folder | undefined => {
    let folder: Inode | undefined = root;
    for (const name of path.split('/').filter(Boolean))
      folder = folder?.kind === 'folder' ? folder.entries.get(name) : undefined;
    return folder?.kind === 'folder' ? folder : undefined;
  };
  const split = (path: string): [Folder, string] => {
    const at = path.lastIndexOf('/');
    const folder = folderAt(path.slice(0, Math.max(at, 0)));
    if (folder === undefined) throw absent(path);
    return [folder, path.slice(at + 1)];
  };
  const change = (folder: Folder, apply: (entries: Map<string, Inode>) => void): void => {
    apply(folder.entries);
    log.push({ kind: 'names', folder, apply });
  };
  const removeEntry = (folder: Folder, name: string): void => {
    const inode = folder.entries.get(name);
    if (inode?.kind === 'folder') for (const inner of [...inode.entries.keys()]) removeEntry(inode, inner);
    if (inode !== undefined) change(folder, (entries) => entries.delete(name));
  };
  const store: CheckpointStore = {
    location: 'memory',
    processId,
    isProcessAlive: (id) => id === 1,
    list: async (path) => [...(folderAt(path)?.entries.keys() ?? [])],
    makeFolder: async (path) => {
      const [folder, name] = split(path);
      const made: Folder = { kind: 'folder', entries: new Map() };
      change(folder, (entries) => entries.set(name, made));
    },
    writeFile: async (path, content) => {
      const [folder, name] = split(path);
      const file: Inode = { kind: 'file', bytes: new Uint8Array() };
      change(folder, (entries) => entries.set(name, file));
      for await (const part of contentParts(content)) {
        const before = file.bytes;
        for (const length of [Math.floor(part.length / 2), part.length]) {
          file.bytes = Uint8Array.from([...before, ...part.subarray(0, length)]);
          log.push({ kind: 'data', file, bytes: file.bytes });
        }
      }
    },
    readFile: async (path, maximumBytes) => {
      const [folder, name] = split(path);
      const file = folder.entries.get(name);
      if (file?.kind !== 'file' || file.bytes.length > maximumBytes) throw absent(path);
      return file.bytes;
    },
    openFile: async (path) => bytesAsWeightFile(await store.readFile(path, Infinity)),
    sha256: () => {
      const hash = createHash('sha256');
      return { update: (bytes) => void hash.update(bytes), digest: () => hash.digest('hex') };
    },
    syncFolder: async (path) => {
      const folder = folderAt(path);
      if (folder === undefined) throw absent(path);
      log.push({ kind: 'sync', folder });
    },
    rename: async (from, to) => {
      const [folder, name] = split(from);
      const inode = folder.entries.get(name);
      const replaced = folder.entries.get(to);
      if (inode === undefined) throw absent(from);
      if (replaced?.kind === 'folder' && replaced.entries.size > 0) throw new DimoError('io', `${to} is not empty`);
      change(folder, (entries) => {
        entries.delete(name);
        entries.set(to, inode);
      });
    },
    remove: async (path) => {
      const [folder, name] = split(path);
      removeEntry(folder, name);
    },
  };
  return { store, root, log };
}

/** The disk after a power cut: flushed steps are there, the others only if `survives` says so. */
function afterPowerCut(root: Folder, log: readonly LogEntry[], survives: () => boolean): Folder {
  const copies = new Map<Inode, Inode>();
  const copyOf = (inode: Inode): Inode => {
    let copy = copies.get(inode);
    if (copy === undefined) {
      copy =
        inode.kind === 'folder' ? { kind: 'folder', entries: new Map() } : { kind: 'file', bytes: new Uint8Array() };
      copies.set(inode, copy);
    }
    return copy;
  };
  log.forEach((entry, index) => {
    if (entry.kind === 'data') {
      (copyOf(entry.file) as { bytes: Uint8Array }).bytes = entry.bytes;
    } else if (entry.kind === 'names') {
      const flushed = log.slice(index + 1).some((later) => later.kind === 'sync' && later.folder === entry.folder);
      if (!flushed && !survives()) return;
      // The change speaks of original inodes: apply it to a table of those, then translate.
      const folder = copyOf(entry.folder) as Folder;
      const table = new Map([...folder.entries].map(([name, copy]) => [name, originalOf(copy)]));
      entry.apply(table);
      folder.entries = new Map([...table].map(([name, inode]) => [name, copyOf(inode)]));
    }
  });
  return copyOf(root) as Folder;

  function originalOf(copy: Inode): Inode {
    for (const [original, candidate] of copies) if (candidate === copy) return original;
    throw new Error('unknown inode');
  }
}

describe('saveCheckpoint and loadLatestCheckpoint', () => {
  it('give back what was saved, newest first, and keep three and the milestones', async () => {
    const { store } = memoryStore();
    expect(await loadLatestCheckpoint(store, { identity })).toBeUndefined();
    for (let step = 1; step <= 6; step++) await saveCheckpoint(store, checkpointAt(step), { milestones: [2] });
    expect(await listCheckpoints(store)).toEqual(['step-6', 'step-5', 'step-4', 'step-2']);
    expect([...(await store.list(''))].filter((name) => name.startsWith('tmp'))).toEqual([]);
    expect(new TextDecoder().decode(await store.readFile('latest', 100))).toBe('step-6\n');
    const loaded = await loadLatestCheckpoint(store, { identity });
    expect(loaded?.name).toBe('step-6');
    expect(loaded?.state).toEqual({ updates: 6, note: 'ok' });
    expect(loaded?.identity).toEqual({ ...identity, dtype: 'float32', ranks: 1 });
    for (const [group, tree] of Object.entries(checkpointAt(6).groups))
      expect(treeDifference(tree, loaded?.groups[group] ?? {})).toBeUndefined();
    expect((await loadCheckpoint(store, 'step-4')).step).toBe(4);
    await expect(loadCheckpoint(store, '../step-4')).rejects.toThrow(CheckpointError);
  });

  it('can be opened instead: verified, read tensor by tensor, and closed, also where it is refused', async () => {
    const { store } = memoryStore();
    for (const step of [1, 2]) await saveCheckpoint(store, checkpointAt(step));
    const file = await store.readFile('step-2/optimizer.safetensors', 1e6);
    file[file.length - 1]! ^= 1;
    let numOpen = 0;
    const counting: CheckpointStore = {
      ...store,
      async openFile(path) {
        const opened = await store.openFile(path);
        numOpen++;
        return { ...opened, close: async () => void numOpen-- };
      },
    };
    const warnings: string[] = [];
    const opened = await openLatestCheckpoint(counting, { identity, onWarning: (line) => warnings.push(line) });
    expect(warnings).toEqual([expect.stringMatching(/step-2 was skipped: .*optimizer\.safetensors is damaged/)]);
    expect([opened!.name, numOpen]).toEqual(['step-1', 2]);
    const { generator, optimizer } = checkpointAt(1).groups;
    expect(opened!.groups['generator']!.specs).toEqual(specsOf(generator!));
    expect(await opened!.groups['optimizer']!.read(['count'])).toEqual({ count: optimizer!['count'] });
    await opened!.close();
    expect(numOpen).toBe(0);
    await expect(openLatestCheckpoint(counting, { identity: { ...identity, seed: 8 } })).rejects.toThrow(/seed/);
    expect(numOpen).toBe(0);
    expect(await openLatestCheckpoint(memoryStore().store)).toBeUndefined();
  });

  it('replaces a checkpoint of the same step and sorts steps as numbers', async () => {
    const { store } = memoryStore();
    for (const step of [9, 10]) await saveCheckpoint(store, checkpointAt(step));
    await saveCheckpoint(store, { ...checkpointAt(10), state: 'second' });
    expect(await listCheckpoints(store)).toEqual(['step-10', 'step-9']);
    expect((await loadLatestCheckpoint(store))?.state).toBe('second');
  });

  it('writes the same bytes for the same checkpoint', async () => {
    const [a, b] = [memoryStore(), memoryStore()];
    await saveCheckpoint(a.store, checkpointAt(3));
    await saveCheckpoint(b.store, { ...checkpointAt(3), state: { note: 'ok', updates: 3 } });
    expect(await b.store.readFile('step-3/state.json', 1e6)).toEqual(await a.store.readFile('step-3/state.json', 1e6));
  });

  it('leaves the old or the new checkpoint after a power cut at any point', async () => {
    const { store, root, log } = memoryStore();
    const savedAt: { step: number; operations: number }[] = [];
    const states = new Map<number, Set<string>>();
    const remember = (checkpoint: Checkpoint): Checkpoint => {
      const seen = states.get(checkpoint.step) ?? new Set();
      states.set(checkpoint.step, seen.add(JSON.stringify(checkpoint.state)));
      return checkpoint;
    };
    for (const step of [1, 2, 3, 4, 4, 5]) {
      await saveCheckpoint(store, remember({ ...checkpointAt(step), state: [step, savedAt.length] }), { keep: 2 });
      savedAt.push({ step, operations: log.length });
    }
    const stream = randomStream(20240711, 0, 'power-cut');
    const policies = [
      () => false,
      () => true,
      ...Array.from({ length: 4 }, () => () => (stream.uniform(1)[0] as number) < 0.5),
    ];
    let replays = 0;
    for (let length = 0; length <= log.length; length++)
      for (const survives of policies) {
        replays++;
        const disk = memoryStore(afterPowerCut(root, log.slice(0, length), survives), 99);
        const last = savedAt.filter(({ operations }) => operations <= length).at(-1)?.step ?? 0;
        const next = savedAt.find(({ operations }) => operations > length)?.step ?? last;
        await cleanCheckpoints(disk.store);
        const loaded =
          last === 0
            ? await loadLatestCheckpoint(disk.store).catch(() => undefined)
            : await loadLatestCheckpoint(disk.store);
        const step = loaded?.step ?? 0;
        if (step !== last && step !== next)
          expect.fail(`cut after ${length} operations: step ${step}, expected ${last} or ${next}`);
        const pointer = await disk.store.readFile('latest', 100).then(
          (bytes) => new TextDecoder().decode(bytes).trim(),
          () => undefined,
        );
        if (
          pointer !== undefined &&
          !(await listCheckpoints(disk.store)).some((name) => `${name}-`.startsWith(`${pointer}-`))
        )
          expect.fail(`cut after ${length} operations: latest names ${pointer}, which is not there`);
        if (loaded !== undefined) {
          expect(states.get(step)?.has(JSON.stringify(loaded.state))).toBe(true);
          expect(
            treeDifference(checkpointAt(step).groups['generator'] ?? {}, loaded.groups['generator'] ?? {}),
          ).toBeUndefined();
        }
      }
    expect(replays).toBeGreaterThan(500);
  });

  it('leaves everything as it was if a write fails, and cleans up after dead processes only', async () => {
    const { store, root } = memoryStore();
    await saveCheckpoint(store, checkpointAt(1));
    const failing: CheckpointStore = {
      ...store,
      writeFile: async (path, bytes) => {
        if (path.endsWith('optimizer.safetensors')) throw new DimoError('io', 'disk full');
        return store.writeFile(path, bytes);
      },
    };
    await expect(saveCheckpoint(failing, checkpointAt(2))).rejects.toThrow('disk full');
    expect([...(await store.list(''))].sort()).toEqual(['latest', 'step-1']);
    await store.makeFolder('tmp-2-1');
    await store.makeFolder('tmp-2-12345');
    expect(await cleanCheckpoints(memoryStore(root, 99).store)).toEqual(['tmp-2-12345']);
    expect(await cleanCheckpoints(store)).toEqual(['tmp-2-1']);
  });

  it('refuses steps, groups and values that it cannot keep', async () => {
    const { store } = memoryStore();
    const good = checkpointAt(1);
    await expect(saveCheckpoint(store, { ...good, step: 1.5 })).rejects.toThrow(/step must be an integer/);
    await expect(saveCheckpoint(store, { ...good, groups: { '../x': {} } })).rejects.toThrow(/name of a group/);
    await expect(saveCheckpoint(store, { ...good, state: { loss: NaN } })).rejects.toThrow(/"state.loss": NaN/);
    await expect(saveCheckpoint(store, { ...good, groups: { ema: { w: float32([1], [NaN]) } } })).rejects.toThrow(
      /NaN/,
    );
    expect(await store.list('')).toEqual([]);
  });
});

describe('the identity of a run', () => {
  const config = identity.config as Record<string, unknown>;
  it.each([
    ['engine', { ...identity, engine: 'wasm' }, /engine: saved "onnx", now "wasm"/],
    ['version', { ...identity, version: '0.2.0' }, /version: saved "0.1.0", now "0.2.0"/],
    ['seed', { ...identity, seed: 8 }, /seed: saved 7, now 8/],
    ['ranks', { ...identity, ranks: 2 }, /ranks: saved 1, now 2/],
    ['dtype', { ...identity, dtype: 'float16' }, /dtype: saved "float32", now "float16"/],
    [
      'config.optimizer',
      { ...identity, config: { ...config, optimizer: { learningRate: 2e-4, betas: [0.9, 0.95] } } },
      /config.optimizer.betas.1: saved 0.999, now 0.95\n {2}config.optimizer.learningRate: saved 0.0001, now 0.0002/,
    ],
    ['config.extra', { ...identity, config: { ...config, extra: true } }, /config.extra: saved absent, now true/],
  ])('refuses another %s unless it is overridden', async (key, current, message) => {
    const { store } = memoryStore();
    await saveCheckpoint(store, checkpointAt(1));
    await expect(loadLatestCheckpoint(store, { identity: current })).rejects.toThrow(message);
    await expect(loadLatestCheckpoint(store, { identity: current, override: ['configuration'] })).rejects.toThrow(
      message,
    );
    expect((await loadLatestCheckpoint(store, { identity: current, override: [key] }))?.step).toBe(1);
  });

  it('refuses to override what there is not, where nothing else is wrong', async () => {
    const { store } = memoryStore();
    await saveCheckpoint(store, checkpointAt(1));
    for (const key of ['configuration', 'config.optimizr', 'config.optimizer.betas.2', ''])
      await expect(loadLatestCheckpoint(store, { identity, override: ['seed', key] })).rejects.toMatchObject({
        code: 'option',
      });
    for (const key of ['config', 'config.optimizer.betas.1', 'ranks'])
      expect((await loadLatestCheckpoint(store, { identity, override: [key] }))?.step).toBe(1);
  });

  it('does not depend on the order of the keys', async () => {
    const { store } = memoryStore();
    await saveCheckpoint(store, checkpointAt(1));
    const reordered = { teacher: 'maskgit', optimizer: { betas: [0.9, 0.999], learningRate: 1e-4 } };
    expect((await loadLatestCheckpoint(store, { identity: { ...identity, config: reordered } }))?.step).toBe(1);
  });
});
