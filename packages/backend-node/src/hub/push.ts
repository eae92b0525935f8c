/** A folder of files to a repository on a hub: what it lacks is sent, and one commit names all of it. */
import { DimoError, escapeText, OptionError } from '@dimo/core';
import { stat } from 'node:fs/promises';
import { openFileChecked, readFileChecked } from '../storage/files.js';
import { withIoError } from '../storage/io-error.js';
import { listHubFiles, resolveCommit, type HubFile } from './api.js';
import { hasContent, sha256OfFile } from './content-hash.js';
import { hubPathProblem } from './file-names.js';
import { uploadLargeFile, type LocalFile } from './lfs-upload.js';
import { askLargeFiles, createRepository, largestRegularFile, sendCommit, type CommittedFile } from './push-api.js';
import { formatHubReference, isCommit, type HubReference } from './reference.js';
import { TransferFailure, withRetries, type RequestOptions } from './request.js';
import { hubSettings, type HubSettings } from './settings.js';

/** A file to be published. */
export interface PushedFile {
  /** Its name in the reference's folder, `/` between folders. */
  readonly path: string;
  /** On this machine. */
  readonly source: string;
}

/** How far an upload is. */
export interface PushProgress {
  readonly path: string;
  /** Bytes of all large files that the hub lacks, and how many of them it has by now. */
  readonly totalBytes: number;
  readonly doneBytes: number;
}

/** Options of `pushToHub`. */
export interface PushOptions {
  /** Folder that the files lie in; symbolic links that lead out of it are refused. */
  readonly boundary: string;
  /** Message of the commit. */
  readonly summary: string;
  /** Makes the repository if there is none. @default it must exist */
  readonly create?: { readonly isPrivate: boolean };
  /** @default from the environment */
  readonly settings?: HubSettings;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: PushProgress) => void;
}

/** What has become of a push. */
export interface PushResult {
  /** The commit that holds all files. */
  readonly commit: string;
  /** Page of the repository. */
  readonly url: string;
  /** Nothing was committed: the repository had all files. */
  readonly isUnchanged: boolean;
  readonly files: readonly {
    readonly path: string;
    readonly bytes: number;
    /** `unchanged`: the repository has it; `stored`: its storage had the content already. */
    readonly state: 'unchanged' | 'stored' | 'sent';
  }[];
}

/**
 * Publishes files. Large ones are streamed from the disk; the repository changes by one commit at the end or not at all,
 * and not if somebody else has changed it meanwhile. Files of the repository that are not named stay.
 *
 * @param reference - repository, folder in it, and branch.
 * @throws OptionError without a token, off line, for names that no repository may have, and for what the hub refuses.
 * @throws DimoError with code `network`, `io` or `cancelled`; what has arrived is not sent again.
 */
