/** One file over HTTP: with progress, resumed by range where a connection is cut, stopped on request or by a stall. */
import { DimoError, escapeText, OptionError } from '@dimo/core';

/** How far a file has come. */
export interface FileProgress {
  /** Bytes that are here. */
  readonly loaded: number;
  /** Bytes in all, if the server or a manifest has said so. */
  readonly total: number | undefined;
}

/** Options of `fetchFile`. */
export interface FetchFileOptions {
  /** Length that the file must have. */
  readonly expectedBytes?: number | undefined;
  /** A longer file is refused. @default 4 GiB */
  readonly maximumBytes?: number;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: FileProgress) => void) | undefined;
  /** How often a transfer is taken up again after no byte came. Progress starts the count anew. @default 4 */
  readonly attempts?: number;
  /** A connection that sends nothing for so long is cut. @default 30000 */
  readonly stallMilliseconds?: number;
  /** Pause before the second attempt; doubles each time. @default 500 */
  readonly pauseMilliseconds?: number;
}

/** A fetched file. */
export interface FetchedFile {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** As the server gave it, if it did and the page may see it. */
  readonly etag: string | undefined;
}

/** An attempt failed that is worth repeating. */
class Interrupted extends Error {}

/** The other side has another file than before: what is here is worthless. */
class Changed extends Error {}

/** `onProgress` threw; the fetch must not hide that behind a failed connection. */
class ListenerFailed extends Error {}

/**
 * Fetches a file. A cut connection is taken up where it broke, if the server knows ranges and the file is the same.
 *
 * @throws OptionError for 401, 403, 404 and 410: a wrong address.
 * @throws DimoError with code `network` for every other failure, `cancelled` if `signal` says so.
 * @throws whatever `onProgress` throws; that ends the fetch.
 */
export async function fetchFile(url: string, options: FetchFileOptions = {}): Promise<FetchedFile> {
  const { attempts = 4, pauseMilliseconds = 500, signal } = options;
  let transfer = newTransfer(options);
  let failures = 0;
  for (;;) {
    const before = transfer.received;
    try {
      await attempt(url, transfer, options);
      return { bytes: finished(transfer), etag: transfer.etag };
    } catch (error) {
      if (error instanceof ListenerFailed) throw error.cause;
      if (signal?.aborted) throw cancelled(url);
      if (error instanceof Changed) transfer = newTransfer(options);
      else if (!(error instanceof Interrupted)) throw error;
      failures = transfer.received > before ? 1 : failures + 1;
      if (failures >= attempts)
        throw new DimoError('network', `${escapeText(url)}: ${error.message}, ${failures} times in a row`, {
          path: url,
          hint: 'look at the connection and try again',
          cause: error.cause,
        });
      await pause(pauseMilliseconds * 2 ** (failures - 1), signal);
    }
  }
}

/** What has arrived so far. */
interface Transfer {
  buffer: Uint8Array<ArrayBuffer>;
  received: number;
  total: number | undefined;
  etag: string | undefined;
}

function newTransfer({ expectedBytes }: FetchFileOptions): Transfer {
  return { buffer: new Uint8Array(0), received: 0, total: expectedBytes, etag: undefined };
}

async function attempt(url: string, transfer: Transfer, options: FetchFileOptions): Promise<void> {
  const { signal, stallMilliseconds = 30_000, onProgress } = options;
  const controller = new AbortController();
  const stop = (): void => controller.abort();
  if (signal?.aborted) throw cancelled(url);
  signal?.addEventListener('abort', stop);
  let stalled = false;
  let isComplete = false;
  let watchdog: ReturnType<typeof setTimeout> | undefined;
  const feed = (): void => {
    clearTimeout(watchdog);
    watchdog = setTimeout(() => {
      stalled = true;
      controller.abort();
    }, stallMilliseconds);
  };
  feed();
  try {
    const response = await fetch(url, {
      signal: controller.signal,
      // Asked for as a range from the start: servers then leave out compression, so that lengths and offsets are true.
      headers: { range: `bytes=${transfer.received}-` },
      cache: 'no-store',
    });
    if (response.status === 416 && transfer.received === 0) return void (transfer.total = 0); // an empty file
    checkStatus(response, url);
    begin(response, transfer, options, url);
    const reader = response.body?.getReader();
    for (;;) {
      const { done, value } = (await reader?.read()) ?? { done: true, value: undefined };
      if (done) {
        isComplete = true;
        break;
      }
      feed();
      append(transfer, value, options, url);
      tell(onProgress, transfer);
    }
  } catch (cause) {
    if (cause instanceof Interrupted || cause instanceof Changed || cause instanceof ListenerFailed) throw cause;
    if (DimoError.isInstance(cause)) throw cause;
    const what = stalled
      ? `sent nothing for ${stallMilliseconds / 1000} s`
      : `the connection failed: ${reasonOf(cause)}`;
    throw new Interrupted(what, { cause });
  } finally {
    clearTimeout(watchdog);
    signal?.removeEventListener('abort', stop);
    if (!isComplete) controller.abort(); // closes what is still open; browsers call it a failed request
  }
  const { received, total } = transfer;
  if (total !== undefined && received < total) throw new Interrupted(`ended after ${received} of ${total} bytes`);
}

