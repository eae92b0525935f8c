/**
 * One process per run folder. The folder `.lock` holds numbered files; the highest number says who owns the run. A
 * process takes over by linking the next number, which only one process can do (`link` is atomic, on NFS too), and
 * owns the run if no higher number exists after that. The highest file is never removed, only marked as released or
 * superseded, so a slow process cannot resurrect an old number unseen.
 */
import { DimoError, escapeText } from '@dimo/core';
import { randomUUID } from 'node:crypto';
import { link, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { makeFolders, readFileChecked, writeFileDurably } from './files.js';
import { errorCode, isAbsentFile, withIoError } from './io-error.js';
import { pathInside } from './path-inside.js';
import { currentProcess, mayBeAlive, type ProcessIdentity } from './processes.js';

/** Ownership of a run folder. */
export interface RunLock {
  /** Gives the folder up; a second call does nothing. A killed process need not: its lock is recognised as stale. */
  release(): Promise<void>;
}

interface LockContent extends ProcessIdentity {
  /** UTC, for people; no decision depends on it. */
  readonly since: string;
  readonly released: boolean;
}

/** Numbers of at least 8 digits; longer ones than this have no exact successor. */
const largestNumber = 10 ** 15 - 2;

/**
 * Locks a run folder, which must exist.
 *
 * @throws DimoError with code `locked` naming process, host and age if another process owns it; a dead owner on this
 *   machine is superseded, one on another machine is never.
 */
export async function acquireRunLock(folder: string): Promise<RunLock> {
  const lockFolder = await pathInside(folder, '.lock');
  return withIoError('lock', lockFolder, async () => {
    await makeFolders(lockFolder);
    const own: LockContent = { ...currentProcess(), since: new Date().toISOString(), released: false };
    const candidate = join(lockFolder, `new-${own.pid}-${randomUUID()}`);
    await writeFileDurably(candidate, encode(own));
    try {
      for (;;) {
        const highest = await highestNumber(lockFolder);
        if (highest > 0) {
          const owner = await readLock(join(lockFolder, fileName(highest)));
          if (owner === 'gone') continue;
          if (!owner.released && mayBeAlive(owner)) throw lockedError(folder, lockFolder, owner);
        }
        const number = highest + 1;
        if (number > largestNumber) throw exhaustedError(folder, lockFolder);
        if (!(await linkExclusively(candidate, join(lockFolder, fileName(number))))) continue;
        if ((await highestNumber(lockFolder)) > number) {
          // The listing was old: others have owned and left the run since.
          await rm(join(lockFolder, fileName(number)), { force: true });
          continue;
        }
        await removeBelow(lockFolder, number);
        return { release: () => release(lockFolder, number, own) };
      }
    } finally {
      await rm(candidate, { force: true });
    }
  });
}

/** Whether a process has a run folder; of one on another machine that died, it is not known that it has not. */
export async function isRunLocked(folder: string): Promise<boolean> {
  const lockFolder = await pathInside(folder, '.lock');
  return withIoError('read', lockFolder, async () => {
    const highest = await highestNumber(lockFolder);
    if (highest === 0) return false;
    const owner = await readLock(join(lockFolder, fileName(highest)));
    return owner !== 'gone' && !owner.released && mayBeAlive(owner);
  });
}

async function release(lockFolder: string, number: number, own: LockContent): Promise<void> {
  if ((await highestNumber(lockFolder)) !== number) return;
  const path = join(lockFolder, fileName(number));
  const current = await readLock(path);
  if (current === 'gone' || current.released) return;
  const temporary = join(lockFolder, `new-${own.pid}-${randomUUID()}`);
  await writeFileDurably(temporary, encode({ ...own, released: true }));
  await withIoError('unlock', path, () => rename(temporary, path));
}

/** Links `from` to the new name `to`; false if the name is taken. */
async function linkExclusively(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if (errorCode(error) !== 'EEXIST') throw error;
    // Over NFS the answer to a successful link may be lost and the repeated request fail: then there are two names.
    return (await stat(from)).nlink === 2;
  }
}

async function highestNumber(lockFolder: string): Promise<number> {
  const names = await withIoError('read', lockFolder, () => readdir(lockFolder).catch(emptyIfAbsent));
  return names.reduce((highest, name) => Math.max(highest, numberOf(name) ?? 0), 0);
}

/** The number that a file stands for; undefined for other files, and for other spellings of a number. */
function numberOf(name: string): number | undefined {
  if (!/^[0-9]{8,15}$/.test(name)) return undefined;
  return fileName(Number(name)) === name ? Number(name) : undefined;
}

function emptyIfAbsent(error: unknown): string[] {
  if (errorCode(error) === 'ENOENT') return [];
  throw error;
}

/** Removes lower numbers, and candidates of processes that were killed while locking. */
async function removeBelow(lockFolder: string, number: number): Promise<void> {
  for (const name of await readdir(lockFolder)) {
    const candidate = /^new-([0-9]+)-/.exec(name);
    const other = numberOf(name);
    if (other !== undefined ? other < number : candidate !== null && (await isAbandoned(join(lockFolder, name))))
      await rm(join(lockFolder, name), { force: true });
  }
}

/** A candidate that cannot be read is left alone: its process may be writing it, and tidying must not cost the lock. */
async function isAbandoned(path: string): Promise<boolean> {
  const content = await readLock(path).catch(() => 'gone' as const);
  return content !== 'gone' && content.host !== '' && !mayBeAlive(content);
}

async function readLock(path: string): Promise<LockContent | 'gone'> {
  let text: string;
  try {
    text = new TextDecoder().decode(await readFileChecked(path, 10_000, dirname(path)));
  } catch (error) {
    if (isAbsentFile(error)) return 'gone';
    throw error;
  }
  try {
    const content = JSON.parse(text) as Partial<LockContent>;
    if (typeof content.pid === 'number' && typeof content.host === 'string')
      return {
        pid: content.pid,
        host: content.host,
        start: String(content.start ?? ''),
        since: String(content.since ?? ''),
        released: content.released === true,
      };
  } catch {
    // Falls through: what cannot be read counts as an unknown owner.
  }
  return { pid: 0, host: '', start: '', since: '', released: false };
}

function lockedError(folder: string, lockFolder: string, owner: LockContent): DimoError {
  const seconds = Math.max(0, Math.round((Date.now() - Date.parse(owner.since)) / 1000));
  const age = Number.isFinite(seconds) ? `, since ${seconds} s` : '';
  return new DimoError(
    'locked',
    `${escapeText(folder)} is in use by process ${owner.pid} on ${escapeText(owner.host === '' ? 'an unknown host' : owner.host)}${age}`,
    {
      path: folder,
      hint: `wait for it, stop it, or use another folder; if that machine is gone, remove ${escapeText(lockFolder)}`,
    },
  );
}

function exhaustedError(folder: string, lockFolder: string): DimoError {
  return new DimoError('io', `${escapeText(folder)}: the numbers of its lock are used up, which no ordinary use does`, {
    path: lockFolder,
    hint: `make sure that no process uses the folder, then remove ${escapeText(lockFolder)}`,
  });
}

function fileName(number: number): string {
  return String(number).padStart(8, '0');
}

function encode(content: LockContent): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify(content)}\n`);
}
