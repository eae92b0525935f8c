/** A model folder on a web server, read-only: what core's and the teachers' loaders take as their source. */
import { DimoError, escapeText, OptionError, sha256Hex, WeightError, type WeightSource } from '@dimo/core';
import { cancelled, fetchFile, type FetchFileOptions } from './fetch-file.js';
import { browserFileCache, cacheKey, type FileCache } from './file-cache.js';
import { checkFileName, manifestFileName, parseManifest, type ManifestEntry, type ModelManifest } from './manifest.js';

/** Progress of one file of a folder. */
export interface FolderProgress {
  /** Name in the folder. */
  readonly file: string;
  readonly loaded: number;
  /** Bytes in all, if known. */
  readonly total: number | undefined;
  /** True if the file came from the cache, whole. */
  readonly fromCache: boolean;
}

/** Options of `httpModelFolder`. */
export interface HttpModelFolderOptions extends Pick<
  FetchFileOptions,
  'signal' | 'maximumBytes' | 'attempts' | 'stallMilliseconds' | 'pauseMilliseconds'
> {
  readonly onProgress?: (progress: FolderProgress) => void;
  /** Where files are kept; `false` keeps nothing. @default the browser's Cache Storage, where there is one */
  readonly cache?: FileCache | false;
  /**
   * What the files must be: a manifest; `manifest`: the folder's `manifest.json`, which must be there; `none`: whatever
   * comes. @default the folder's `manifest.json` where there is one
   */
  readonly integrity?: ModelManifest | 'manifest' | 'none';
  /**
   * Names of the files in a folder without a manifest, since web servers do not list. @default the usual ones, for each
   * of which the server is asked
   */
  readonly files?: readonly string[];
}

/** Files that a folder without a manifest is asked for. */
const usualFiles = [
  'config.json',
  'teacher.json',
  'words.json',
  'model.safetensors',
  'decoder.safetensors',
  'transformer.safetensors',
  'tokenizer.safetensors',
];

/** What tells that there is a model in a folder of its own, as in runs and beside a teacher. */
const nestedDescriptions = ['generator/config.json', 'teacher/teacher.json'];

/** A web folder, and what a page may want to do with it besides reading. */
export interface HttpModelFolder extends WeightSource {
  /** The manifest in force; undefined if there is none. */
  manifest(): Promise<ModelManifest | undefined>;
}

/**
 * A model folder under an address: `readGenerator(httpModelFolder('/models/mnist/'), teachers)`.
 *
 * Files that a manifest describes are checked against it, kept in the cache under address and hash, and not asked for
 * again. Files without one are kept under their ETag, for which the server is asked each time. Files with 16-bit floats
 * (`float: 'F16'` of the writers) take half the transfer; core's reader knows them.
 *
 * @param baseUrl - address of the folder, with or without a slash at the end; relative ones count from the page or worker.
 * @throws OptionError for an address that is none; when read, for a file that is not there.
 * @throws WeightError when read, if a file is not the one that the manifest describes; it is not kept then.
 * @throws DimoError with code `network` or `cancelled` when read.
 */
