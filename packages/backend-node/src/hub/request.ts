/**
 * Requests to a hub: redirects followed by hand, so that the token stays with the hub; nothing waits for ever; what
 * may pass by itself is tried again.
 */
import { DimoError, escapeText } from '@dimo/core';
import { setTimeout as wait } from 'node:timers/promises';
import { describeProxy, requestThrough } from './proxy.js';
import type { HubSettings } from './settings.js';
import { checkStatus } from './status.js';
import { TransferFailure } from './transfer-failure.js';

export { TransferFailure };

/** More redirects than this are a circle. */
const maximumRedirects = 8;

/** No such host, nobody there, or somebody else there. */
const unreachable =
  /^(?:ECONNREFUSED|ENOTFOUND|EAI_|EHOSTUNREACH|ENETUNREACH|CERT_|ERR_TLS_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_)/;

/** A server that asks for a longer pause is not waited for. */
const longestPauseMilliseconds = 120_000;

/** One attempt at a request. */
export interface Attempt {
  readonly response: Response;
  /** Headers of the hub's own answer, which may have been a redirect to a store. */
  readonly hubHeaders: Headers;
  /** Where the answer came from, for messages: without a query, which may hold signatures. */
  readonly place: string;
  /** Reads the body; a pause of `stallMilliseconds` between chunks ends it. */
  chunks(): AsyncGenerator<Uint8Array, void, undefined>;
}

/** What a request needs besides its address. */
export interface RequestOptions {
  readonly settings: HubSettings;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal | undefined;
  /** What is sent; without it the request is a GET. */
  readonly send?: RequestBody;
}

/** What a request sends. */
export interface RequestBody {
  readonly method: 'POST' | 'PUT';
  /** Bytes of the content. */
  readonly length: number;
  /** Gives the content from its beginning: called once for each address that it is sent to. */
  content(): AsyncIterable<Uint8Array>;
}

/** A server that has been sent much needs time before it answers. */
const slowerAnswers = 4;

/**
 * Makes one request, follows redirects, and gives the answer to `use`. The connection is closed when `use` returns.
 *
 * @throws TransferFailure for what may go better next time: no connection, a stall, status 408, 429 and 5xx.
 * @throws OptionError for 401, 403 and 404, DimoError with code `network` for everything else.
 */
export async function request<T>(
  address: URL,
  { settings, headers = {}, signal, send }: RequestOptions,
  use: (attempt: Attempt) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  const patience = settings.stallMilliseconds * (send ? slowerAnswers : 1);
  const watchdog = createWatchdog(patience, () => controller.abort());
  const stop = (): void => controller.abort();
  if (signal?.aborted) throw cancelled();
  signal?.addEventListener('abort', stop);
  const failed = (error: unknown, url: URL): unknown => {
    if (signal?.aborted) return cancelled();
    if (error instanceof TransferFailure || DimoError.isInstance(error)) return error;
    const proxy = describeProxy(url, settings.proxies);
    const place = `${placeOf(url)}${proxy === undefined ? '' : ` (${proxy})`}`;
    if (watchdog.barked()) return new TransferFailure(`${place} sent nothing for ${patience / 1000} s`);
    return failureOf(error, place);
  };
  try {
    let url = address;
    let hubHeaders: Headers | undefined;
    for (let hop = 0; hop <= maximumRedirects; hop++) {
      const place = placeOf(url);
      let response: Response;
      try {
        response = await requestThrough(settings.proxies, url, {
          signal: controller.signal,
          ...(send ? { send: { method: send.method, body: fed(send.content(), watchdog) } } : {}),
          headers: {
            'user-agent': 'dimo',
            'accept-encoding': 'identity',
            ...headers,
            // Stores take no content of unknown length.
            ...(send ? { 'content-length': String(send.length) } : {}),
            ...(settings.token !== undefined && isSameHost(url, settings.endpoint)
              ? { authorization: `Bearer ${settings.token}` }
              : {}),
          },
        });
      } catch (error) {
        throw failed(error, url);
      }
      watchdog.feed();
      hubHeaders ??= response.headers;
      const location = response.status >= 300 && response.status < 400 ? response.headers.get('location') : null;
      if (location !== null) {
        await response.body?.cancel();
        const next = safeAddress(location, url);
        if (send) checkWriteRedirect(response.status, url, next, settings);
        url = next;
        continue;
      }
      await checkStatus({
        response,
        place,
        settings,
        isWrite: send !== undefined,
        isHub: isSameHost(url, settings.endpoint),
      });
      return await use({
        response,
        hubHeaders,
        place,
        async *chunks() {
          try {
            for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
              // Time that the disk takes is not the server's.
              watchdog.stop();
              yield chunk;
              watchdog.feed();
            }
          } catch (error) {
            throw failed(error, url);
          }
        },
      });
    }
    throw new DimoError('network', `${placeOf(address)}: more than ${maximumRedirects} redirects`, {
      hint: 'the hub sends requests in a circle; check HF_ENDPOINT',
    });
  } finally {
    watchdog.stop();
    signal?.removeEventListener('abort', stop);
    // Closes the connection if the body was not read to its end.
    controller.abort();
  }
}

