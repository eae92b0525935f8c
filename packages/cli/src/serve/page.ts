/** Static files beside the API: the page that ships with this package, or a folder of the user. */
import { openRegular, pathInside } from '@dimo/backend-node';
import { DimoError, escapeText, OptionError } from '@dimo/core';
import { lookup } from 'mrmime';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { pipeline } from 'node:stream';
import { fileURLToPath } from 'node:url';

/** Answers requests for files; `next` for those that are not there. */
export type PageHandler = (request: IncomingMessage, response: ServerResponse, next: () => void) => void;

/** What any page may not do: be framed, load plugins, change the base of its links. */
const baselinePolicy = "frame-ancestors 'none'; object-src 'none'; base-uri 'self'";

/** Folders below a page that are looked into. */
const maximumDepth = 16;

/** Files of a page. */
const maximumFiles = 100_000;

/** Folder of the page that the build copies into this package; undefined if there is none. */
export function bundledPage(): string | undefined {
  // Beside the bundled code, or from its sources.
  const places = ['./page/', '../../dist/page/'].map((place) => fileURLToPath(new URL(place, import.meta.url)));
  return places.find((place) => existsSync(join(place, 'index.html')));
}

/**
 * Opens a folder of static files. They are listed once: what is not in the folder now, hidden, or outside it is never
 * served; symbolic links are followed only to files in the folder.
 *
 * @throws OptionError if there is no such folder, or far too much in it.
 */
export async function openPage(folder: string): Promise<PageHandler> {
  const isFolder = statSync(folder, { throwIfNoEntry: false })?.isDirectory() ?? false;
  if (!isFolder) throw new OptionError(`--page: there is no folder ${escapeText(folder)}`, { path: folder });
  const files = new Map<string, string>();
  await listFiles(folder, '', 0, files);
  const policy = contentSecurityPolicy(files.get('/index.html'));
  return (request, response, next) => {
    const name = nameOf(request);
    const path =
      name === undefined ? undefined : (files.get(name) ?? files.get(`${name.replace(/\/$/, '')}/index.html`));
    if (name === undefined || path === undefined) return next();
    response.setHeader('content-security-policy', policy);
    // Names of built files hold a hash of their content.
    const isHashed = /^\/assets\/.+-[\w-]{8}\.\w+$/.test(name);
    response.setHeader('cache-control', isHashed ? 'public, max-age=31536000, immutable' : 'no-cache');
    sendFile(request, response, { folder, path }).catch((error: unknown) => {
      if (response.headersSent || !DimoError.isInstance(error)) response.destroy();
      else next();
    });
  };
}

/** Paths by the names that they are asked for. */
async function listFiles(folder: string, prefix: string, depth: number, files: Map<string, string>): Promise<void> {
  for (const entry of await readdir(join(folder, prefix), { withFileTypes: true })) {
    if (entry.name.startsWith('.') && entry.name !== '.well-known') continue;
    const name = `${prefix}/${entry.name}`;
    if (entry.isDirectory() && depth < maximumDepth) await listFiles(folder, name, depth + 1, files);
    else if (entry.isFile() || (entry.isSymbolicLink() && (await isFileInside(folder, name))))
      files.set(name.normalize(), join(folder, name));
    if (files.size > maximumFiles)
      throw new OptionError(`--page: ${escapeText(folder)} has more than ${maximumFiles} files`, {
        path: folder,
        hint: 'name a folder that holds a page and nothing else',
      });
  }
}

async function isFileInside(folder: string, name: string): Promise<boolean> {
  const path = await pathInside(folder, name).catch(() => undefined);
  return path !== undefined && (statSync(path, { throwIfNoEntry: false })?.isFile() ?? false);
}

/** The path asked for, decoded once; undefined if it is none. */
function nameOf(request: IncomingMessage): string | undefined {
  try {
    return decodeURI((request.url ?? '/').split(/[?#]/, 1)[0]!).normalize();
  } catch {
    return undefined;
  }
}

/** Sends a file or the part of it that is asked for. @throws DimoError if it is not there any more, or a link out by now. */
async function sendFile(
  request: IncomingMessage,
  response: ServerResponse,
  { folder, path }: { readonly folder: string; readonly path: string },
): Promise<void> {
  const file = await openRegular(path, folder).catch((cause: unknown) => {
    throw DimoError.isInstance(cause) ? cause : new DimoError('io', 'the file cannot be read', { path, cause });
  });
  try {
    const { size, mtime } = await file.stat();
    const etag = `W/"${size}-${mtime.getTime()}"`;
    const type = lookup(path) ?? 'application/octet-stream';
    response.setHeader('content-type', type === 'text/html' ? 'text/html;charset=utf-8' : type);
    response.setHeader('last-modified', mtime.toUTCString());
    response.setHeader('etag', etag);
    response.setHeader('accept-ranges', 'bytes');
    if (request.headers['if-none-match'] === etag) return void response.writeHead(304).end();
    const range = rangeOf(request.headers.range, size);
    if (range === 'none') return void response.writeHead(416, { 'content-range': `bytes */${size}` }).end();
    const [first, last] = range ?? [0, size - 1];
    response.writeHead(range ? 206 : 200, {
      'content-length': last - first + 1,
      ...(range ? { 'content-range': `bytes ${first}-${last}/${size}` } : {}),
    });
    if (request.method === 'HEAD' || last < first) return void response.end();
    await new Promise<void>((resolve) => {
      const stream = file.createReadStream({ start: first, end: last, autoClose: false });
      // A file that was cut or a client that is gone ends the connection: the answer is not whole.
      pipeline(stream, response, () => resolve());
    });
  } finally {
    await file.close();
  }
}

/** First and last byte asked for; undefined for the whole file, also where the header is none that is understood. */
function rangeOf(header: string | undefined, size: number): readonly [number, number] | 'none' | undefined {
  const match = /^bytes=([0-9]{0,15})-([0-9]{0,15})$/.exec(header ?? '');
  if (!match || (match[1] === '' && match[2] === '')) return undefined;
  const isTail = match[1] === '';
  const first = isTail ? Math.max(0, size - Number(match[2])) : Number(match[1]);
  const last = isTail || match[2] === '' ? size - 1 : Math.min(size - 1, Number(match[2]));
  if (!isTail && match[2] !== '' && Number(match[2]) < first) return undefined;
  return first > last ? 'none' : [first, last];
}

/** The policy that the page states in a meta element, for its workers too, and what such elements cannot state. */
function contentSecurityPolicy(index: string | undefined): string {
  const html = index === undefined ? '' : readFileSync(index, 'utf8');
  const own = /<meta\s+http-equiv="Content-Security-Policy"\s+content="([^"]+)"/i.exec(html)?.[1];
  return own === undefined ? baselinePolicy : `${own.replace(/\s+/g, ' ').trim()}; frame-ancestors 'none'`;
}
