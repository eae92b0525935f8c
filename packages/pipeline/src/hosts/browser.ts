/** Files and engines of browsers. */
import {
  browserFileCache,
  cacheKey,
  chooseWebEngine,
  createWebEngine,
  fetchFile,
  httpModelFolder,
  webEngines,
  type WebEngineName,
  type WebEngineOptions,
} from '@dimo/backend-web';
import { DimoError, escapeText, OptionError, sha256Hex, WeightError, type WeightSource } from '@dimo/core';
import { findPreset, presets, type Preset } from '@dimo/presets';
import type { OpeningContext } from './host.js';
import { definePipeline, type Pipeline } from './pipeline.js';

/** Makes a model of a preset or of a folder on a server callable, on the visitor's own device. See `Generate`. */
export const pipeline: Pipeline<WebEngineOptions> = definePipeline<WebEngineOptions>({
  engines: webEngines.map(({ name }) => name),
  engineOptions: ['threads', 'onnxruntimeFiles', 'tfjsWasmFiles', 'largestTensorBytes'],
  readsPresets: true,
  async openEngine(name, options = {}, { signal, onProgress }) {
    if (name === 'auto')
      return chooseWebEngine({
        ...options,
        signal,
        onProgress: ({ engine }) => onProgress({ stage: 'engine', engine }),
      });
    const engine = await createWebEngine(name as WebEngineName, options);
    return { engine, explanation: `engine ${engine.info.name} on ${engine.info.device}, as requested` };
  },
  openPreset: (name, context) => presetSource(findPreset(name)!, context),
  openPlace(place, context) {
    if (/^hf:/i.test(place))
      throw new OptionError(`"${escapeText(place, 200)}" names a repository on a hub, which only Node reads`, {
        hint: 'give the address of its folder (https://...)',
      });
    // A word alone is a misspelt preset, not a folder beside the page.
    if (!/[/.:]/.test(place))
      throw new OptionError(`there is no preset "${escapeText(place, 200)}"`, {
        hint: `presets are ${Object.keys(presets).join(', ')}; an address has a slash: ./models/mine/`,
      });
    return httpModelFolder(place, {
      signal: context.signal,
      onProgress: ({ file, loaded, total }) =>
        context.onProgress({ stage: 'files', file, loadedBytes: loaded, totalBytes: total }),
    });
  },
  places: 'the name of a preset, the address of a folder, or a WeightSource',
  saveFile: () =>
    Promise.reject(
      new OptionError('save: a page writes no files', {
        hint: 'use toBlob() and a link with the attribute download, or drawTo(canvas)',
      }),
    ),
});

/** The files of a preset, wherever the bundler or the server has put each; kept in the browser's cache under their hashes. */
function presetSource({ name: preset, files }: Preset, context: OpeningContext): WeightSource {
  const cache = browserFileCache();
  const base = context.presets === undefined ? undefined : absoluteFolder(context.presets);
  const addressOf = (name: string): string =>
    base === undefined ? files[name]!.url : new URL(`${preset}/${name}`, base).href;
  return {
    location: `preset ${preset}`,
    list: () => Promise.resolve(Object.keys(files)),
    async read(name) {
      const file = Object.hasOwn(files, name) ? files[name] : undefined;
      if (!file) throw new DimoError('io', `preset ${preset}: there is no file ${escapeText(name, 200)}`);
      const url = addressOf(name);
      const key = cacheKey(url, file.sha256);
      const kept = await cache?.get(key).catch(() => undefined);
      if (kept && (await sha256Hex(kept)) === file.sha256) return kept;
      const { bytes } = await fetchFile(url, {
        expectedBytes: file.bytes,
        signal: context.signal,
        onProgress: ({ loaded, total }) =>
          context.onProgress({ stage: 'files', file: name, loadedBytes: loaded, totalBytes: total }),
      }).catch((error: unknown) => {
        if (!DimoError.isInstance(error) || error.code === 'cancelled') throw error;
        throw new DimoError(error.code, error.message, { path: url, hint: whereFiles, cause: error });
      });
      if ((await sha256Hex(bytes)) !== file.sha256)
        throw new WeightError(`${escapeText(url)} is not the file of the preset ${preset}: its SHA-256 is another`, {
          path: url,
          hint: whereFiles,
        });
      await cache?.put(key, bytes).catch(() => undefined);
      return bytes;
    },
  };
}

const whereFiles =
  'serve the folder `presets` of the package @dimo/presets and name its address with the option `presets`, or use a bundler that carries files along';

/** An absolute address that ends with a slash. @throws OptionError */
function absoluteFolder(address: string): string {
  const here = (globalThis as { readonly location?: { readonly href: string } }).location?.href;
  if (!URL.canParse(address, here))
    throw new OptionError(`pipeline: presets must be the address of a folder, got "${escapeText(address, 200)}"`);
  const { href, search, hash } = new URL(address, here);
  if (search !== '' || hash !== '')
    throw new OptionError(
      `pipeline: presets must be the address of a folder, without "${escapeText(search + hash, 100)}" at its end; got "${escapeText(address, 200)}"`,
    );
  return href.endsWith('/') ? href : `${href}/`;
}
