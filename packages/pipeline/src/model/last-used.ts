/** Things that are dear to make, by key; the one that was not used for longest is given up. */

interface Disposable {
  dispose(): Promise<void>;
}

/** Keeps what was made last. */
export interface LastUsed<T extends Disposable> {
  /** What is kept under a key, else what `make` makes. Nobody may be using what it gives up. */
  get(key: string, make: () => Promise<T>): Promise<T>;
  /** Gives up everything. */
  dispose(): Promise<void>;
}

/** Keeps at most so many. What failed to be made is not kept. */
export function lastUsed<T extends Disposable>(maximum: number): LastUsed<T> {
  const kept = new Map<string, Promise<T>>();
  return {
    async get(key, make) {
      const found = kept.get(key) ?? make();
      kept.delete(key);
      kept.set(key, found);
      found.catch(() => kept.delete(key));
      const [oldest] = kept.keys();
      if (kept.size > maximum && oldest !== undefined) {
        const unused = kept.get(oldest)!;
        kept.delete(oldest);
        await (await unused.catch(() => undefined))?.dispose();
      }
      return found;
    },
    async dispose() {
      const all = [...kept.values()];
      kept.clear();
      for (const value of all) await (await value.catch(() => undefined))?.dispose();
    },
  };
}
