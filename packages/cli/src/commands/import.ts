/** `dimo import`: a model of a hub or a folder, made usable by the folder that this command writes. */
import {
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
import { exitOk } from '../failure.js';
import { encodeImport, importFileName, modelFolder, readImport } from '../imported-model.js';
import { recognizeModel, unknownModelError, type ModelLayout } from '../model-layout.js';
import { locateModel, presetLocation } from '../models.js';
import { loadRegistry } from '../plugins.js';
import { createProgress, formatBytes, type Progress } from '../run/progress.js';
import { writeFileAtomically } from '../run/folder.js';
import { interruptible } from '../run/interruptible.js';
import { print, printError, printJson } from '../terminal.js';

/** Arguments of `import`. */
export interface ImportArguments {
  /** A folder, or `hf:owner/repository[/folder][@revision]`. */
  readonly what: string;
  /** Folder to write. @default models/<name> */
  readonly out: string | undefined;
  /** For a released generator: its teacher, as a folder, an import or on a hub. */
  readonly teacher: string | undefined;
  readonly plugins: readonly string[];
  readonly quiet: boolean;
  readonly json: boolean;
}

/** A model with its files in place. */
interface FetchedModel {
  readonly layout: ModelLayout;
  /** For `dimo.json`: pinned to a commit, or absolute. */
  readonly place: string;
  readonly bytes: number;
  /** Files that came from a hub. */
  readonly downloaded: readonly DownloadedFile[];
}

/** Imports a model. */
export async function importModel(args: ImportArguments): Promise<number> {
  const registry = await loadRegistry(args.plugins, process.cwd(), ['teachers']);
  const out = args.out ?? join('models', defaultName(args.what));
  await checkOut(out);
  if (!isHubReference(args.what)) {
    const imported = await readImport(args.what).catch(() => undefined);
    if (imported) throw new OptionError(`${args.what} is an import already`, { hint: `use it: --model ${args.what}` });
  }
  const model = await fetchModel(args.what, registry, args);
  const isReleasedGenerator = model.layout.kind === 'generator' && model.layout.teacher !== undefined;
  if (args.teacher !== undefined && !isReleasedGenerator)
    throw new OptionError(
      `--teacher is for generators without decoder and text encoder; this is a ${model.layout.description}`,
    );
  // A folder of ours is used where it is.
  if (!isHubReference(args.what) && !model.layout.teacher && args.out === undefined) {
    report(args, { model, folder: args.what, written: false });
    return exitOk;
  }
  const teacherSource = isReleasedGenerator ? await teacherPlace(args, model.layout, registry) : undefined;
  const { kind, teacher } = model.layout;
  await mkdir(out, { recursive: true });
  await writeFileAtomically(
    join(out, importFileName),
    encodeImport({
      format: 'dimo-import',
      version: 1,
      kind,
      source: model.place,
      ...(teacher ? { teacher } : {}),
      ...(teacherSource === undefined ? {} : { teacherSource }),
    }),
  );
  report(args, { model, folder: out, written: true });
  return exitOk;
}

/** Recognizes a model and brings all its files here. */
async function fetchModel(what: string, registry: PluginRegistry, args: ImportArguments): Promise<FetchedModel> {
  if (!isHubReference(what)) {
    const isFolder = await stat(what).then(
      (stats) => stats.isDirectory(),
      () => false,
    );
    if (!isFolder)
      throw new OptionError(`there is no folder ${escapeText(what)}`, {
        path: what,
        hint: 'name a folder, or a repository as hf:owner/repository',
      });
    const source = modelFolder(what);
    const layout = await requireLayout(source, registry);
    const bytes = await Promise.all(layout.files.map(async (file) => (await stat(join(what, file))).size));
    return { layout, place: resolve(what), bytes: bytes.reduce((sum, size) => sum + size, 0), downloaded: [] };
  }
  return interruptible(async (signal) => {
    const repository = await openHubRepository(parseHubReference(what), { signal });
    const layout = await requireLayout(repository.fetchingSource(), registry);
    const downloaded = await downloadWithProgress(repository, layout.files, args);
    return {
      layout,
      place: formatHubReference(repository.reference),
      bytes: downloaded.reduce((sum, { file }) => sum + file.bytes, 0),
      downloaded,
    };
  });
}

async function requireLayout(source: WeightSource, registry: PluginRegistry): Promise<ModelLayout> {
  const layout = await recognizeModel(source, registry);
  if (layout) return layout;
  throw await unknownModelError(source, registry);
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

/** Where the files of the teacher are. */
async function teacherPlace(args: ImportArguments, layout: ModelLayout, registry: PluginRegistry): Promise<string> {
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
    const fetched = await fetchModel(teacher, registry, args);
    if (fetched.layout.kind !== 'teacher') throw wrong('a generator');
    if (fetched.layout.teacher?.name !== layout.teacher!.name) throw wrong('of another kind');
    return fetched.place;
  }
  const imported = await readImport(teacher);
  const preset = presetLocation(teacher, registry);
  const located = preset ? undefined : await locateModel(teacher, registry);
  if (!located) throw wrong(preset ? 'bundled' : 'no folder of a model');
  if (located.kind !== 'teacher') throw wrong('a generator');
  if (located.teacher?.name !== layout.teacher!.name) throw wrong('of another kind');
  return imported ? imported.source : resolve(teacher);
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

interface Outcome {
  readonly model: FetchedModel;
  /** What to name with `--model` or `--teacher`. */
  readonly folder: string;
  readonly written: boolean;
}

function report({ json, quiet }: ImportArguments, { model, folder, written }: Outcome): void {
  const { layout, place, bytes, downloaded } = model;
  const transferred = downloaded.reduce((sum, { transferredBytes }) => sum + transferredBytes, 0);
  const unchecked = downloaded.filter(({ checkedBy }) => checkedBy === undefined).map(({ file }) => file.path);
  if (unchecked.length > 0)
    printError(`the hub gives no hash of ${unchecked.join(', ')}: only the length could be checked`);
  if (json) {
    const facts = { folder, kind: layout.kind, description: layout.description, source: place, bytes, transferred };
    printJson({ ...facts, written: written ? [join(folder, importFileName)] : [] });
    return;
  }
  if (quiet) return;
  const size = `${layout.files.length} files, ${formatBytes(bytes)}${downloaded.length > 0 ? `, ${formatBytes(transferred)} fetched now` : ''}`;
  print(`${layout.description}: ${size}`);
  print(written ? `${join(folder, importFileName)} names them; the weights stay where they are` : 'usable where it is');
  print(`try: dimo sample --${layout.kind === 'teacher' ? 'teacher' : 'model'} ${folder}`);
}