export async function pushToHub(
  reference: HubReference,
  files: readonly PushedFile[],
  { boundary, summary, create, settings = hubSettings(), signal, onProgress }: PushOptions,
): Promise<PushResult> {
  checkTarget(reference, settings);
  const options: RequestOptions = { settings, signal };
  const local = await Promise.all(files.map((file) => lookAt(file, reference, boundary)));
  if (create) await createRepository(reference, create, options);
  const parent = await headOf(reference, options);
  const remote = await filesOf(reference, parent, options);
  const changed: LocalFile[] = [];
  for (const file of local) if (!(await isThere(file, remote))) changed.push(file);
  const states = new Map<string, 'unchanged' | 'stored' | 'sent'>(local.map(({ path }) => [path, 'unchanged']));
  const result = (commit: string): PushResult => ({
    commit,
    url: `${settings.endpoint}/${reference.owner}/${reference.repository}`,
    isUnchanged: changed.length === 0,
    files: local.map(({ path, bytes }) => ({ path, bytes, state: states.get(path)! })),
  });
  if (changed.length === 0) return result(parent);

  const announced = await Promise.all(
    changed.map(async (file) => ({ path: file.path, bytes: file.bytes, sample: await firstBytes(file) })),
  );
  const isLarge = await askLargeFiles(reference, announced, options);
  const totalBytes = changed.reduce((sum, { path, bytes }) => sum + (isLarge.has(path) ? bytes : 0), 0);
  const committed: CommittedFile[] = [];
  let before = 0;
  for (const file of changed) {
    const { path, bytes, source } = file;
    signal?.throwIfAborted();
    if (!isLarge.has(path)) {
      committed.push({ path, content: await readFileChecked(source, largestRegularFile, boundary) });
      states.set(path, 'sent');
      continue;
    }
    const sha256 = await sha256OfFile(source);
    const onBytes = (done: number): void => onProgress?.({ path, totalBytes, doneBytes: before + done });
    const sent = await uploadLargeFile(file, sha256, { ...options, reference, onBytes });
    before += bytes;
    states.set(path, sent > 0 ? 'sent' : 'stored');
    committed.push({ path, sha256, bytes });
  }
  const commit = await commitOnce();
  return result(commit);

  /** A commit whose answer was lost may have been made: the branch is looked at before a second attempt. */
  async function commitOnce(): Promise<string> {
    let isFirst = true;
    return withRetries(settings, signal, async () => {
      if (!isFirst) {
        const head = await resolveCommit(reference, options);
        const there = head === parent ? undefined : await filesOf(reference, head, options);
        if (there && (await Promise.all(changed.map((file) => isThere(file, there)))).every(Boolean)) return head;
      }
      isFirst = false;
      return sendCommit(reference, { summary, parent, files: committed }, withoutRetries(options)).catch(again);
    });
  }
}

function checkTarget(reference: HubReference, { token, offline }: HubSettings): void {
  const where = formatHubReference(reference);
  if (offline) throw new OptionError(`HF_HUB_OFFLINE is set, so nothing is sent to ${where}`, { hint: 'unset it' });
  if (isCommit(reference.revision))
    throw new OptionError(`${where} names a commit, which never changes`, { hint: 'name a branch, or leave it out' });
  if (token === undefined)
    throw new OptionError(`a token is needed to push to ${where}`, {
      hint: 'set HF_TOKEN to one that may write there, or run `hf auth login`',
    });
}

async function lookAt({ path, source }: PushedFile, reference: HubReference, boundary: string): Promise<LocalFile> {
  const full = reference.folder === '' ? path : `${reference.folder}/${path}`;
  const problem = hubPathProblem(full);
  if (problem !== undefined) throw new OptionError(`the file name "${escapeText(full, 200)}" ${problem}`);
  // Refuses what is no regular file, or leads out of the folder.
  await (await openFileChecked(source, boundary)).close();
  const { size, mtimeMs } = await withIoError('read', source, () => stat(source));
  return { path: full, source, boundary, bytes: size, modified: mtimeMs };
}

async function headOf(reference: HubReference, options: RequestOptions): Promise<string> {
  try {
    return await resolveCommit(reference, options);
  } catch (error) {
    if (!(error instanceof OptionError)) throw error;
    throw new OptionError(error.message, {
      cause: error,
      hint: 'check owner, repository and branch, and that the token may write there; --create makes a repository that does not exist',
    });
  }
}

async function filesOf(
  reference: HubReference,
  commit: string,
  options: RequestOptions,
): Promise<ReadonlyMap<string, HubFile>> {
  const { files } = await listHubFiles(reference, commit, options);
  return new Map(files.map((file) => [file.path, file]));
}

async function isThere({ path, source, boundary }: LocalFile, remote: ReadonlyMap<string, HubFile>): Promise<boolean> {
  const file = remote.get(path);
  return file?.hash !== undefined && (await hasContent(source, file, boundary));
}

async function firstBytes({ source, boundary, bytes }: LocalFile): Promise<Uint8Array> {
  const file = await openFileChecked(source, boundary);
  try {
    return await file.read(0, Math.min(bytes, 512));
  } finally {
    await file.close();
  }
}

/** For a request that must not be repeated unseen. */
function withoutRetries(options: RequestOptions): RequestOptions {
  return { ...options, settings: { ...options.settings, maximumFailures: 0 } };
}

/** The failure of a single attempt, to be repeated by whoever has looked first. */
function again(error: unknown): never {
  throw DimoError.isInstance(error) && error.cause instanceof TransferFailure ? error.cause : error;
}
