/** `dimo import`: a model of a hub or a folder, made usable by the folder that this command writes. */
import { isHubReference, parseHubReference } from '@dimo/backend-node';
import { escapeText, OptionError } from '@dimo/core';
import { existsSync } from 'node:fs';
import { mkdir, readdir } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { exitOk } from '../output/failure.js';
import { reportImport } from '../models/import-report.js';
import { parseImportSettings } from '../models/import-settings.js';
import { encodeImport, importFileName, openSource, readImport } from '@dimo/pipeline';
import { inspectModel } from '../models/inspect-model.js';
import { loadLocatedModel } from '../models/models.js';
import { openModel, type ImportContext } from '../models/open-model.js';
import { openTeacher } from '../models/open-teacher.js';
import { loadRegistry } from '../project/plugins.js';
import { writeFileAtomically } from '../run/folder.js';
import { interruptible } from '../run/interruptible.js';

/** Arguments of `import`. */
export interface ImportArguments {
  /** A folder, or `hf:owner/repository[/folder][@revision]`. */
  readonly what: string;
  /** Folder to write. @default models/<name> */
  readonly out: string | undefined;
  /** For a released generator: its teacher, as a folder, an import or on a hub. */
  readonly teacher: string | undefined;
  /** What it is, where its files may be either. */
  readonly as: 'teacher' | 'generator' | undefined;
  /** `transformer.heads=8`: what the files do not hold. */
  readonly settings: readonly string[];
  readonly plugins: readonly string[];
  readonly quiet: boolean;
  readonly json: boolean;
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
    const context: ImportContext = { registry, signal, quiet: args.quiet };
    const model = await openModel(args.what, { given, as: args.as }, context);
    const { kind, teacher, description } = model.layout;
    if (args.as !== undefined && kind !== args.as)
      throw new OptionError(`--as ${args.as} has no effect: this can only be a ${description}`, {
        hint: 'leave it out; it is for weights that may be either',
      });
    const isReleasedGenerator = kind === 'generator' && teacher !== undefined;
    if (args.teacher !== undefined && !isReleasedGenerator)
      throw new OptionError(
        `--teacher is for generators without decoder and text encoder; this is a ${description}`,
        teacher ? { hint: 'if its transformer is that of a one-step generator, say so: --as generator' } : {},
      );
    const ofTeacher = isReleasedGenerator
      ? await openTeacher({ what: args.what, layout: model.layout, given, teacher: args.teacher }, context)
      : undefined;
    const inspected = await inspectModel({ ...model, ofTeacher }, registry);
    // Everything that small files and headers show is right: now the large ones.
    const fetched = await model.fetch();
    await ofTeacher?.fetch();
    await loadLocatedModel(
      {
        kind,
        source: await openSource(model.place),
        ...(teacher ? { teacher } : {}),
        ...(ofTeacher ? { ofTeacher: { source: await openSource(ofTeacher.place), config: ofTeacher.config } } : {}),
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
          ...(ofTeacher && !ofTeacher.isOwn ? { teacherConfig: ofTeacher.config } : {}),
        }),
      );
    }
    const { officialDistillation } = (kind === 'teacher' && teacher && registry.teachers.get(teacher.name)) || {};
    reportImport(args, {
      model,
      fetched,
      inspected,
      folder: isWritten ? out : args.what,
      isWritten,
      hasOfficialDistillation: officialDistillation !== undefined,
    });
    return exitOk;
  });
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
