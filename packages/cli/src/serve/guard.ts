/**
 * Who may ask. A server on 127.0.0.1 is reached by every page that the user's browser shows: the Host header is compared
 * with an allow-list (DNS rebinding), requests from pages of other origins are refused, and where other machines can
 * connect, everybody needs the token.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { HttpProblem } from './limits.js';

/** What `checkRequest` compares with. */
export interface GuardSettings {
  /** Host names that may be in the Host header, without port, in lower case. */
  readonly hosts: ReadonlySet<string>;
  /** Needed for everything under `/v1/`, if there is one. */
  readonly token: string | undefined;
}

/** Names under which this machine reaches itself. */
export const loopbackHosts = ['localhost', '127.0.0.1', '[::1]'] as const;

/** True for an address that only this machine can reach. */
export function isLoopbackAddress(host: string): boolean {
  return host === 'localhost' || host === '::1' || host === '[::1]' || /^127(?:\.[0-9]{1,3}){3}$/.test(host);
}

/**
 * Checks target, Host, Origin and token of a request.
 *
 * @returns the path that is asked for, decoded by nobody yet.
 * @throws HttpProblem
 */
export function checkRequest(request: IncomingMessage, { hosts, token }: GuardSettings): URL {
  const { headers } = request;
  const target = request.url ?? '';
  // An absolute target would override the Host header.
  if (!target.startsWith('/') || target.startsWith('//') || target.length > 4096)
    throw new HttpProblem(400, 'the target of a request must be a path');
  if (!URL.canParse(target, 'http://host')) throw new HttpProblem(400, 'the target of a request must be a path');
  // Node takes the first of two; a proxy before it may have taken the second.
  const numHosts = request.rawHeaders.filter((name, i) => i % 2 === 0 && name.toLowerCase() === 'host').length;
  if (numHosts > 1) throw new HttpProblem(400, 'a request must have one Host header');
  if (!hosts.has(hostName(headers.host)))
    throw new HttpProblem(403, 'this server does not answer to that Host', {
      hint: 'reach it by the address that it printed, or start it with --allow-host <name>',
    });
  const { origin } = headers;
  const site = headers['sec-fetch-site'];
  const isForeign = origin !== undefined && !(URL.canParse(origin) && hosts.has(hostName(new URL(origin).host)));
  if (isForeign || site === 'cross-site' || site === 'same-site')
    throw new HttpProblem(403, 'pages of other sites may not use this server');
  const url = new URL(target, 'http://host');
  if (token !== undefined && url.pathname.startsWith('/v1/') && !hasToken(headers.authorization, token))
    throw new HttpProblem(401, 'a token is needed', {
      hint: 'send the header Authorization: Bearer <token>',
      headers: { 'www-authenticate': 'Bearer' },
    });
  return url;
}

/** The name in a Host header, without its port. */
function hostName(host: string | undefined): string {
  const match = /^(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?$/i.exec(host ?? '');
  return match?.[1]?.toLowerCase() ?? '';
}

/** Compares in a time that says nothing of where the two differ, nor how long the token is. */
export function hasToken(authorization: string | undefined, token: string): boolean {
  const given = /^Bearer ([\x21-\x7e]{1,1000})$/i.exec(authorization ?? '')?.[1] ?? '';
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(given), digest(token)) && given !== '';
}
