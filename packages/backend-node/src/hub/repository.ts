/** A repository on a hub, or as much of it as the cache has. */
import { DimoError, escapeText, isStrayFile, openWeightFile, OptionError, type WeightSource } from '@dimo/core';
import { readdir, realpath, stat, statfs } from 'node:fs/promises';
import { basename, join, relative, sep } from 'node:path';
import { makeFolders } from '../storage/files.js';
import { folderWeightSource } from '../storage/weight-folder.js';
import { listHubFiles, resolveCommit, type HubFile } from './api.js';
import { cachedCommit, isFolder, repositoryFolder, snapshotFolder, writeRevision } from './cache.js';
import { hasContent } from './content-hash.js';
import { downloadFile, findCached, type DownloadContext, type DownloadedFile } from './download.js';
import { checkHubPath, isDataFile } from './file-names.js';
import { checkSmallFile, openRemoteFile } from './remote-file.js';
import { formatHubReference, type HubReference } from './reference.js';
import type { RequestOptions } from './request.js';
import { hubSettings, type HubSettings } from './settings.js';

/** How far a download is. */
export interface HubProgress {
  /** The file that is being fetched. */
  readonly path: string;
  /** Bytes of all chosen files, and how many of them are in the cache. */
  readonly totalBytes: number;
  readonly doneBytes: number;
  /** Bytes that need not be fetched, being there since before. */
  readonly cachedBytes: number;
}

/** Options of `openHubRepository`. */
export interface HubRepositoryOptions {
  /** @default from the environment */
  readonly settings?: HubSettings;
  readonly signal?: AbortSignal;
}

/** A repository at one commit. */
export interface HubRepository {
  /** Where it is; the revision is the commit. */
  readonly reference: HubReference;
  readonly commit: string;
  /**
   * Files of the reference's folder, with their names in that folder. Offline: those in the cache.
   */
  readonly files: readonly HubFile[];
  /** Names in that folder that are not used because they are not file names on every system. */
  readonly refused: readonly string[];
  /**
   * Brings files into the cache.
   *
   * @param names - as in `files`.
   * @throws OptionError for a name that the repository does not have or a file that is no plain data (pickles, code).
   * @throws DimoError with code `network`, `io`, `locked` or `cancelled`; what has arrived is kept.
   */
  download(names: readonly string[], onProgress?: (progress: HubProgress) => void): Promise<DownloadedFile[]>;
  /** The files that are in the cache, with their names in the reference's folder. */
  source(): WeightSource;
  /** All files. Reading a small one fetches it first; a large one is opened and read in parts, and not kept. */
  fetchingSource(): WeightSource;
}

/**
 * Asks a hub for the files of a repository, or offline the cache.
 *
 * @throws OptionError if the repository or revision does not exist, may not be read or (offline) is not in the cache.
 */
export async function openHubRepository(
  reference: HubReference,
  { settings = hubSettings(), signal }: HubRepositoryOptions = {},
): Promise<HubRepository> {
  const repository = repositoryFolder(settings, reference);
  const options: RequestOptions = { settings, signal };
  const commit = settings.offline
    ? await requireCachedCommit(repository, reference, settings)
    : await resolveCommit(reference, options);
  const { files: all, refused } = settings.offline
    ? { files: await listCached(snapshotFolder(repository, commit)), refused: new Map<string, string>() }
    : await listHubFiles(reference, commit, options);
  const prefix = reference.folder === '' ? '' : `${reference.folder}/`;
  const inRepository = new Map(
    all
      .filter(({ path }) => path.startsWith(prefix) && !isStrayFile(path))
      .map((file) => [file.path.slice(prefix.length), file]),
  );
  const pinned = { ...reference, revision: commit };
  if (inRepository.size === 0)
    throw new OptionError(`${formatHubReference(reference)}: the repository has no such folder`, {
      hint: `folders there: ${foldersOf(all) || 'none'}`,
    });
  const context: DownloadContext = { ...options, reference, commit, repository };

  async function download(names: readonly string[], onProgress?: (progress: HubProgress) => void) {
    const chosen = [...new Set(names)].map((name) => requireFile(name));
    if (settings.offline) return Promise.all(chosen.map(inCache));
    const totalBytes = chosen.reduce((sum, { bytes }) => sum + bytes, 0);
    const downloaded: DownloadedFile[] = [];
    const missing: HubFile[] = [];
    for (const file of chosen) {
      const cached = await findCached(file, context);
      if (cached) downloaded.push(cached);
      else missing.push(file);
    }
    let before = downloaded.reduce((sum, { file }) => sum + file.bytes, 0);
    let cachedBytes = before;
    if (missing.length > 0) await checkSpace(repository, totalBytes - cachedBytes);
    for (const file of missing) {
      const report = (bytes: number): void =>
        onProgress?.({ path: file.path, totalBytes, doneBytes: before + bytes, cachedBytes });
      let isFirst = true;
      const onBytes = (bytes: number): void => {
        if (isFirst) cachedBytes += bytes;
        isFirst = false;
        report(bytes);
      };
      downloaded.push(await downloadFile(file, { ...context, onBytes }));
      report(file.bytes);
      before += file.bytes;
    }
    await writeRevision(repository, reference.revision, commit);
    const order = new Map(chosen.map(({ path }, index) => [path, index]));
    return downloaded.sort((a, b) => order.get(a.file.path)! - order.get(b.file.path)!);
  }

  function requireFile(name: string): HubFile {
    if (refused.has(prefix + name)) checkHubPath(prefix + name, formatHubReference(reference));
    if (!isDataFile(name))
      throw new OptionError(
        `${formatHubReference(reference)}: ${escapeText(name, 200)} is not fetched: only .safetensors, .json and .txt are`,
        {
          hint: 'pickled weights can run code; convert them to safetensors, or fetch them yourself and import the folder',
        },
      );
    const file = inRepository.get(name);
    if (file) return file;
    throw new OptionError(
      `${formatHubReference(reference)}: ${settings.offline ? `the cache has no file ${escapeText(name, 200)}` : `there is no file ${escapeText(name, 200)}`}`,
      settings.offline
        ? { path: snapshotFolder(repository, commit), hint: 'unset HF_HUB_OFFLINE to fetch it' }
        : { hint: 'check the folder and the revision' },
    );
  }

  async function inCache(file: HubFile): Promise<DownloadedFile> {
    const path = join(snapshotFolder(repository, commit), ...file.path.split('/'));
    if (!(await hasContent(path, file, repository)))
      throw new DimoError('io', `${escapeText(path)} is damaged: its content has not the hash that the cache names`, {
        path,
        hint: 'unset HF_HUB_OFFLINE to fetch it again',
      });
    return { file, path, checkedBy: file.hash?.kind, transferredBytes: 0, resumedBytes: 0 };
  }

  return {
    reference: pinned,
    commit,
    files: [...inRepository].map(([path, file]) => ({ ...file, path })),
    refused: [...refused.keys()].filter((path) => path.startsWith(prefix)),
    download,
    source: () => cachedSource(repository, pinned),
    fetchingSource: () => ({
      location: formatHubReference(reference),
      list: () => Promise.resolve([...inRepository.keys()].sort()),
      async read(name) {
        checkSmallFile(requireFile(name), formatHubReference(reference));
        await download([name]);
        return cachedSource(repository, pinned).read(name);
      },
      open: async (name) =>
        settings.offline
          ? openWeightFile(cachedSource(repository, pinned), name)
          : openRemoteFile(requireFile(name), context),
    }),
  };
}

