/**
 * Requests, through the proxies that the environment names. The library for that is loaded only where it names one, or
 * something is sent.
 */
import { DimoError, escapeText, OptionError } from '@dimo/core';
import { Readable } from 'node:stream';
import type { Dispatcher } from 'undici';
import { isLoopback } from './loopback.js';

/** Proxies by what they are asked for. */
export interface ProxySettings {
  /** For `https:` addresses. */
  readonly https: URL | undefined;
  /** For `http:` addresses, and for `https:` ones where `https` is absent. */
  readonly http: URL | undefined;
  /** Hosts that are asked directly: `example.org,.internal,10.0.0.1:8080`, or `*`. */
  readonly none: string;
}

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Reads HTTPS_PROXY, HTTP_PROXY and NO_PROXY, each in lower case first.
 *
 * @returns undefined if no proxy is named.
 * @throws OptionError if one of them is no address of a proxy; it is not repeated, because it may hold a password.
 */
export function proxySettings(environment: Environment): ProxySettings | undefined {
  const read = (name: string): [name: string, value: string] =>
    [name.toLowerCase(), name]
      .map((key): [string, string] => [key, environment[key]?.trim() ?? ''])
      .find(([, value]) => value !== '') ?? [name, ''];
  const https = proxyAddress(...read('HTTPS_PROXY'));
  const http = proxyAddress(...read('HTTP_PROXY'));
  return https || http ? { https, http, none: read('NO_PROXY')[1] } : undefined;
}

function proxyAddress(name: string, text: string): URL | undefined {
  if (text === '') return undefined;
  const address = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`;
  const url = URL.canParse(address) ? new URL(address) : undefined;
  if (url?.hostname && (url.protocol === 'http:' || url.protocol === 'https:')) return url;
  throw new OptionError(`${name} is not the address of an HTTP proxy`, {
    hint: 'write http://host:port or http://user:password@host:port; SOCKS proxies are not supported',
  });
}

/** What to say about the proxy that an address may be asked through, without its password; undefined if there is none. */
export function describeProxy(url: URL, proxies: ProxySettings | undefined): string | undefined {
  if (!proxies || isLoopback(url.hostname)) return undefined;
  const proxy = (url.protocol === 'https:' ? proxies.https : undefined) ?? proxies.http;
  return proxy && `proxy ${proxy.origin}`;
}

const maximumAnswerBytes = 2 ** 22;

/** What is asked or sent; redirects are not followed. */
export interface PlainRequest {
  readonly headers: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  /** What is sent; without it the request is a GET. */
  readonly send?: { readonly method: 'POST' | 'PUT'; readonly body: AsyncIterable<Uint8Array> } | undefined;
}

/**
 * One request, through a proxy where one is named; this machine itself is always asked directly. What is sent is streamed:
 * `fetch` would keep a copy of all of it for a redirect.
 */
export async function requestThrough(
  proxies: ProxySettings | undefined,
  url: URL,
  { headers, signal, send }: PlainRequest,
): Promise<Response> {
  const agent = proxies && !isLoopback(url.hostname) ? agentOf(proxies) : undefined;
  if (!send) {
    const init = { headers, signal, redirect: 'manual' } as const;
    if (!agent) return fetch(url, init);
    // Its own fetch: that of Node may be of a version whose dispatchers are others.
    const undici = await import('undici');
    return (await undici.fetch(url, { ...init, dispatcher: await agent })) as unknown as Response;
  }
  const { request } = await import('undici');
  const answer = await request(url, {
    ...send,
    body: Readable.from(send.body, { objectMode: false }),
    headers,
    signal,
    ...(agent ? { dispatcher: await agent } : {}),
  });
  const { statusCode, headers: given, body } = answer;
  const pairs = Object.entries(given).flatMap(([name, value]) =>
    [value ?? []].flat().map((text): [string, string] => [name, text]),
  );
  const content = await shortAnswer(body, url);
  const hasNone = [204, 205, 304].includes(statusCode);
  return new Response(hasNone ? null : content, { status: statusCode, headers: pairs });
}

/** What a server says of something that was sent; never long. */
async function shortAnswer(
  body: AsyncIterable<Uint8Array>,
  { origin, pathname }: URL,
): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of body) {
    chunks.push(chunk);
    length += chunk.length;
    if (length > maximumAnswerBytes)
      throw new DimoError('network', `${escapeText(origin + pathname, 300)}: the answer is too long`, {
        hint: 'check HF_ENDPOINT; this is not what a hub answers',
      });
  }
  return new Uint8Array(Buffer.concat(chunks));
}

const agents = new Map<string, Promise<Dispatcher>>();

function agentOf(proxies: ProxySettings): Promise<Dispatcher> {
  const { https, http, none } = proxies;
  const key = JSON.stringify([https, http, none]);
  let agent = agents.get(key);
  if (!agent) agents.set(key, (agent = makeAgent(proxies)));
  return agent;
}

async function makeAgent({ https, http, none }: ProxySettings): Promise<Dispatcher> {
  const { EnvHttpProxyAgent } = await import('undici');
  return new EnvHttpProxyAgent({
    ...(https ? { httpsProxy: https.href } : {}),
    ...(http ? { httpProxy: http.href } : {}),
    noProxy: none,
  });
}
