/**
 * `dimo.json`: what `dimo import` leaves behind. The weights stay where they are, in the cache of the hub or in a folder
 * of the user; the file says where, and how to read them. It names data, never code: the teacher is one of the plugins
 * that are loaded anyway.
 */
import { cachedHubSource, folderWeightSource, isHubReference, parseHubReference } from '@dimo/backend-node';
import { escapeText, isRecord, OptionError, readJsonFile, type WeightSource } from '@dimo/core';
import { withTorchWeights } from '@dimo/core/weight-files';
import { existsSync, realpathSync } from 'node:fs';
import { join, resolve, sep } from 'node:path';

/** Name of the file. */
export const importFileName = 'dimo.json';

/** Content of the file; plain JSON. */
export interface ImportedModel {
  readonly format: 'dimo-import';
  readonly version: 1;
  readonly kind: 'teacher' | 'generator';
  /** Where the files are: `hf:owner/repository@commit`, or the absolute path of a folder. */
  readonly source: string;
  /** For public layouts: the plugin that reads the files, and its configuration. Absent where the files say it. */
  readonly teacher?: { readonly name: string; readonly config: Readonly<Record<string, unknown>> };
  /** For released generators: where the files of the teacher are that they lack. */
  readonly teacherSource?: string;
  /** Configuration of that teacher, where its files do not say it. */
  readonly teacherConfig?: Readonly<Record<string, unknown>>;
}

/**
 * The import in a folder, or undefined if it has none.
 *
 * @throws OptionError naming the first field that is wrong.
 */
export async function readImport(folder: string): Promise<ImportedModel | undefined> {
  const path = join(folder, importFileName);
  if (!existsSync(path)) return undefined;
  const value = await readJsonFile(folderWeightSource(folder), importFileName);
  const fail = (field: string, expected: string): OptionError =>
    new OptionError(`${escapeText(path)}: ${field} must be ${expected}`, {
      path,
      hint: 'run `dimo import` again to write it anew',
    });
  if (!isRecord(value) || value['format'] !== 'dimo-import') throw fail('format', '"dimo-import"');
  if (value['version'] !== 1) throw fail('version', '1 (a newer dimo may have written it)');
  const { kind, source, teacher, teacherSource, teacherConfig } = value;
  if (kind !== 'teacher' && kind !== 'generator') throw fail('kind', '"teacher" or "generator"');
  if (typeof source !== 'string' || source === '') throw fail('source', 'a folder or hf:owner/repository@commit');
  if (teacherSource !== undefined && (typeof teacherSource !== 'string' || kind !== 'generator'))
    throw fail('teacherSource', 'a folder or hf:owner/repository@commit, of a generator');
  if (teacherConfig !== undefined && (!isRecord(teacherConfig) || teacherSource === undefined))
    throw fail('teacherConfig', 'the configuration of the teacher at teacherSource');
  if (teacher === undefined) {
    if (teacherSource !== undefined) throw fail('teacher', '{ "name", "config" }, because there is a teacherSource');
    return { format: 'dimo-import', version: 1, kind, source };
  }
  if (!isRecord(teacher) || typeof teacher['name'] !== 'string' || !isRecord(teacher['config']))
    throw fail('teacher', '{ "name", "config" }');
  return {
    format: 'dimo-import',
    version: 1,
    kind,
    source,
    teacher: { name: teacher['name'], config: teacher['config'] },
    ...(teacherSource === undefined ? {} : { teacherSource }),
    ...(teacherConfig === undefined ? {} : { teacherConfig }),
  };
}

/** Content of the file. */
export function encodeImport(model: ImportedModel): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify(model, null, 2)}\n`);
}

/**
 * Files at a place, on this machine or in the cache of the hub; nothing is fetched.
 *
 * @throws OptionError if the cache does not have them.
 */
export async function openSource(place: string): Promise<WeightSource> {
  if (isHubReference(place)) return cachedHubSource(parseHubReference(place));
  if (!existsSync(place))
    throw new OptionError(`there is no folder ${escapeText(place)}`, {
      path: place,
      hint: 'it was moved or removed: import it again from where it is now',
    });
  return modelFolder(place);
}

/**
 * The files of a model's folder. A snapshot in the cache of a hub, `models--owner--name/snapshots/<commit>`, consists of
 * symbolic links to files beside it; they are followed as far as the model's own folder in the cache.
 */
export function modelFolder(path: string): WeightSource {
  const real = existsSync(path) ? realpathSync(path) : resolve(path);
  const boundary = /^(.*[/\\]models--[^/\\]+)[/\\]snapshots[/\\]/.exec(real + sep)?.[1];
  return withTorchWeights(boundary === undefined ? folderWeightSource(path) : folderWeightSource(real, { boundary }));
}