/**
 * The files of a repository that the cache has; nothing is fetched.
 *
 * @param reference - as imported: with a commit as its revision, or a branch that was imported before.
 * @throws OptionError if the cache does not have it.
 */
export async function cachedHubSource(reference: HubReference, settings = hubSettings()): Promise<WeightSource> {
  const repository = repositoryFolder(settings, reference);
  const commit = await requireCachedCommit(repository, reference, settings);
  return cachedSource(repository, { ...reference, revision: commit });
}

function cachedSource(repository: string, { folder, revision }: HubReference): WeightSource {
  const snapshot = snapshotFolder(repository, revision);
  // The links of a snapshot lead to the blobs beside it, and nowhere else.
  return folderWeightSource(join(snapshot, ...folder.split('/')), { boundary: repository });
}

async function requireCachedCommit(
  repository: string,
  reference: HubReference,
  { offline, cacheFolder }: HubSettings,
): Promise<string> {
  const commit = await cachedCommit(repository, reference.revision);
  if (commit !== undefined && (await isFolder(snapshotFolder(repository, commit)))) return commit;
  throw new OptionError(`${formatHubReference(reference)} is not in the cache ${escapeText(cacheFolder)}`, {
    path: repository,
    hint: offline
      ? 'HF_HUB_OFFLINE is set: unset it to fetch the repository, or set HF_HOME to the cache that has it'
      : `fetch it with \`dimo import ${formatHubReference(reference)}\`, or set HF_HOME to the cache that has it`,
  });
}

async function listCached(snapshot: string): Promise<HubFile[]> {
  const files: HubFile[] = [];
  for (const entry of await readdir(snapshot, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    // A link without its blob is a file that is not there.
    const stats = entry.isDirectory() ? undefined : await stat(path).catch(() => undefined);
    if (!stats?.isFile()) continue;
    // Blobs of large files are named by the hash of their content.
    const hex = basename(await realpath(path));
    files.push({
      path: relative(snapshot, path).split(sep).join('/'),
      bytes: stats.size,
      ...(/^[0-9a-f]{64}$/.test(hex) ? { hash: { kind: 'sha256', hex } } : {}),
    });
  }
  return files;
}

function foldersOf(files: readonly HubFile[]): string {
  const folders = new Set(
    files.flatMap(({ path }) => (path.includes('/') ? [path.slice(0, path.lastIndexOf('/'))] : [])),
  );
  return [...folders]
    .slice(0, 10)
    .map((name) => escapeText(name, 60))
    .join(', ');
}

async function checkSpace(repository: string, bytes: number): Promise<void> {
  await makeFolders(repository);
  const free = await statfs(repository).then(
    ({ bavail, bsize }) => bavail * bsize,
    () => Infinity,
  );
  if (free < bytes)
    throw new DimoError('io', `${escapeText(repository)}: ${bytes} bytes are needed, ${free} are free`, {
      path: repository,
      hint: 'free space, or set HF_HOME to a folder on another disk',
    });
}
