/** One file from a hub into the cache: continued where it was cut, checked, and in its place whole or not at all. */
import { DimoError, escapeText } from '@dimo/core';
import { createHash } from 'node:crypto';
import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { makeFolders } from '../storage/files.js';
import { isAbsentFile } from '../storage/io-error.js';
import { pathInside } from '../storage/path-inside.js';
import { acquireRunLock, type RunLock } from '../storage/run-lock.js';
import { fileAddress, type HubFile } from './api.js';
import { describeType } from './json-request.js';
import { blobPath, keepBlob, linkSnapshot, partialFolder, snapshotFolder } from './cache.js';
import { hasContent, sha256OfFile } from './content-hash.js';
import { openPart, strongEtag, type Part } from './part.js';
import type { HubReference } from './reference.js';
import { request, TransferFailure, withRetries, type Attempt, type RequestOptions } from './request.js';

/** Progress so large makes up for earlier failures. */
const progressBytes = 2 ** 20;

/** A file in the cache. */
export interface DownloadedFile {
  readonly file: HubFile;
  /** Its name in the snapshot. */
  readonly path: string;
  /** Hash that its content was compared with; undefined if the hub gives none, then only the length. */
  readonly checkedBy: 'sha256' | 'git-sha1' | undefined;
  /** Bytes that came over the network now. */
  readonly transferredBytes: number;
  /** Bytes that an earlier attempt had left and that were not fetched again. */
  readonly resumedBytes: number;
}

/** What `downloadFile` needs to know. */
export interface DownloadContext extends RequestOptions {
  readonly reference: HubReference;
  readonly commit: string;
  /** Folder of the repository in the cache. */
  readonly repository: string;
  /** Bytes of the file that are there now; falls when an attempt starts over. */
  readonly onBytes?: ((bytes: number) => void) | undefined;
}

/**
 * The file if the cache has it, with the right content, else undefined.
 */
export async function findCached(file: HubFile, context: DownloadContext): Promise<DownloadedFile | undefined> {
  const { repository, commit } = context;
  const found = (path: string): DownloadedFile => ({
    file,
    path,
    checkedBy: file.hash?.kind,
    transferredBytes: 0,
    resumedBytes: 0,
  });
  if (file.hash && (await hasContent(blobPath(repository, file.hash.hex), file, repository)))
    return found(await linkSnapshot(repository, commit, file.path, file.hash.hex));
  // Another tool may have copied the file where it cannot link, or named the blob otherwise.
  const pointer = join(snapshotFolder(repository, commit), ...file.path.split('/'));
  return (await hasContent(pointer, file, repository)) ? found(pointer) : undefined;
}

/**
 * Brings a file into the cache.
 *
 * @throws DimoError: `network` if it cannot be fetched or is not what the hub promised, `io` if it cannot be written,
 *   `locked` if another process has been at it without progress, `cancelled` if the signal was given.
 */
export async function downloadFile(file: HubFile, context: DownloadContext): Promise<DownloadedFile> {
  const { repository } = context;
  const key = file.hash?.hex ?? createHash('sha256').update(`${context.commit}/${file.path}`).digest('hex');
  const folder = partialFolder(repository, key);
  let lock: RunLock | undefined;
  while (!lock) {
    const cached = await findCached(file, context);
    if (cached) return cached;
    await makeFolders(repository);
    await makeFolders(await pathInside(repository, '.partial', key));
    lock = await lockPart(folder, file, context);
  }
  try {
    // Another process may have finished it before the lock was ours.
    const finished = await findCached(file, context);
    if (finished) return finished;
    const part = await openPart(folder, file.bytes);
    const statistics = { transferred: 0, resumed: part.bytes() };
    let named: HubFile = file;
    try {
      context.onBytes?.(part.bytes());
      named = await fetchPart(part, file, context, statistics);
      await part.flush();
    } finally {
      await part.close();
    }
    const blob = named.hash?.hex ?? (await sha256OfFile(part.path));
    await keepBlob(repository, part.path, blob);
    const path = await linkSnapshot(repository, context.commit, file.path, blob);
    // A process that waits may put its lock there meanwhile: then the folder stays, empty but for that.
    await rm(folder, { recursive: true, force: true }).catch(() => undefined);
    return {
      file,
      path,
      checkedBy: named.hash?.kind,
      transferredBytes: statistics.transferred,
      resumedBytes: statistics.resumed,
    };
  } finally {
    await lock.release().catch(() => undefined);
  }
}

interface Statistics {
  transferred: number;
  resumed: number;
}

