/** What of a model's folder may be published: the files that it is read from, and what is said about it. Nothing else. */
import { folderWeightSource, readFileChecked } from '@dimo/backend-node';
import { escapeText, OptionError, type PluginRegistry, type WeightSource } from '@dimo/core';
import { statSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { resolvePart } from '../run/parts.js';
import { modelFolder, readImport } from '@dimo/pipeline';
import { recognizeModel, unknownModelError } from './model-layout.js';
import { loadLocatedModel, type FoundModel } from './models.js';

/** Files beside a model that are about it. */
const companions = /^(?:README\.md|(?:LICEN[CS]E|NOTICE)(?:\.md|\.txt)?)$/;

/** Text that is looked through for secrets. */
const textFile = /\.(?:json|md|txt)$|^(?:LICEN[CS]E|NOTICE)$/;
const maximumTextBytes = 2 ** 25;

/** What no published file may hold: tokens of the hub, keys of clouds, private keys. */
const secrets = /\bhf_[A-Za-z0-9]{20,}|\bAKIA[A-Z0-9]{16}\b|-----BEGIN [A-Z ]*PRIVATE KEY-----/;

/** A folder that has been checked. */
export interface Publication {
  /** The folder of the model: that of a run is its generator or teacher. */
  readonly folder: string;
  readonly kind: 'generator' | 'teacher';
  readonly files: readonly { readonly path: string; readonly source: string; readonly bytes: number }[];
  /** Names in the folder that stay here. */
  readonly leftOut: readonly string[];
  readonly notes: readonly string[];
}

/**
 * Loads the model in a folder, and lists what of it is to be published.
 *
 * @param token - must be in no file.
 * @throws OptionError for what is no model, an import, weights that can run code, or a file that holds a secret; WeightError
 *   if the model does not load.
 */
export async function preparePublication(
  name: string,
  registry: PluginRegistry,
  token: string | undefined,
): Promise<Publication> {
  if (!statSync(name, { throwIfNoEntry: false })?.isDirectory())
    throw new OptionError(`there is no folder ${escapeText(name)}`, {
      path: name,
      hint: 'name a run of `dimo distill` or `dimo train teacher`, or the folder of a model',
    });
  if (await readImport(name))
    throw new OptionError(`${escapeText(name)} is an import: it says where the files of a model are and holds none`, {
      path: name,
      hint: 'push the folder that it was imported from',
    });
  const folder = await resolvePart(name, ['generator', 'teacher']);
  const { source, used } = recordingSource(modelFolder(folder));
  const layout = await recognizeModel(source, registry);
  if (!layout) throw await unknownModelError(source, registry);
  const { kind, teacher } = layout;
  const found = await loadLocatedModel({ kind, source, ...(teacher ? { teacher } : {}) }, registry);
  const names = new Set([...used, ...(teacher ? layout.files : []), ...conditionFiles(found)]);
  const present = await folderWeightSource(folder).list();
  const absent = [...names].find((file) => !present.includes(file));
  if (absent !== undefined)
    throw new OptionError(`${escapeText(folder)} holds weights in files of PyTorch, which can run code when read`, {
      path: folder,
      hint: 'write them as safetensors and push that folder: dimo export --to safetensors',
    });
  const isPublished = (file: string): boolean => names.has(file) || companions.test(file);
  const files: Publication['files'][number][] = [];
  const notes: string[] = [];
  for (const path of present.filter(isPublished)) {
    const place = join(folder, ...path.split('/'));
    const { size: bytes } = await stat(place);
    files.push({ path, source: place, bytes });
    if (!textFile.test(path) || bytes > maximumTextBytes) continue;
    const text = new TextDecoder().decode(await readFileChecked(place, maximumTextBytes, folder));
    if (secrets.test(text) || (token !== undefined && text.includes(token)))
      throw new OptionError(`${escapeText(place)} holds what looks like a token or a private key`, {
        path: place,
        hint: 'remove it, and make a new one: it may have been seen already; nothing was sent',
      });
    if (homedir().length > 1 && text.includes(homedir()))
      notes.push(`note: ${escapeText(path)} names your home folder`);
  }
  if (!present.includes('README.md')) notes.push('note: there is no README.md, so the page of the model will be empty');
  return { folder, kind, files, leftOut: present.filter((file) => !isPublished(file)), notes };
}

/** The source, and the names of what has been read from it. */
function recordingSource(source: WeightSource): { readonly source: WeightSource; readonly used: ReadonlySet<string> } {
  const used = new Set<string>();
  const { open } = source;
  return {
    used,
    source: {
      location: source.location,
      list: () => source.list(),
      async read(name, maximumBytes) {
        const bytes = await source.read(name, maximumBytes);
        used.add(name);
        return bytes;
      },
      ...(open
        ? {
            async open(name: string) {
              const file = await open.call(source, name);
              used.add(name);
              return file;
            },
          }
        : {}),
    },
  };
}

/** Files that are read only when a condition is computed. */
function conditionFiles(found: FoundModel): string[] {
  const definition = found.kind === 'generator' ? found.generator.definition : found.teacher;
  return Object.keys(definition.conditionFiles?.() ?? {});
}