function tell(onProgress: FetchFileOptions['onProgress'], { received, total }: Transfer): void {
  try {
    onProgress?.({ loaded: received, total });
  } catch (cause) {
    throw new ListenerFailed('onProgress threw', { cause });
  }
}

function checkStatus(response: Response, url: string): void {
  const { status } = response;
  if (status === 200 || status === 206) return;
  const place = escapeText(url);
  if ([401, 403, 404, 410].includes(status))
    throw new OptionError(`${place}: the server answers ${status}: no such file, or not for everybody`, {
      path: url,
      hint: 'check the address of the folder',
    });
  if (status === 416) throw new Changed('the file became shorter while it was fetched');
  if (status === 408 || status === 429 || status >= 500) throw new Interrupted(`the server answered ${status}`);
  throw new DimoError('network', `${place}: the server answered ${status}`, { path: url });
}

/** Takes the headers of an answer into account. */
function begin(response: Response, transfer: Transfer, options: FetchFileOptions, url: string): void {
  const etag = response.headers.get('etag') ?? undefined;
  if (transfer.received > 0) {
    if (etag !== undefined && transfer.etag !== undefined && etag !== transfer.etag)
      throw new Changed('the file changed while it was fetched');
    if (response.status === 200) transfer.received = 0; // the server knows no ranges: from the start
  }
  transfer.etag = etag;
  const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(response.headers.get('content-range') ?? '');
  if (range && Number(range[1]) !== transfer.received) throw new Changed('the server sent another part of the file');
  const length = response.headers.get('content-length');
  const total =
    range && range[2] !== '*'
      ? Number(range[2])
      : length !== null && (response.status === 206 || !isCompressed(response))
        ? transfer.received + Number(length)
        : undefined;
  if (total === undefined) return;
  if (options.expectedBytes !== undefined && total !== options.expectedBytes) throw wrongLength(url, total, options);
  if (transfer.received > 0 && transfer.total !== undefined && total !== transfer.total)
    throw new Changed('the file changed while it was fetched');
  checkMaximum(total, options, url);
  transfer.total = total;
}

/** A page of another origin may not see the header; what makes sense of the length then is that no more comes. */
function isCompressed(response: Response): boolean {
  return response.headers.has('content-encoding') || response.type === 'cors';
}

function append(transfer: Transfer, chunk: Uint8Array, options: FetchFileOptions, url: string): void {
  const end = transfer.received + chunk.length;
  if (options.expectedBytes !== undefined && end > options.expectedBytes) throw wrongLength(url, end, options);
  checkMaximum(end, options, url);
  if (end > transfer.buffer.length) {
    const grown = allocate(Math.max(transfer.total ?? 0, end, Math.min(2 * transfer.buffer.length, 2 ** 30)), url);
    grown.set(transfer.buffer.subarray(0, transfer.received));
    transfer.buffer = grown;
  }
  transfer.buffer.set(chunk, transfer.received);
  transfer.received = end;
}

function allocate(length: number, url: string): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(length);
  } catch (cause) {
    throw new DimoError('io', `${escapeText(url)}: ${length} bytes do not fit into this page's memory`, {
      path: url,
      hint: 'close other pages, or use a smaller model',
      cause,
    });
  }
}

function finished({ buffer, received }: Transfer): Uint8Array<ArrayBuffer> {
  return buffer.length === received ? buffer : buffer.slice(0, received);
}

function checkMaximum(bytes: number, { maximumBytes = 2 ** 32 }: FetchFileOptions, url: string): void {
  if (bytes > maximumBytes)
    throw new DimoError('network', `${escapeText(url)}: is longer than ${maximumBytes} bytes`, { path: url });
}

function wrongLength(url: string, bytes: number, { expectedBytes }: FetchFileOptions): DimoError {
  return new DimoError('network', `${escapeText(url)}: expected ${expectedBytes} bytes, the server sends ${bytes}`, {
    path: url,
    hint: 'the file is not the one that the manifest describes: update either',
  });
}

function reasonOf(cause: unknown): string {
  const { message, cause: inner } = cause as { message?: string; cause?: { message?: string } };
  return (inner?.message ?? message ?? String(cause)).split('\n')[0]!;
}

function pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve(); // the next attempt throws
    });
  });
}

/** The error of a fetch that its signal has ended. */
export function cancelled(url: string): DimoError {
  return new DimoError('cancelled', `${escapeText(url)}: fetching was stopped on request`, { path: url });
}