/** Runs attempts until one succeeds, with growing pauses. */
export async function withRetries<T>(
  settings: HubSettings,
  signal: AbortSignal | undefined,
  attempt: () => Promise<T>,
  /** Called after a failure; true if there was progress, which makes the count start again. */
  progressed: () => boolean | Promise<boolean> = () => false,
): Promise<T> {
  let failures = 0;
  let firm = 0;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof TransferFailure)) throw error;
      failures = (await progressed()) ? 1 : failures + 1;
      if (error.kind !== 'interrupted') firm++;
      if (failures > settings.maximumFailures || firm > 1) throw finalError(error, failures);
      const pause = error.pauseMilliseconds ?? backoff(settings, failures);
      if (pause > longestPauseMilliseconds)
        throw finalError(error, failures, `the hub asks to wait ${Math.round(pause / 1000)} s; try again then`);
      await wait(pause, undefined, signal ? { signal } : {}).catch(() => {
        throw cancelled();
      });
    }
  }
}

function backoff({ backoffMilliseconds }: HubSettings, failures: number): number {
  return Math.min(30_000, backoffMilliseconds * 2 ** (failures - 1)) * (1 + Math.random() / 2);
}

function finalError(error: TransferFailure, failures: number, hint?: string): DimoError {
  const times = failures > 1 ? ` (${failures} attempts)` : '';
  return new DimoError('network', `${error.message}${times}`, {
    hint:
      hint ??
      (error.kind === 'wrong'
        ? 'the hub or something between sends wrong data; check HF_ENDPOINT, proxies and the connection'
        : 'check the connection and run the same command again: what has arrived is kept'),
    cause: error,
  });
}

function cancelled(): DimoError {
  return new DimoError('cancelled', 'the transfer was stopped', { hint: 'run the same command again to continue it' });
}

/** An address that a server names. @throws DimoError with code `network` if nothing may be sent or asked there */
export function safeAddress(location: string, from: URL, does = 'redirects'): URL {
  const refuse = (why: string): DimoError =>
    new DimoError('network', `${placeOf(from)} ${does} ${why}`, { hint: 'check HF_ENDPOINT and proxies' });
  let to: URL;
  try {
    to = new URL(location, from);
  } catch {
    throw refuse('to something that is no address');
  }
  if (to.protocol !== 'https:' && to.protocol !== 'http:') throw refuse(`to ${escapeText(to.protocol, 40)}`);
  if (from.protocol === 'https:' && to.protocol === 'http:') throw refuse(`to ${placeOf(to)}, which is not encrypted`);
  if (to.username !== '' || to.password !== '') throw refuse('to an address with a password');
  return to;
}

/** What is meant for the hub goes to no other host; stores may send to one another. */
function checkWriteRedirect(status: number, from: URL, to: URL, { endpoint }: HubSettings): void {
  const isKept = status === 307 || status === 308;
  if (isKept && (isSameHost(to, endpoint) || !isSameHost(from, endpoint))) return;
  throw new DimoError('network', `${placeOf(from)} redirects what is sent to ${placeOf(to)} (status ${status})`, {
    hint: 'nothing is sent there; if the hub has moved, set HF_ENDPOINT to its new address',
  });
}

/** The content; each part shows that the server still takes it. */
async function* fed(content: AsyncIterable<Uint8Array>, watchdog: Watchdog): AsyncGenerator<Uint8Array> {
  for await (const part of content) {
    watchdog.feed();
    yield part;
  }
  watchdog.feed();
}

function failureOf(error: unknown, place: string): unknown {
  for (let current: unknown = error; current instanceof Error; current = current.cause) {
    // A file that cannot be read is not the network's fault.
    if (DimoError.isInstance(current)) return current;
    const status = /^Proxy response \(([0-9]{3})\)/.exec(current.message)?.[1];
    if (status !== undefined)
      return new DimoError('network', `${place}: the proxy refuses the connection with status ${status}`, {
        hint:
          status === '407'
            ? 'it wants a name and password: HTTPS_PROXY=http://user:password@host:port'
            : 'check HTTPS_PROXY; name the host in NO_PROXY to ask it directly',
        cause: error,
      });
  }
  const reason = reasonOf(error);
  const kind = unreachable.test(reason) ? 'unreachable' : 'interrupted';
  return new TransferFailure(`${place}: ${reason}`, kind, undefined, error);
}

function isSameHost(url: URL, endpoint: string): boolean {
  return url.origin === new URL(endpoint).origin;
}

/** Origin and path: a query may hold signatures. */
export function placeOf(url: URL): string {
  return escapeText(`${url.origin}${url.pathname}`, 300);
}

/** The code of a failed connection: `ECONNREFUSED`. */
function reasonOf(error: unknown): string {
  for (let current: unknown = error; current instanceof Error; current = current.cause) {
    const { code } = current as NodeJS.ErrnoException;
    if (typeof code === 'string') return code === 'UND_ERR_SOCKET' ? 'the connection was cut' : code;
    if (current.cause === undefined) return escapeText(current.message, 200);
  }
  return 'the connection failed';
}

interface Watchdog {
  feed(): void;
  stop(): void;
  barked(): boolean;
}

function createWatchdog(milliseconds: number, bark: () => void): Watchdog {
  let hasBarked = false;
  let timer: NodeJS.Timeout | undefined;
  const stop = (): void => clearTimeout(timer);
  const feed = (): void => {
    stop();
    timer = setTimeout(() => {
      hasBarked = true;
      bark();
    }, milliseconds);
  };
  feed();
  return { feed, stop, barked: () => hasBarked };
}
