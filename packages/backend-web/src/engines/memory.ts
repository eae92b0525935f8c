/** Where a browser remembers which engine is fastest. */
import type { EngineMemory } from '@dimo/core';

/**
 * A small table in IndexedDB, which pages and workers share.
 *
 * @returns undefined where there is none (Node, some private windows).
 */
export function browserMemory(name = 'dimo-engines'): EngineMemory | undefined {
  const factory = (globalThis as { readonly indexedDB?: IDBFactory }).indexedDB;
  if (!factory) return undefined;
  const table = 'answers';
  const open = (): Promise<IDBDatabase> => {
    const request = factory.open(name, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(table);
    return settled(request);
  };
  const inTable = async <T>(mode: IDBTransactionMode, use: (store: IDBObjectStore) => IDBRequest<T>): Promise<T> => {
    const database = await open();
    try {
      return await settled(use(database.transaction(table, mode).objectStore(table)));
    } finally {
      database.close();
    }
  };
  return {
    async get(key) {
      const value: unknown = await inTable('readonly', (store) => store.get(key));
      return typeof value === 'string' ? value : undefined;
    },
    async set(key, value) {
      await inTable('readwrite', (store) => store.put(value, key));
    },
  };
}

function settled<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error('IndexedDB failed'));
  });
}
