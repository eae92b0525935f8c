/** Files and engines of Node. */
import {
  chooseEngine,
  folderWeightSource,
  isDataFile,
  isHubReference,
  nodeEngines,
  openHubRepository,
  parseHubReference,
  readFileChecked,
  writeFileAtomically,
} from '@dimo/backend-node';
import { DimoError, escapeText, OptionError, type EngineOptions, type WeightSource } from '@dimo/core';
import { findPreset, presetFolder, presets } from '@dimo/presets';
import { stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { definePipeline, type OpeningContext, type Pipeline } from './pipeline.js';

/** Makes a model of a preset, folder, file, address or hub callable. See `Generate`. */
export const pipeline: Pipeline<EngineOptions> = definePipeline<EngineOptions>({
  engines: nodeEngines.map(({ name }) => name),
  openEngine: (name, options, { signal, onProgress }) =>
    chooseEngine(name, {
      ...options,
      ...(signal ? { signal } : {}),
      onProgress: ({ engine }) => onProgress({ stage: 'engine', engine }),
    }),
  openPreset: (name) => folderWeightSource(fileURLToPath(presetFolder(findPreset(name)!))),
  openPlace,
  places:
    'the name of a preset, a folder or a .safetensors file, the address of a folder, hf:owner/repository, or a WeightSource',
  async saveFile(path, bytes) {
    await writeFileAtomically(path, bytes);
  },
});

async function openPlace(place: string, context: OpeningContext): Promise<WeightSource> {
  if (isHubReference(place)) return openHub(place, context);
  if (/^https?:\/\//i.test(place)) {
    const { signal, onProgress } = context;
    const { httpModelFolder } = await import('@dimo/backend-web');
    return httpModelFolder(place, {
      ...(signal ? { signal } : {}),
      onProgress: ({ file, loaded, total }) =>
        onProgress({ stage: 'files', file, loadedBytes: loaded, totalBytes: total }),
    });
  }
  const path = /^file:/i.test(place) ? fileURLToPath(place) : place;
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

/** All data files of a repository, fetched into the cache that other tools share. */
async function openHub(place: string, { signal, onProgress }: OpeningContext): Promise<WeightSource> {
  const repository = await openHubRepository(parseHubReference(place), signal ? { signal } : {});
  const names = repository.files.map(({ path }) => path).filter(isDataFile);
  await repository.download(names, ({ path, doneBytes, totalBytes }) =>
    onProgress({ stage: 'files', file: path, loadedBytes: doneBytes, totalBytes }),
  );
  return repository.source();
}
