/** Makes one call of the file system fail, by its number, in this process. Everything else is the real file system. */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import path from 'node:path';

/** Which call fails, and how. */
export interface Fault {
  /** Calls on paths below this folder count. */
  readonly root: string;
  /** From 1; 0: none fails. */
  readonly at: number;
  /** `ENOSPC`. */
  readonly code: string;
}

/** What happened. */
export interface FaultReport<T> {
  readonly value?: T;
  readonly error?: unknown;
  /** Calls in all. */
  readonly numCalls: number;
  /** `write checkpoints/...`, if it came to that. */
  readonly failed: string | undefined;
}

const asynchronous = ['mkdir', 'readdir', 'rename', 'rm', 'link'] as const;
const synchronous = ['openSync', 'writeFileSync', 'writeSync'] as const;
type AnyFunction = (...args: unknown[]) => unknown;

/** Runs something with one fault. */
export async function withFault<T>({ root, at, code }: Fault, run: () => Promise<T>): Promise<FaultReport<T>> {
  const promises = fs.promises as unknown as Record<string, AnyFunction>;
  const sync = fs as unknown as Record<string, AnyFunction>;
  const originals = {
    promises: Object.fromEntries([...asynchronous, 'open'].map((name) => [name, promises[name]!])),
    sync: Object.fromEntries(synchronous.map((name) => [name, sync[name]!])),
  };
  const opened = new Map<number, string>();
  let numCalls = 0;
  let failed: string | undefined;

  function count(name: string, place: unknown): void {
    const where = typeof place === 'number' ? opened.get(place) : place;
    if (typeof where !== 'string' || !path.resolve(where).startsWith(root)) return;
    numCalls++;
    if (numCalls !== at) return;
    failed = `${name} ${path.relative(root, where)}`;
    throw Object.assign(new Error(`${code}: injected, ${name}`), { code, syscall: name, path: where });
  }

  for (const name of asynchronous)
    promises[name] = async (...args) => {
      count(name, args[0]);
      return originals.promises[name]!.apply(fs.promises, args);
    };
  promises['open'] = async (...args) => {
    count('open', args[0]);
    const handle = (await originals.promises['open']!.apply(fs.promises, args)) as Record<string, AnyFunction>;
    for (const name of ['write', 'sync', 'close']) {
      const original = handle[name]!.bind(handle);
      handle[name] = async (...rest) => {
        try {
          count(name, args[0]);
        } catch (error) {
          // What fails to close is closed all the same; a disk that fills up takes a part first.
          if (name === 'close') await original();
          if (name === 'write') await original(rest[0], 0, Math.max(1, (rest[0] as Uint8Array).length >> 1));
          throw error;
        }
        return original(...rest);
      };
    }
    return handle;
  };
  for (const name of synchronous)
    sync[name] = (...args) => {
      count(name, args[0]);
      const result = originals.sync[name]!.apply(fs, args);
      if (name === 'openSync') opened.set(result as number, String(args[0]));
      return result;
    };
  syncBuiltinESMExports();
  try {
    return { value: await run(), numCalls, failed };
  } catch (error) {
    return { error, numCalls, failed };
  } finally {
    Object.assign(fs.promises, originals.promises);
    Object.assign(fs, originals.sync);
    syncBuiltinESMExports();
  }
}
