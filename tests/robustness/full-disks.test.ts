/**
 * Row B3: a disk that is full, failing, read-only, or a process out of file handles. Each call of the file system in a save
 * fails once, in five ways; a real small disk is filled to 50 different marks. The checkpoint from before is intact, what
 * was half written is gone, the message says what is needed and what to do, and the next save succeeds. A training that
 * meets it stops with its last good checkpoint named, and goes on from there to the same weights.
 */
import { folderCheckpointStore, writeFileAtomically, type RunFolder, openRunFolder } from '@dimo/backend-node';
import { run as runCommand } from '@dimo/cli';
import {
  DimoError,
  float32,
  loadLatestCheckpoint,
  randomStream,
  saveCheckpoint,
  type CheckpointIdentity,
  type HostTree,
} from '@dimo/core';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, statfs, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { withFault } from './fault-injection.js';

const identity: CheckpointIdentity = { config: { a: 1 }, seed: 1, engine: 'none', version: '0.1.0' };
/** Thousands of flushes: in memory, where the system has such a place. */
const fast = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
const codes = ['ENOSPC', 'EDQUOT', 'EIO', 'EMFILE', 'EROFS'];

let folder: string;
beforeAll(async () => void (folder = await mkdtemp(path.join(fast, 'dimo-full-'))));
afterAll(() => rm(folder, { recursive: true, force: true }));

const groupsAt = (step: number): Record<string, HostTree> => ({
  generator: { w: float32([5000], randomStream(1, step, 'generator').normal(5000)) },
  ema: { w: float32([5000], randomStream(1, step, 'ema').normal(5000)) },
});
const save = (run: RunFolder, step: number): Promise<string> =>
  saveCheckpoint(run.checkpoints, { step, groups: groupsAt(step), state: { step }, identity }, { keep: 2 });

/** The step that loads, with the content of that step and no warning. */
async function loadedStep(place: string): Promise<number> {
  const warnings: string[] = [];
  const loaded = await loadLatestCheckpoint(folderCheckpointStore(path.join(place, 'checkpoints')), {
    identity,
    onWarning: (line) => warnings.push(line),
  });
  expect(warnings).toEqual([]);
  for (const [group, tree] of Object.entries(groupsAt(loaded!.step)))
    expect(tree['w']!.data.every((value, i) => value === loaded!.groups[group]!['w']!.data[i])).toBe(true);
  return loaded!.step;
}

const leftovers = async (place: string): Promise<string[]> =>
  (await readdir(path.join(place, 'checkpoints'))).filter((name) => name.startsWith('tmp-'));

describe('a save', { timeout: 300_000 }, () => {
  it.each(codes)('whose calls fail with %s, each in turn', async (code) => {
    const root = path.join(folder, code);
    const messages = new Set<string>();
    let numCalls = 1;
    for (let at = 0; at <= numCalls; at++) {
      await rm(root, { recursive: true, force: true });
      const run = await openRunFolder(root);
      for (const step of [1, 2, 3]) await save(run, step);
      const report = await withFault({ root, at, code }, () => save(run, 4));
      if (at === 0) numCalls = report.numCalls;
      if (report.failed === undefined) continue;
      const where = `call ${at}, ${report.failed}`;
      expect(DimoError.isInstance(report.error), `${where}: ${String(report.error)}`).toBe(true);
      const { message, hint, code: kind } = report.error as DimoError;
      expect([kind, message], where).toEqual(['io', expect.stringContaining(code)]);
      expect(hint, where).toBeTruthy();
      messages.add(message);
      expect([3, 4], where).toContain(await loadedStep(root));
      // What remains of a checkpoint that was only to be deleted has no part in anything, and goes next time.
      const isTidying = await readdir(path.join(root, 'checkpoints', 'step-4')).catch(() => undefined);
      if (!isTidying) expect(await leftovers(root), where).toEqual([]);
      expect(await save(run, 5), where).toBe('step-5');
      expect(await loadedStep(root), where).toBe(5);
      await run.release();
      await (await openRunFolder(root)).release();
      expect(await leftovers(root), where).toEqual([]);
    }
    expect(numCalls).toBeGreaterThan(20);
    if (code === 'ENOSPC') expect([...messages].join('\n')).toMatch(/ENOSPC: [0-9]+ bytes are needed, [0-9]+ are free/);
    if (code === 'EDQUOT') expect([...messages].join('\n')).toMatch(/EDQUOT: [0-9]+ bytes are needed(?!,)/);
  });

  it('of any other file leaves the one from before, and nothing beside it', async () => {
    const root = path.join(folder, 'atomic');
    await mkdir(root);
    const file = path.join(root, 'report.html');
    let numCalls = 1;
    for (let at = 0; at <= numCalls; at++) {
      await writeFile(file, 'before');
      const report = await withFault({ root, at, code: 'ENOSPC' }, () => writeFileAtomically(file, 'x'.repeat(9000)));
      if (at === 0) numCalls = report.numCalls;
      if (report.failed === undefined) continue;
      expect(await readdir(root), report.failed).toEqual(['report.html']);
      expect(await readFile(file, 'utf8'), report.failed).toMatch(/^(before|x{9000})$/);
      expect((report.error as Error).message, report.failed).toContain(file);
    }
    expect(numCalls).toBeGreaterThan(4);
  });
});

const small = smallDisk();

