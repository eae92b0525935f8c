/** Where the hub and its cache are, by the environment variables that Hugging Face's own tools read. */
import { OptionError } from '@dimo/core';
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { isLoopback } from './loopback.js';
import { proxySettings, type ProxySettings } from './proxy.js';

/** How to reach a hub. */
export interface HubSettings {
  /** Base address without a trailing slash. */
  readonly endpoint: string;
  /** Sent to the endpoint's own host only, and never printed. */
  readonly token: string | undefined;
  /** Folder that holds `models--owner--repository` folders. */
  readonly cacheFolder: string;
  /** No request is made: everything must be in the cache. */
  readonly offline: boolean;
  /** Proxies that requests to other machines go through. @default none */
  readonly proxies?: ProxySettings | undefined;
  /** A connection that brings nothing for so long is cut and made again. */
  readonly stallMilliseconds: number;
  /** Attempts in a row that may fail without progress, per request. */
  readonly maximumFailures: number;
  /** Wait before the second attempt; doubled from there, with up to half of it added by chance. */
  readonly backoffMilliseconds: number;
}

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Reads HF_ENDPOINT, HF_TOKEN, HF_TOKEN_PATH, HF_HOME, HF_HUB_CACHE, XDG_CACHE_HOME, HF_HUB_OFFLINE,
 * HF_HUB_DISABLE_IMPLICIT_TOKEN, HF_HUB_DOWNLOAD_TIMEOUT (seconds), HTTPS_PROXY, HTTP_PROXY and NO_PROXY.
 *
 * @throws OptionError if the endpoint or a proxy is no web address, or a token would travel unencrypted.
 */
export function hubSettings(environment: Environment = process.env, overrides: Partial<HubSettings> = {}): HubSettings {
  const read = (name: string): string | undefined => environment[name]?.trim() || undefined;
  const home =
    expandHome(read('HF_HOME')) ?? join(expandHome(read('XDG_CACHE_HOME')) ?? join(homedir(), '.cache'), 'huggingface');
  const seconds = Number(read('HF_HUB_DOWNLOAD_TIMEOUT') ?? Number.NaN);
  const settings = {
    endpoint: read('HF_ENDPOINT') ?? 'https://huggingface.co',
    token:
      read('HF_TOKEN') ??
      read('HUGGING_FACE_HUB_TOKEN') ??
      (isTrue(read('HF_HUB_DISABLE_IMPLICIT_TOKEN'))
        ? undefined
        : storedToken(expandHome(read('HF_TOKEN_PATH')) ?? join(home, 'token'))),
    cacheFolder: resolve(
      expandHome(read('HF_HUB_CACHE')) ?? expandHome(read('HUGGINGFACE_HUB_CACHE')) ?? join(home, 'hub'),
    ),
    offline: isTrue(read('HF_HUB_OFFLINE') ?? read('TRANSFORMERS_OFFLINE')),
    proxies: proxySettings(environment),
    stallMilliseconds: seconds > 0 && seconds < 1e6 ? seconds * 1000 : 30_000,
    maximumFailures: 5,
    backoffMilliseconds: 1000,
    ...overrides,
  };
  if (settings.token !== undefined && !tokenPattern.test(settings.token))
    throw new OptionError('HF_TOKEN is not a token: it holds spaces, line breaks or characters outside ASCII');
  return { ...settings, endpoint: checkEndpoint(settings.endpoint, settings.token !== undefined) };
}

/** What an Authorization header can hold. */
const tokenPattern = /^[\x21-\x7e]{1,1000}$/;

function checkEndpoint(text: string, hasToken: boolean): string {
  let url: URL;
  try {
    url = new URL(text);
  } catch (cause) {
    throw new OptionError('HF_ENDPOINT is not a web address', { hint: 'for example https://huggingface.co', cause });
  }
  if (url.protocol !== 'https:' && url.protocol !== 'http:')
    throw new OptionError(`HF_ENDPOINT must begin with https://, not ${url.protocol}`);
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '')
    throw new OptionError('HF_ENDPOINT must hold no user name, password, query or fragment', {
      hint: 'give the token in HF_TOKEN',
    });
  if (hasToken && url.protocol === 'http:' && !isLoopback(url.hostname))
    throw new OptionError(`HF_ENDPOINT ${url.origin} is not encrypted, so the token of HF_TOKEN is not sent there`, {
      hint: 'use https://, or unset HF_TOKEN and set HF_HUB_DISABLE_IMPLICIT_TOKEN=1',
    });
  return url.href.replace(/\/+$/, '');
}

function storedToken(path: string): string | undefined {
  try {
    const text = readFileSync(path, 'utf8').trim();
    return tokenPattern.test(text) ? text : undefined;
  } catch {
    return undefined;
  }
}

function expandHome(path: string | undefined): string | undefined {
  return path === undefined ? undefined : path.replace(/^~(?=$|[/\\])/, () => homedir());
}

function isTrue(value: string | undefined): boolean {
  return value !== undefined && ['1', 'ON', 'YES', 'TRUE'].includes(value.toUpperCase());
}