export function httpModelFolder(baseUrl: string | URL, options: HttpModelFolderOptions = {}): HttpModelFolder {
  const base = absoluteFolder(baseUrl);
  const { integrity, files, cache = browserFileCache(), onProgress, ...fetchOptions } = options;
  const kept = cache === false ? undefined : cache;
  let manifest: Promise<ModelManifest | undefined> | undefined;

  function loadManifest(): Promise<ModelManifest | undefined> {
    if (typeof integrity === 'object') return Promise.resolve(integrity);
    if (integrity === 'none') return Promise.resolve(undefined);
    manifest ??= fetchManifest().catch((error: unknown) => {
      manifest = undefined; // the next call asks again
      throw error;
    });
    return manifest;
  }

  /** The folder's manifest; without a connection, the one of the last time. */
  async function fetchManifest(): Promise<ModelManifest | undefined> {
    const url = addressOf(manifestFileName);
    const key = cacheKey(url, 'latest');
    try {
      const { bytes } = await fetchFile(url, { ...fetchOptions, maximumBytes: 2 ** 20 });
      // A server may answer with its start page instead of 404.
      if (integrity === undefined && bytes[0] !== 0x7b) return undefined;
      const parsed = parseManifest(bytes, url);
      await keep(key, bytes);
      return parsed;
    } catch (error) {
      if (!DimoError.isInstance(error)) throw error;
      if (error.code === 'network') {
        const last = await lookUp(key);
        if (last) return parseManifest(last, url);
      }
      if (integrity === undefined && error.code === 'option' && / answers 40[34]/.test(error.message)) return undefined;
      throw error;
    }
  }

  async function read(name: string, maximumBytes?: number): Promise<Uint8Array> {
    const url = addressOf(name);
    const entry = (await loadManifest())?.files[name];
    if (!entry && (await loadManifest()))
      throw new OptionError(`${escapeText(base)}: the manifest has no file "${escapeText(name)}"`, { path: base });
    const validator = entry?.sha256 ?? (kept && (await currentEtag(url, fetchOptions.signal)));
    if (validator !== undefined) {
      const found = await lookUp(cacheKey(url, validator));
      if (found && (await isIntact(found, entry))) {
        onProgress?.({ file: name, loaded: found.length, total: found.length, fromCache: true });
        return found;
      }
      if (found) await kept?.delete(cacheKey(url, validator)).catch(() => {});
    }
    const { bytes, etag } = await fetchFile(url, {
      ...fetchOptions,
      expectedBytes: entry?.bytes,
      ...(maximumBytes === undefined
        ? {}
        : { maximumBytes: Math.min(maximumBytes, fetchOptions.maximumBytes ?? maximumBytes) }),
      onProgress: ({ loaded, total }) => onProgress?.({ file: name, loaded, total, fromCache: false }),
    });
    if (!(await isIntact(bytes, entry)))
      throw new WeightError(`${escapeText(url)}: its SHA-256 is not the one of the manifest`, {
        path: url,
        hint: 'the file was damaged or exchanged: upload it again, or update the manifest',
      });
    const newValidator = entry?.sha256 ?? etag;
    if (newValidator !== undefined) await keep(cacheKey(url, newValidator), bytes);
    return bytes;
  }

  function addressOf(name: string): string {
    checkFileName(name, escapeText(base));
    return new URL(name.split('/').map(encodeURIComponent).join('/'), base).href;
  }

  /** Those of the names that the server has. */
  async function present(names: readonly string[]): Promise<string[]> {
    const answers = await Promise.all(names.map((name) => exists(addressOf(name), fetchOptions.signal)));
    return names.filter((_, index) => answers[index]);
  }

  async function lookUp(key: string): Promise<Uint8Array | undefined> {
    return kept?.get(key).catch(() => undefined); // a cache that fails is a cache that has nothing
  }

  async function keep(key: string, bytes: Uint8Array): Promise<void> {
    await kept?.put(key, bytes).catch(() => {}); // no room: fetched again next time
  }

  return {
    location: base,
    manifest: loadManifest,
    async list() {
      const known = await loadManifest();
      if (known) return Object.keys(known.files).sort();
      if (files) return [...files].sort();
      const found = await present([...usualFiles, ...nestedDescriptions]);
      const inside = found.flatMap((name) => {
        const folder = nestedDescriptions.includes(name) ? `${name.split('/')[0]}/` : undefined;
        return folder ? usualFiles.map((file) => folder + file).filter((file) => file !== name) : [];
      });
      return [...found, ...(await present(inside))];
    },
    read,
  };
}

/** An absolute address that ends with a slash, so that names resolve inside the folder. */
function absoluteFolder(baseUrl: string | URL): string {
  try {
    const here = (globalThis as { readonly location?: { readonly href: string } }).location?.href;
    const url = new URL(baseUrl, here?.startsWith('blob:') ? here.slice('blob:'.length) : here);
    if (!/^https?:$/.test(url.protocol)) throw new Error('not http(s)');
    url.search = url.hash = '';
    if (!url.pathname.endsWith('/')) url.pathname += '/';
    return url.href;
  } catch (cause) {
    throw new OptionError(`httpModelFolder: "${escapeText(String(baseUrl))}" is no http(s) address of a folder`, {
      cause,
    });
  }
}

async function isIntact(bytes: Uint8Array, entry: ManifestEntry | undefined): Promise<boolean> {
  if (!entry) return true;
  return bytes.length === entry.bytes && (await sha256Hex(bytes)) === entry.sha256;
}

async function currentEtag(url: string, signal: AbortSignal | undefined): Promise<string | undefined> {
  return (await head(url, signal))?.headers.get('etag') ?? undefined;
}

async function exists(url: string, signal: AbortSignal | undefined): Promise<boolean> {
  const response = await head(url, signal);
  // A start page in place of 404 is a document.
  return response?.ok === true && !/^text\/html/.test(response.headers.get('content-type') ?? '');
}

async function head(url: string, signal: AbortSignal | undefined): Promise<Response | undefined> {
  return fetch(url, { method: 'HEAD', signal: signal ?? null, cache: 'no-store' }).catch(() => {
    if (signal?.aborted) throw cancelled(url);
    return undefined;
  });
}
