/** `dimo import`: a model of a hub or a folder, made usable by the folder that this command writes. */
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
import { existsSync } from 'node:fs';
import { mkdir, readdir, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { exitOk } from '../output/failure.js';
import { reportImport } from '../models/import-report.js';
import { parseImportSettings } from '../models/import-settings.js';
import { encodeImport, importFileName, modelFolder, openSource, readImport } from '../models/imported-model.js';
import { inspectModel } from '../models/inspect-model.js';
import { recognizeModel, unknownModelError, type ModelLayout } from '../models/model-layout.js';
import { loadLocatedModel, locateModel, presetLocation } from '../models/models.js';
import { loadRegistry } from '../project/plugins.js';
import { createProgress, formatBytes, type Progress } from '../run/progress.js';
import { writeFileAtomically } from '../run/folder.js';
import { interruptible } from '../run/interruptible.js';
import { resolvePart } from '../run/parts.js';
import { printError } from '../output/terminal.js';
import { torchFilesByName } from '../models/torch-weights.js';

/** Arguments of `import`. */
export interface ImportArguments {
  /** A folder, or `hf:owner/repository[/folder][@revision]`. */
  readonly what: string;
  /** Folder to write. @default models/<name> */
  readonly out: string | undefined;
  /** For a released generator: its teacher, as a folder, an import or on a hub. */
  readonly teacher: string | undefined;
  /** `transformer.heads=8`: what the files do not hold. */
  readonly settings: readonly string[];
  readonly plugins: readonly string[];
  readonly quiet: boolean;
  readonly json: boolean;
}

/** A model whose files are known, and on a hub not fetched yet. */
interface OpenedModel {
  readonly layout: ModelLayout;
  /** Reads its files; on a hub, large ones in parts alone. */
  readonly source: WeightSource;
  /** For `dimo.json`: pinned to a commit, or absolute. */
  readonly place: string;
  /** Brings all files here. */
  fetch(): Promise<FetchedFiles>;
}

interface FetchedFiles {
  readonly bytes: number;
  /** Files that came from a hub. */
  readonly downloaded: readonly DownloadedFile[];
}

/** Imports a model. */
export async function importModel(args: ImportArguments): Promise<number> {
  const registry = await loadRegistry(args.plugins, process.cwd(), ['teachers']);
  const given = parseImportSettings(args.settings);
  const out = args.out ?? join('models', defaultName(args.what));
  await checkOut(out);
  if (!isHubReference(args.what)) {
    const imported = await readImport(args.what).catch(() => undefined);
    if (imported) throw new OptionError(`${args.what} is an import already`, { hint: `use it: --model ${args.what}` });
  }
  return interruptible(async (signal) => {
    const context = { registry, args, signal };
    const model = await openModel(args.what, given, context);
    const { kind, teacher, description } = model.layout;
    const isReleasedGenerator = kind === 'generator' && teacher !== undefined;
    if (args.teacher !== undefined && !isReleasedGenerator)
      throw new OptionError(`--teacher is for generators without decoder and text encoder; this is a ${description}`);
    const ofTeacher = isReleasedGenerator ? await openTeacher(model.layout, context) : undefined;
    const inspected = await inspectModel({ ...model, teacherSource: ofTeacher?.source }, registry);
    // Everything that small files and headers show is right: now the large ones.
    const fetched = await model.fetch();
    await ofTeacher?.fetch();
    await loadLocatedModel(
      {
        kind,
        source: await openSource(model.place),
        ...(teacher ? { teacher } : {}),
        ...(ofTeacher ? { teacherSource: await openSource(ofTeacher.place) } : {}),
      },
      registry,
    );
    // A folder of ours is used where it is.
    const isWritten = isHubReference(args.what) || teacher !== undefined || args.out !== undefined;
    if (isWritten) {
      await mkdir(out, { recursive: true });
      await writeFileAtomically(
        join(out, importFileName),
        encodeImport({
          format: 'dimo-import',
          version: 1,
          kind,
          source: model.place,
          ...(teacher ? { teacher } : {}),
          ...(ofTeacher ? { teacherSource: ofTeacher.place } : {}),
        }),
      );
    }
    reportImport(args, { model, fetched, inspected, folder: isWritten ? out : args.what, isWritten });
    return exitOk;
  });
}

interface ImportContext {
  readonly registry: PluginRegistry;
  readonly args: ImportArguments;
  readonly signal: AbortSignal;
}

/** Recognizes a model. */
async function openModel(
  what: string,
  given: Readonly<Record<string, unknown>>,
  { registry, args, signal }: ImportContext,
): Promise<OpenedModel> {
  if (!isHubReference(what)) return openFolder(what, given, registry);
  const repository = await openHubRepository(parseHubReference(what), { signal });
  const source = repository.fetchingSource();
  if (repository.refused.length > 0)
    printError(
      `passed over ${repository.refused.length} files of ${what} whose names not every system allows: ${repository.refused.slice(0, 8).join(', ')}`,
    );
  const layout = await recognizeModel(source, registry, given);
  if (!layout) throw await unknownModelError(source, registry, { isOnHub: true });
  return {
    layout,
    source,
    place: formatHubReference(repository.reference),
    async fetch() {
      const downloaded = await downloadWithProgress(repository, layout.files, args);
      return { bytes: downloaded.reduce((sum, { file }) => sum + file.bytes, 0), downloaded };
    },
  };
}

async function openFolder(
  what: string,
  given: Readonly<Record<string, unknown>>,
  registry: PluginRegistry,
): Promise<OpenedModel> {
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
  const layout = await recognizeModel(source, registry, given);
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
  { quiet }: Pick<ImportArguments, 'quiet'>,
): Promise<DownloadedFile[]> {
  let progress: Progress | undefined;
  try {
    return await repository.download(files, ({ doneBytes, totalBytes }) => {
      progress ??= createProgress({
        label: 'fetch',
        numSteps: totalBytes,
        firstStep: doneBytes,
        // A step is a byte.
        batchSize: 1e-6,
        unit: 'MB/s',
        formatStep: formatBytes,
        everySeconds: 5,
        quiet,
      });
      progress.update({ step: doneBytes, numbers: [] });
    });
  } finally {
    progress?.finish();
  }
}

/** The teacher of a released generator. */
async function openTeacher(
  layout: ModelLayout,
  context: ImportContext,
): Promise<Pick<OpenedModel, 'source' | 'place' | 'fetch'>> {
  const { args, registry } = context;
  const { teacher } = args;
  if (teacher === undefined)
    throw new OptionError(
      `${escapeText(args.what)} is a ${layout.description}: the model alone, without decoder and text encoder`,
      { hint: 'name the teacher that it was distilled from: --teacher <folder or hf:owner/repository>' },
    );
  const wrong = (what: string): OptionError =>
    new OptionError(
      `--teacher ${escapeText(teacher)} is ${what}, expected a teacher of the kind ${layout.teacher!.name}`,
    );
  if (isHubReference(teacher)) {
    const opened = await openModel(teacher, {}, context);
    if (opened.layout.kind !== 'teacher') throw wrong('a generator');
    if (opened.layout.teacher?.name !== layout.teacher!.name) throw wrong('of another kind');
    return opened;
  }
  const imported = await readImport(teacher);
  const preset = presetLocation(teacher, registry);
  const located = preset ? undefined : await locateModel(teacher, registry);
  if (!located) throw wrong(preset ? 'bundled' : 'no folder of a model');
  if (located.kind !== 'teacher') throw wrong('a generator');
  if (located.teacher?.name !== layout.teacher!.name) throw wrong('of another kind');
  return {
    source: located.source,
    place: imported ? imported.source : resolve(teacher),
    fetch: () => Promise.resolve({ bytes: 0, downloaded: [] }),
  };
}

function defaultName(what: string): string {
  if (!isHubReference(what)) return basename(resolve(what));
  const { repository, folder } = parseHubReference(what);
  return folder === '' ? repository : `${repository}-${basename(folder)}`;
}

/** Nothing but an earlier import is replaced. */
async function checkOut(out: string): Promise<void> {
  const names = existsSync(out) ? await readdir(out) : [];
  if (names.length === 0 || names.every((name) => name === importFileName)) return;
  throw new OptionError(`${escapeText(out)} holds other files`, { path: out, hint: 'choose a new folder with --out' });
}
