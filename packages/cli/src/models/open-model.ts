/** Opens what `dimo import` is given: a folder, or a repository of a hub whose large files are not fetched yet. */
import {
  folderWeightSource,
  formatHubReference,
  isHubReference,
  openHubRepository,
  parseHubReference,
  type DownloadedFile,
  type HubRepository,
} from '@dimo/backend-node';
import { escapeText, OptionError, type PluginRegistry, type WeightSource } from '@dimo/core';
import { torchFilesByName } from '@dimo/core/weight-files';
import { stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { printError } from '../output/terminal.js';
import { resolvePart } from '../run/parts.js';
import { withTransferProgress } from '../run/transfer-progress.js';
import { modelFolder } from '@dimo/pipeline';
import { recognizeModel, unknownModelError, type ModelLayout } from './model-layout.js';

/** A model whose files are known, and on a hub not fetched yet. */
export interface OpenedModel {
  readonly layout: ModelLayout;
  /** Reads its files; on a hub, large ones in parts alone. */
  readonly source: WeightSource;
  /** For `dimo.json`: pinned to a commit, or absolute. */
  readonly place: string;
  /** Brings all files here. */
  fetch(): Promise<FetchedFiles>;
}

/** The files of a model, on this machine. */
export interface FetchedFiles {
  readonly bytes: number;
  /** Files that came from a hub. */
  readonly downloaded: readonly DownloadedFile[];
}

/** What models are opened with. */
export interface ImportContext {
  readonly registry: PluginRegistry;
  readonly signal: AbortSignal;
  readonly quiet: boolean;
}

/** What a person says of a model. */
export interface Said {
  readonly given: Readonly<Record<string, unknown>>;
  readonly as?: ModelLayout['kind'] | undefined;
}

/**
 * Opens and recognizes a model.
 *
 * @throws OptionError if there is none, or none that is known.
 */
export async function openModel(
  what: string,
  said: Said,
  { registry, signal, quiet }: ImportContext,
): Promise<OpenedModel> {
  if (!isHubReference(what)) return openFolder(what, said, registry);
  const repository = await openHubRepository(parseHubReference(what), { signal });
  const source = repository.fetchingSource();
  if (repository.refused.length > 0)
    printError(
      `passed over ${repository.refused.length} files of ${what} whose names not every system allows: ${repository.refused.slice(0, 8).join(', ')}`,
    );
  const layout = await recognizeModel(source, registry, said.given, said.as);
  if (!layout) throw await unknownModelError(source, registry, { isOnHub: true });
  return {
    layout,
    source,
    place: formatHubReference(repository.reference),
    async fetch() {
      const downloaded = await downloadWithProgress(repository, layout.files, quiet);
      return { bytes: downloaded.reduce((sum, { file }) => sum + file.bytes, 0), downloaded };
    },
  };
}

async function openFolder(what: string, { given, as }: Said, registry: PluginRegistry): Promise<OpenedModel> {
  const isFolder = await stat(what).then(
    (stats) => stats.isDirectory(),
    () => false,
  );
  if (!isFolder)
    throw new OptionError(`there is no folder ${escapeText(what)}`, {
      path: what,
      hint: 'name a folder, or a repository as hf:owner/repository',
    });
  const folder = await resolvePart(what, ['generator', 'teacher']);
  const source = modelFolder(folder);
  const layout = await recognizeModel(source, registry, given, as);
  if (!layout) throw await unknownModelError(source, registry);
  return {
    layout,
    source,
    place: resolve(folder),
    async fetch() {
      const behind = torchFilesByName(await folderWeightSource(folder).list());
      const sizes = layout.files.map(async (file) => (await stat(join(folder, behind.get(file) ?? file))).size);
      return { bytes: (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0), downloaded: [] };
    },
  };
}

async function downloadWithProgress(
  repository: HubRepository,
  files: readonly string[],
  quiet: boolean,
): Promise<DownloadedFile[]> {
  return withTransferProgress({ label: 'fetch', quiet }, (onProgress) => repository.download(files, onProgress));
}