/** A file system in memory; only root can mount one. */
function smallDisk(): { readonly path?: string; readonly reason: string } {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return { reason: 'only root can mount a small disk' };
  const place = path.join(tmpdir(), `dimo-small-disk-${process.pid}`);
  try {
    execFileSync('mkdir', ['-p', place]);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', place], { stdio: 'pipe' });
    return { path: place, reason: '' };
  } catch {
    return { reason: 'a small disk cannot be mounted here' };
  }
}

afterAll(() => {
  if (small.path) execFileSync('umount', [small.path]);
});

describe.skipIf(!small.path)(
  small.path ? 'a disk of a megabyte' : `a disk of a megabyte, skipped: ${small.reason}`,
  { timeout: 120_000 },
  () => {
    it('filled to 50 marks', async () => {
      let numFull = 0;
      for (let mark = 0; mark < 50; mark++) {
        const root = path.join(small.path!, 'run');
        for (const name of await readdir(small.path!))
          await rm(path.join(small.path!, name), { recursive: true, force: true });
        const run = await openRunFolder(root);
        for (const step of [1, 2]) await save(run, step);
        // Space for a little more with every mark, up to more than a checkpoint takes.
        const { bavail, bsize } = await statfs(small.path!);
        const free = Math.floor((mark * 65_536) / 50 / bsize) * bsize;
        await writeFile(path.join(small.path!, 'filler'), new Uint8Array(bavail * bsize - free));
        const error: unknown = await save(run, 3).then(
          () => undefined,
          (reason: unknown) => reason,
        );
        if (error === undefined) expect(await loadedStep(root)).toBe(3);
        else {
          numFull++;
          expect((error as DimoError).code).toBe('io');
          expect((error as DimoError).hint).toMatch(/free space/);
          expect([2, 3]).toContain(await loadedStep(root));
        }
        expect(await leftovers(root), `${free} bytes free`).toEqual([]);
        await rm(path.join(small.path!, 'filler'));
        await save(run, 4);
        expect(await loadedStep(root)).toBe(4);
        await run.release();
      }
      // Some marks are too low, and some are not.
      expect(numFull).toBeGreaterThan(10);
      expect(numFull).toBeLessThan(50);
    });

    it('is refused by a run that could not save once, before anything is made there', async () => {
      for (const name of await readdir(small.path!))
        await rm(path.join(small.path!, name), { recursive: true, force: true });
      const output: string[] = [];
      const spy = vi.spyOn(process.stderr, 'write').mockImplementation((chunk) => output.push(String(chunk)) > 0);
      const code = await runCommand(['distill', '--teacher', 'mnist', '--engine', 'onnx', '--runs', small.path!]);
      spy.mockRestore();
      expect(code).toBe(2);
      expect(output.join('')).toMatch(/could not be saved: a checkpoint has [0-9.]+ MB, [0-9.]+ (MB|kB) are free/);
      expect(await readdir(small.path!)).toEqual([]);
    });
  },
);

describe('a training', { timeout: 300_000 }, () => {
  it('that meets a full disk stops, says how to go on, and goes on to the same weights', async () => {
    process.chdir(fileURLToPath(new URL('..', import.meta.url)));
    const toy = ['--plugin', './support/toy-plugin.mjs'];
    const dimo = async (args: readonly string[]): Promise<{ code: number; output: string }> => {
      let output = '';
      const take = (chunk: string | Uint8Array): boolean => ((output += String(chunk)), true);
      const spies = [process.stdout, process.stderr].map((stream) =>
        vi.spyOn(stream, 'write').mockImplementation(take),
      );
      const code = await runCommand([...args]);
      for (const spy of spies) spy.mockRestore();
      return { code, output };
    };
    const distill = (name: string): Promise<{ code: number; output: string }> =>
      dimo([
        ...['distill', ...toy, '--teacher-plugin', 'toy', '--engine', 'cpu', '--batch', '4', '--steps', '6'],
        ...['--runs', folder, '--name', name, '--checkpoint-steps', '2', '-q'],
      ]);
    const weights = (name: string): Promise<Buffer> =>
      readFile(path.join(folder, name, 'generator', 'model.safetensors'));
    const root = path.join(folder, 'whole');
    const { numCalls, value } = await withFault({ root, at: 0, code: '' }, () => distill('whole'));
    expect(value!.code, value!.output).toBe(0);
    const saved = (output: string): string | undefined => /the last good checkpoint is (step-[0-9]+)/.exec(output)?.[1];
    const steps = new Set<string | undefined>();
    for (let part = 1; part <= 12; part++) {
      const name = `run-${part}`;
      const at = Math.floor((numCalls * part) / 13);
      const fault = { root: path.join(folder, name), at, code: codes[part % codes.length]! };
      const { failed, value: ended } = await withFault(fault, () => distill(name));
      const where = `call ${at} of ${numCalls}, ${failed}: ${ended?.output}`;
      // Tidying up is nobody's concern.
      if (ended!.code !== 0) expect(ended!.output, where).toContain(fault.code);
      expect([0, 1, 2], where).toContain(ended!.code);
      expect(ended!.output, where).not.toContain('unexpected failure');
      steps.add(saved(ended!.output));
      // Nothing had begun: there is nothing to continue, and the name is still free.
      const again =
        ended!.code === 2 ? await distill(name) : await dimo(['distill', ...toy, '--resume', fault.root, '-q']);
      expect(again.code, `${where}\n${again.output}`).toBe(0);
      expect((await weights(name)).equals(await weights('whole')), where).toBe(true);
      const left = (await readdir(fault.root, { recursive: true })).filter((entry) => entry.includes('tmp-'));
      expect(left, where).toEqual([]);
    }
    expect(steps.size).toBeGreaterThan(1);
  });
});
