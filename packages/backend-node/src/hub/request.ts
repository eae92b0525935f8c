/**
 * GET requests to a hub: redirects followed by hand, so that the token stays with the hub; nothing waits for ever; what
 * may pass by itself is tried again.
 */
import { DimoError, escapeText, OptionError } from '@dimo/core';
import { setTimeout as wait } from 'node:timers/promises';
import type { HubSettings } from './settings.js';

/** More redirects than this are a circle. */
const maximumRedirects = 8;

/** No such host, nobody there, or somebody else there. */
const unreachable =
  /^(?:ECONNREFUSED|ENOTFOUND|EAI_|EHOSTUNREACH|ENETUNREACH|CERT_|ERR_TLS_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_)/;

/** A server that asks for a longer pause is not waited for. */
const longestPauseMilliseconds = 120_000;

/** An attempt failed that is worth repeating. */
export class TransferFailure extends Error {
  constructor(
    message: string,
    /** `interrupted` passes in time; `wrong` (not what was promised) and `unreachable` get one more attempt. */
    readonly kind: 'interrupted' | 'wrong' | 'unreachable' = 'interrupted',
    /** Pause that the server asked for. */
    readonly pauseMilliseconds?: number,
    cause?: unknown,
  ) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'TransferFailure';
  }
}

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
}

/**
 * Makes one request, follows redirects, and gives the answer to `use`. The connection is closed when `use` returns.
 *
 * @throws TransferFailure for what may go better next time: no connection, a stall, status 408, 429 and 5xx.
 * @throws OptionError for 401, 403 and 404, DimoError with code `network` for everything else.
 */
export async function request<T>(
  address: URL,
  { settings, headers = {}, signal }: RequestOptions,
  use: (attempt: Attempt) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  const watchdog = createWatchdog(settings.stallMilliseconds, () => controller.abort());
  const stop = (): void => controller.abort();
  if (signal?.aborted) throw cancelled();
  signal?.addEventListener('abort', stop);
  const failed = (error: unknown, place: string): unknown => {
    if (signal?.aborted) return cancelled();
    if (error instanceof TransferFailure || DimoError.isInstance(error)) return error;
    if (watchdog.barked())
      return new TransferFailure(`${place} sent nothing for ${settings.stallMilliseconds / 1000} s`);
    const reason = reasonOf(error);
    return new TransferFailure(
      `${place}: ${reason}`,
      unreachable.test(reason) ? 'unreachable' : 'interrupted',
      undefined,
      error,
    );
  };
  try {
    let url = address;
    let hubHeaders: Headers | undefined;
    for (let hop = 0; hop <= maximumRedirects; hop++) {
      const place = placeOf(url);
      let response: Response;
      try {
        response = await fetch(url, {
          redirect: 'manual',
          signal: controller.signal,
          headers: {
            'user-agent': 'dimo',
            'accept-encoding': 'identity',
            ...headers,
            ...(settings.token !== undefined && isSameHost(url, settings.endpoint)
              ? { authorization: `Bearer ${settings.token}` }
              : {}),
          },
        });
      } catch (error) {
        throw failed(error, place);
      }
      watchdog.feed();
      hubHeaders ??= response.headers;
      const location = response.status >= 300 && response.status < 400 ? response.headers.get('location') : null;
      if (location !== null) {
        await response.body?.cancel();
        url = redirected(location, url);
        continue;
      }
      checkStatus(response, place, settings);
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
            throw failed(error, place);
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

function checkStatus(response: Response, place: string, { token }: HubSettings): void {
  const { status } = response;
  if (status === 200 || status === 206 || status === 416) {
    const encoding = response.headers.get('content-encoding') ?? 'identity';
    if (encoding !== 'identity' && encoding !== '')
      throw new TransferFailure(
        `${place}: sent as ${escapeText(encoding, 40)} although plain bytes were asked for`,
        'wrong',
      );
    return;
  }
  const said = response.headers.get('x-error-message');
  // A server may repeat what it was sent.
  const reason =
    said === null ? '' : `: ${escapeText(token === undefined ? said : said.replaceAll(token, '***'), 200)}`;
  const message = `${place}: status ${status}${reason}`;
  if (status === 401 || status === 403)
    throw new OptionError(message, {
      hint:
        token === undefined
          ? 'the repository is private, gated or does not exist; set HF_TOKEN to a token that may read it'
          : 'the token may not read this repository, or its terms were not accepted on the web page',
    });
  if (status === 404) throw new OptionError(message, { hint: 'check the names of owner, repository and revision' });
  if (status === 408 || status === 425 || status === 429 || status >= 500)
    throw new TransferFailure(message, 'interrupted', pauseOf(response.headers.get('retry-after')));
  throw new DimoError('network', message, { hint: 'check HF_ENDPOINT; this is not what a hub answers' });
}

/** Milliseconds of a Retry-After header: seconds or a date. */
function pauseOf(value: string | null): number | undefined {
  if (value === null) return undefined;
  const milliseconds = /^[0-9]{1,9}$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isFinite(milliseconds) ? Math.max(0, milliseconds) : undefined;
}

function redirected(location: string, from: URL): URL {
  const refuse = (why: string): DimoError =>
    new DimoError('network', `${placeOf(from)} redirects ${why}`, { hint: 'check HF_ENDPOINT and proxies' });
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

function isSameHost(url: URL, endpoint: string): boolean {
  return url.origin === new URL(endpoint).origin;
}

function placeOf(url: URL): string {
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

function createWatchdog(milliseconds: number, bark: () => void): { feed(): void; stop(): void; barked(): boolean } {
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
