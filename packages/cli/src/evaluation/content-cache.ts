/**
 * What is slow to make and can be made again, kept by keys of its content. An entry that was cut, changed or renamed is
 * recognized and made anew; processes that make the same entry at once do not disturb each other.
 */
import { readFileChecked } from '@dimo/backend-node';
import { DimoError, sha256Hex } from '@dimo/core';
import { randomUUID } from 'node:crypto';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';

/** Folder for what can be made again: `DIMO_CACHE`, else `dimo` in the user's cache folder. */
export function cacheFolder(): string {
  const { DIMO_CACHE: own, XDG_CACHE_HOME: shared } = process.env;
  return own || join(shared || join(homedir(), '.cache'), 'dimo');
}

/** One kind of entry with its key. */
export interface CacheEntry<T> {
  /** `judge`, `reference`. */
  readonly kind: string;
  /** Of everything that the value depends on; letters and digits. */
  readonly key: string;
  /** @throws DimoError if the bytes are not such a value. */
  readonly read: (bytes: Uint8Array, path: string) => T;
  readonly make: () => Promise<Uint8Array>;
  /** Told if the entry cannot be kept: that costs time, not the result. */
  readonly onProblem: (line: string) => void;
}

/** The value of an entry, made if it is not there. */
export async function cached<T>({ kind, key, read, make, onProblem }: CacheEntry<T>): Promise<T> {
  const path = join(cacheFolder(), `${kind}-${key}.cache`);
  const found = await readEntry(path, key);
  try {
    if (found) return read(found, path);
  } catch (error) {
    if (!DimoError.isInstance(error)) throw error;
  }
  const bytes = await make();
  await writeEntry(path, key, bytes).catch((error: unknown) =>
    onProblem(
      `note: ${path} could not be kept for the next time: ${error instanceof Error ? error.message : String(error)}`,
    ),
  );
  return read(bytes, path);
}

/** Length of the hash that ends a file, as hexadecimal digits. */
const hashLength = 64;

async function hashOf(key: string, content: Uint8Array): Promise<string> {
  return sha256Hex(new TextEncoder().encode(`${key} ${await sha256Hex(content)}`));
}

/** Content of a whole entry of this key, or undefined. */
async function readEntry(path: string, key: string): Promise<Uint8Array | undefined> {
  let file: Uint8Array;
  try {
    file = await readFileChecked(path);
  } catch (error) {
    if (DimoError.isInstance(error)) return undefined;
    throw error;
  }
  if (file.length < hashLength) return undefined;
  // Copied: readers of weights want their bytes aligned.
  const content = file.slice(0, -hashLength);
  const hash = new TextDecoder().decode(file.subarray(-hashLength));
  return hash === (await hashOf(key, content)) ? content : undefined;
}

async function writeEntry(path: string, key: string, content: Uint8Array): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const temporary = `${path}.${randomUUID()}`;
  try {
    await writeFile(temporary, Buffer.concat([content, new TextEncoder().encode(await hashOf(key, content))]));
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}