/** Fetches what is missing, as often as needed; returns the file with the hash that it was checked by. */
async function fetchPart(
  part: Part,
  file: HubFile,
  context: DownloadContext,
  statistics: Statistics,
): Promise<HubFile> {
  const { settings, signal, reference, commit } = context;
  const address = fileAddress(context, reference, commit, file.path);
  let checked = file;
  let atLastFailure = part.bytes();
  return withRetries(
    settings,
    signal,
    async () => {
      if (part.bytes() !== file.bytes || file.bytes === 0) {
        if (part.bytes() > 0 && part.etag() === undefined) await forget(part, context, statistics);
        const offset = part.bytes();
        const headers: Record<string, string> =
          offset > 0 ? { range: `bytes=${offset}-`, 'if-range': part.etag() ?? '' } : {};
        await request(address, { settings, signal, headers }, async (attempt) => {
          checked = withLinkedHash(file, attempt.hubHeaders);
          await receive(part, file, attempt, context, statistics);
        });
      }
      if (await hasContent(part.path, checked)) return checked;
      const came = `${escapeText(file.path, 200)} arrived with another content than the hub's list says`;
      await forget(part, context, statistics);
      throw new TransferFailure(`${came} (${checked.hash?.kind ?? 'length'} differs)`, 'wrong');
    },
    () => {
      const hasProgressed = part.bytes() - atLastFailure >= progressBytes;
      atLastFailure = part.bytes();
      return hasProgressed;
    },
  );
}

/** Takes the body of one answer into the part. */
async function receive(
  part: Part,
  file: HubFile,
  { response, place, chunks }: Attempt,
  context: DownloadContext,
  statistics: Statistics,
): Promise<void> {
  const offset = part.bytes();
  const etag = strongEtag(response.headers.get('etag'));
  const startOver = async (why: string, kind: TransferFailure['kind'] = 'wrong'): Promise<TransferFailure> => {
    await forget(part, context, statistics);
    return new TransferFailure(`${place}: ${why}`, kind);
  };
  if (response.status === 416)
    throw await startOver(
      `refuses the range from byte ${offset} of ${file.bytes}`,
      offset === 0 ? 'wrong' : 'interrupted',
    );
  if (isWebPage(response, file)) throw await startOver(`sent ${describeType(response)} in place of the file`);
  if (response.status === 206) {
    const range = /^bytes ([0-9]{1,15})-([0-9]{1,15})\/(\*|[0-9]{1,15})$/.exec(
      response.headers.get('content-range') ?? '',
    );
    const fits =
      offset > 0 &&
      Number(range?.[1]) === offset &&
      Number(range?.[2]) === file.bytes - 1 &&
      (range?.[3] === '*' || Number(range?.[3]) === file.bytes);
    if (!fits) throw await startOver(`answered with another range than from byte ${offset} of ${file.bytes}`);
    // Absent: only a hash can tell whether both halves belong together.
    if (etag === undefined ? !file.hash : etag !== part.etag())
      throw await startOver('the file changed on the hub while it was fetched', 'interrupted');
  } else {
    const length = response.headers.get('content-length');
    if (length !== null && Number(length) !== file.bytes)
      throw await startOver(`sends ${escapeText(length, 20)} bytes, the hub's list says ${file.bytes}`);
    await forget(part, context, statistics, etag);
  }
  for await (const chunk of chunks()) {
    if (part.bytes() + chunk.length > file.bytes)
      throw await startOver(`sends more than the ${file.bytes} bytes of the hub's list`);
    await part.append(chunk);
    statistics.transferred += chunk.length;
    context.onBytes?.(part.bytes());
  }
  if (part.bytes() < file.bytes)
    throw new TransferFailure(`${place}: the connection ended after ${part.bytes()} of ${file.bytes} bytes`);
}

async function forget(
  part: Part,
  context: DownloadContext,
  statistics: Statistics,
  etag?: string | undefined,
): Promise<void> {
  await part.restart(etag);
  statistics.resumed = 0;
  context.onBytes?.(0);
}

/** Pages of errors, log-ins and captive portals come with status 200 too. */
function isWebPage(response: Response, file: HubFile): boolean {
  return (response.headers.get('content-type') ?? '').startsWith('text/html') && !file.path.endsWith('.html');
}

/** A hub that lists no hash may still send one with the file. */
function withLinkedHash(file: HubFile, headers: Headers): HubFile {
  const hex = /^"?([0-9a-f]{64})"?$/.exec(headers.get('x-linked-etag') ?? '')?.[1];
  return file.hash || hex === undefined ? file : { ...file, hash: { kind: 'sha256', hex } };
}

/** Waits for the part while another process makes progress with it; undefined if that process has removed the folder. */
async function lockPart(folder: string, file: HubFile, context: DownloadContext): Promise<RunLock | undefined> {
  const { settings, signal } = context;
  const partBytes = (): Promise<number> =>
    stat(join(folder, 'content.part')).then(
      ({ size }) => size,
      () => -1,
    );
  let seen = await partBytes();
  let since = performance.now();
  for (;;) {
    try {
      return await acquireRunLock(folder);
    } catch (error) {
      if (isAbsentFile(error)) return undefined;
      if (!DimoError.isInstance(error) || error.code !== 'locked') throw error;
      const now = await partBytes();
      if (now !== seen) [seen, since] = [now, performance.now()];
      // Its own stall has passed, and the time to check a long file.
      if (performance.now() - since > 2 * settings.stallMilliseconds + file.bytes / 1e5) throw error;
      if (now >= 0) context.onBytes?.(Math.min(now, file.bytes));
    }
    await wait(200, undefined, signal ? { signal } : {}).catch(() => {
      throw new DimoError('cancelled', 'the transfer was stopped');
    });
  }
}
