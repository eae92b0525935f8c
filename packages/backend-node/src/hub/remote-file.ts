/** A file on a hub that is read in parts, to look at headers before gigabytes move. Nothing of it is kept. */
import { DimoError, escapeText, type WeightFile } from '@dimo/core';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { fileAddress, type HubFile } from './api.js';
import { describeType } from './json-request.js';
import { blobPath, partialFolder } from './cache.js';
import type { DownloadContext } from './download.js';
import { request, TransferFailure, withRetries } from './request.js';

/** Bytes that the first request asks for: most headers are shorter. */
const firstBytes = 2 ** 16;

/**
 * Opens a file. What the cache has of it is read there (its hash is checked when the file is fetched), the rest is asked
 * for by range.
 */
export function openRemoteFile(file: HubFile, context: DownloadContext): WeightFile {
  let start: Uint8Array = new Uint8Array();
  return {
    length: file.bytes,
    async read(begin, end) {
      if (end <= start.length) return start.slice(begin, end);
      const local = await readLocally(file, context, begin, end);
      if (local) return local;
      if (begin > 0) return fetchRange(file, context, begin, end);
      start = await fetchRange(file, context, 0, Math.min(file.bytes, Math.max(end, firstBytes)));
      return start.slice(0, end);
    },
    close: () => Promise.resolve(),
  };
}

/** The bytes from the cache, where a whole file of the right length or a part that is long enough lies there. */
async function readLocally(
  { hash, bytes }: HubFile,
  { repository }: DownloadContext,
  begin: number,
  end: number,
): Promise<Uint8Array | undefined> {
  if (!hash) return undefined;
  for (const path of [blobPath(repository, hash.hex), join(partialFolder(repository, hash.hex), 'content.part')]) {
    const handle = await open(path, 'r').catch(() => undefined);
    if (!handle) continue;
    try {
      const { size } = await handle.stat();
      if (size > bytes || size < end) continue;
      const buffer = new Uint8Array(end - begin);
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, begin);
      if (bytesRead === buffer.length) return buffer;
    } finally {
      await handle.close();
    }
  }
  return undefined;
}

function fetchRange(file: HubFile, context: DownloadContext, begin: number, end: number): Promise<Uint8Array> {
  if (begin >= end) return Promise.resolve(new Uint8Array());
  const { settings, signal, reference, commit } = context;
  const address = fileAddress(context, reference, commit, file.path);
  const headers = { range: `bytes=${begin}-${end - 1}` };
  return withRetries(settings, signal, () =>
    request(address, { settings, signal, headers }, async ({ response, place, chunks }) => {
      if ((response.headers.get('content-type') ?? '').startsWith('text/html'))
        throw new TransferFailure(`${place}: sent ${describeType(response)} in place of the file`, 'wrong');
      const range = /^bytes ([0-9]{1,15})-/.exec(response.headers.get('content-range') ?? '')?.[1];
      // A server that knows no ranges sends the file from its beginning.
      const first = response.status === 206 ? Number(range) : 0;
      if (first !== begin && response.status === 206)
        throw new TransferFailure(`${place}: answered with another range than from byte ${begin}`, 'wrong');
      const buffer = new Uint8Array(end - begin);
      let position = first;
      for await (const chunk of chunks()) {
        const from = Math.max(0, begin - position);
        const part = chunk.subarray(from, Math.max(from, end - position));
        buffer.set(part, Math.max(0, position - begin));
        position += chunk.length;
        if (position >= end) return buffer;
      }
      throw new TransferFailure(`${place}: the connection ended after ${position} of ${end} bytes`);
    }),
  );
}

/** Small files of a model have less; reading a larger one whole, unseen, would be a download without progress. */
const maximumSmallFile = 2 ** 26;

/** Refuses to read a large file as if it were a small one. @throws DimoError with code `network` */
export function checkSmallFile({ path, bytes }: HubFile, where: string): void {
  if (bytes > maximumSmallFile)
    throw new DimoError(
      'network',
      `${where}: ${escapeText(path, 200)} has ${bytes} bytes, at most ${maximumSmallFile} are expected of such a file`,
      { hint: 'the repository is of another kind, or broken' },
    );
}
