/** What has arrived of a file: `content.part`, and beside it the version of the content that the bytes belong to. */
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { withIoError } from '../storage/io-error.js';
import { flush, openForUpdate, readFileChecked, writeFileDurably } from '../storage/files.js';

/** An unfinished file, open. */
export interface Part {
  readonly path: string;
  /** Bytes so far. */
  bytes(): number;
  /** Strong ETag of the content that the bytes belong to: without it they cannot be continued. */
  etag(): string | undefined;
  /** Forgets all bytes; those that come next belong to the content with this ETag. */
  restart(etag: string | undefined): Promise<void>;
  append(chunk: Uint8Array): Promise<void>;
  /** Returns when the bytes are on the disk. */
  flush(): Promise<void>;
  close(): Promise<void>;
}

/**
 * Opens the part in a folder, which must exist and belong to this process alone.
 *
 * @param expectedBytes - of the whole file; a longer part is forgotten.
 */
export async function openPart(folder: string, expectedBytes: number): Promise<Part> {
  const path = join(folder, 'content.part');
  const statePath = join(folder, 'state.json');
  const io = <T>(run: () => Promise<T>): Promise<T> => withIoError('write', path, run, expectedBytes);
  const file: FileHandle = await io(() => openForUpdate(path));
  let length = (await file.stat()).size;
  let etag = await readEtag(statePath);
  const part: Part = {
    path,
    bytes: () => length,
    etag: () => etag,
    async restart(next) {
      // The order matters to a process that is killed: no bytes, then their new version.
      await io(() => file.truncate(0));
      length = 0;
      etag = next;
      await writeFileDurably(statePath, new TextEncoder().encode(JSON.stringify({ etag: next ?? null })));
    },
    async append(chunk) {
      for (let written = 0; written < chunk.length;) {
        const { bytesWritten } = await io(() => file.write(chunk, written, chunk.length - written, length));
        written += bytesWritten;
        length += bytesWritten;
      }
    },
    flush: () => io(() => flush(file)),
    close: () => file.close(),
  };
  // A complete part needs no continuation, only its hash.
  if (length > expectedBytes || (length < expectedBytes && length > 0 && etag === undefined))
    await part.restart(undefined);
  return part;
}

async function readEtag(path: string): Promise<string | undefined> {
  try {
    const state = JSON.parse(new TextDecoder().decode(await readFileChecked(path, 10_000))) as {
      readonly etag?: unknown;
    } | null;
    return strongEtag(state?.etag);
  } catch {
    return undefined;
  }
}

/** The value if it is a strong ETag that can be sent back, else undefined. */
export function strongEtag(value: unknown): string | undefined {
  return typeof value === 'string' && /^"[\x21\x23-\x7e]{1,500}"$/.test(value) ? value : undefined;
}
