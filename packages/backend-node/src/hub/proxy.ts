/** Requests through the proxies that the environment names. Their library is loaded only where it names one. */
import { OptionError } from '@dimo/core';
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

type Fetch = typeof fetch;
const fetches = new Map<string, Promise<Fetch>>();

/** `fetch`, through a proxy where one is named. This machine itself is always asked directly. */
export async function fetchThrough(
  proxies: ProxySettings | undefined,
  url: URL,
  init: RequestInit & { readonly duplex?: 'half' },
): Promise<Response> {
  if (!proxies || isLoopback(url.hostname)) return fetch(url, init);
  const key = JSON.stringify([proxies.https, proxies.http, proxies.none]);
  let proxied = fetches.get(key);
  if (!proxied) fetches.set(key, (proxied = proxyingFetch(proxies)));
  return (await proxied)(url, init);
}

async function proxyingFetch({ https, http, none }: ProxySettings): Promise<Fetch> {
  // Its own fetch: that of Node may be of a version whose dispatchers are others.
  const { EnvHttpProxyAgent, fetch: undiciFetch } = await import('undici');
  const dispatcher = new EnvHttpProxyAgent({
    ...(https ? { httpsProxy: https.href } : {}),
    ...(http ? { httpProxy: http.href } : {}),
    noProxy: none,
  });
  return ((url: URL, init: object) => undiciFetch(url, { ...init, dispatcher })) as unknown as Fetch;
}
