/** Files and engines of Node. */
import {
  chooseEngine,
  folderWeightSource,
  isHubReference,
  nodeEngines,
  openHubRepository,
  parseHubReference,
  readFileChecked,
  writeFileAtomically,
} from '@dimo/backend-node';
import { DimoError, escapeText, openWeightFile, OptionError, type EngineOptions, type WeightSource } from '@dimo/core';
import { findPreset, presetFolder, presets } from '@dimo/presets';
import { stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readModelFolder } from '../model/read-model.js';
import type { OpeningContext } from './host.js';
import { openImport } from './open-import.js';
import { definePipeline, type Pipeline } from './pipeline.js';

/** Makes a model of a preset, folder, file, address or hub callable. See `Generate`. */
export const pipeline: Pipeline<EngineOptions> = definePipeline<EngineOptions>({
  engines: nodeEngines.map(({ name }) => name),
  engineOptions: ['threads'],
  readsPresets: false,
  openEngine: (name, options, { signal, onProgress }) =>
    chooseEngine(name, {
      ...options,
      signal,
      onProgress: ({ engine }) => onProgress({ stage: 'engine', engine }),
    }),
  openPreset: (name) => folderWeightSource(fileURLToPath(presetFolder(findPreset(name)!))),
  openPlace,
  openImport: (place, { teachers }) => openImport(localPath(place), teachers),
  places:
    'the name of a preset, a folder (of a model, or written by `dimo import`) or a .safetensors file, the address of a folder, hf:owner/repository, or a WeightSource',
  async saveFile(path, bytes) {
    await writeFileAtomically(path, bytes);
  },
  readImage: (path) => readFileChecked(path, maximumImageBytes),
});

/** Length of an image file that a call begins with. */
const maximumImageBytes = 2 ** 28;

async function openPlace(place: string, context: OpeningContext): Promise<WeightSource> {
  if (isHubReference(place)) return openHub(place, context);
  if (/^https?:\/\//i.test(place)) {
    const { signal, onProgress } = context;
    const { httpModelFolder } = await import('@dimo/backend-web');
    return httpModelFolder(place, {
      signal,
      onProgress: ({ file, loaded, total }) =>
        onProgress({ stage: 'files', file, loadedBytes: loaded, totalBytes: total }),
    });
  }
  const path = localPath(place);
  const found = await stat(path).catch(() => undefined);
  if (found?.isDirectory()) return folderWeightSource(path);
  if (found && path.endsWith('.safetensors')) return singleFile(path);
  throw new OptionError(
    `"${escapeText(place, 200)}" is neither a preset, nor ${found ? 'a .safetensors file' : 'a folder or file of this machine'}`,
    {
      path,
      hint: `presets are ${presetNames}; else name the generator/ folder of a run, the address of a folder (https://...), or hf:owner/repository`,
    },
  );
}

function localPath(place: string): string {
  return /^file:/i.test(place) ? pathOf(place) : place;
}

/** The path of a `file:` address. @throws OptionError if it has none on this system */
function pathOf(address: string): string {
  try {
    return fileURLToPath(address);
  } catch (cause) {
    throw new OptionError(`"${escapeText(address, 200)}" names no file of this machine: ${(cause as Error).message}`, {
      hint: 'addresses of local files are of the form file:///folder/model',
      cause,
    });
  }
}

const presetNames = Object.keys(presets).join(', ');

/** A whole generator in one file. */
function singleFile(path: string): WeightSource {
  const name = basename(path);
  const read = async (wanted: string): Promise<Uint8Array> => {
    if (wanted === name) return readFileChecked(path);
    throw new DimoError('io', `${escapeText(dirname(path))}: only ${escapeText(name)} is read`, { path });
  };
  return { location: path, list: () => Promise.resolve([name]), read };
}

/** A repository; what is read of it is fetched first, into the cache that other tools share. */
async function openHub(place: string, { signal, teachers, onProgress }: OpeningContext): Promise<WeightSource> {
  const repository = await openHubRepository(parseHubReference(place), { signal });
  // By names, small files and headers: a repository without a model is refused before its weights are fetched.
  await readModelFolder(repository.fetchingSource(), teachers);
  const lengths = new Map(repository.files.map(({ path, bytes }) => [path, bytes]));
  const fetching = new Map<string, Promise<unknown>>();
  const fetchFile = (name: string): Promise<unknown> => {
    const started =
      fetching.get(name) ??
      repository
        .download([name], ({ path, doneBytes, totalBytes }) =>
          onProgress({ stage: 'files', file: path, loadedBytes: doneBytes, totalBytes }),
        )
        .catch((error: unknown) => {
          fetching.delete(name); // the next call tries again
          throw error;
        });
    fetching.set(name, started);
    return started;
  };
  return {
    location: place,
    list: () => Promise.resolve([...lengths.keys()].sort()),
    async read(name, maximumBytes = Infinity) {
      const length = lengths.get(name) ?? 0;
      if (length > maximumBytes)
        throw new OptionError(
          `${escapeText(place, 200)}: ${escapeText(name, 200)} has ${length} bytes, at most ${maximumBytes} are read of such a file`,
        );
      await fetchFile(name);
      return repository.source().read(name);
    },
    async open(name) {
      await fetchFile(name);
      return openWeightFile(repository.source(), name);
    },
  };
}
