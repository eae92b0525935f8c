/** Files that were fetched once are kept by the browser: the same file, told by address and hash, needs no network again. */

/** Keeps files by key. Keys are those of `cacheKey`. */
export interface FileCache {
  /** The file's bytes; undefined if it is not there. */
  get(key: string): Promise<Uint8Array | undefined>;
  /** Keeps a file. May reject, for example when the visitor's quota is used up; the file is then not kept. */
  put(key: string, bytes: Uint8Array): Promise<void>;
  delete(key: string): Promise<void>;
}

/** Key of a file: where it comes from and what proves that it is still the same (its SHA-256, else its ETag). */
export function cacheKey(url: string, validator: string): string {
  // Cache Storage wants addresses of http(s), and leaves fragments out of account.
  const key = new URL(url);
  key.hash = '';
  key.searchParams.set('dimo-validator', validator);
  return key.href;
}

/**
 * The browser's Cache Storage, on pages and in workers.
 *
 * @param name - of the cache, shared by all pages of the origin.
 * @returns undefined where there is none: in Node, and on pages that are not served over https or from this machine.
 */
export function browserFileCache(name = 'dimo-models-1'): FileCache | undefined {
  const storage = (globalThis as { readonly caches?: CacheStorage }).caches;
  if (!storage) return undefined;
  return {
    async get(key) {
      const found = await (await storage.open(name)).match(key);
      return found && new Uint8Array(await found.arrayBuffer());
    },
    async put(key, bytes) {
      // A Blob: the browser may then write it to disk without another copy in memory.
      const body = new Blob([bytes as Uint8Array<ArrayBuffer>], { type: 'application/octet-stream' });
      await (await storage.open(name)).put(key, new Response(body));
    },
    async delete(key) {
      await (await storage.open(name)).delete(key);
    },
  };
}

/** A cache in memory, for tests and for pages that must not keep anything. */
export function memoryFileCache(): FileCache {
  const files = new Map<string, Uint8Array>();
  return {
    get: (key) => Promise.resolve(files.get(key)?.slice()),
    put: (key, bytes) => {
      files.set(key, bytes.slice());
      return Promise.resolve();
    },
    delete: (key) => {
      files.delete(key);
      return Promise.resolve();
    },
  };
}
