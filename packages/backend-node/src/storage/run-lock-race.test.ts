/** The one interleaving that chance does not produce: a process that decides on a listing that is long out of date. */
import { DimoError } from '@dimo/core';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { acquireRunLock, type RunLock } from './run-lock.js';

/** Runs once, just before the next `link`; the real `link` follows. */
const pause = vi.hoisted(() => ({ beforeLink: undefined as (() => Promise<void>) | undefined }));
vi.mock('node:fs/promises', async (importOriginal) => {
  const original = await importOriginal<typeof import('node:fs/promises')>();
  return {
    ...original,
    link: async (from: string, to: string) => {
      const callback = pause.beforeLink;
      pause.beforeLink = undefined;
      await callback?.();
      await original.link(from, to);
    },
  };
});

let folder: string;
beforeEach(async () => void (folder = await mkdtemp(join(tmpdir(), 'dimo-lock-'))));
afterEach(async () => rm(folder, { recursive: true, force: true }));

it('does not take a number that others have had and left, while the run has a later owner', async () => {
  const dead = { pid: 2 ** 22 + 1, host: hostname(), start: '', since: '2024-01-01T00:00:00Z', released: false };
  await mkdir(join(folder, '.lock'));
  await writeFile(join(folder, '.lock', '00000005'), JSON.stringify(dead));
  let owner: RunLock | undefined;
  pause.beforeLink = async () => {
    await (await acquireRunLock(folder)).release(); // has and leaves number 6, which is then removed
    owner = await acquireRunLock(folder); // owns the run under number 7
  };
  const outcome = await acquireRunLock(folder).catch((error: unknown) => error);
  expect(owner).toBeDefined();
  expect(DimoError.isInstance(outcome) && outcome.code).toBe('locked');
  expect(await readdir(join(folder, '.lock'))).toEqual(['00000007']);
});
