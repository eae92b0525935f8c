/** Static files beside the API: the page that ships with this package, or a folder of the user. */
import { escapeText, OptionError } from '@dimo/core';
import { existsSync, readFileSync, statSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Answers requests for files; `next` for those that are not there. */
export type PageHandler = (request: IncomingMessage, response: ServerResponse, next: () => void) => void;

/** What any page may not do: be framed, load plugins, change the base of its links. */
const baselinePolicy = "frame-ancestors 'none'; object-src 'none'; base-uri 'self'";

/** Folder of the page that the build copies into this package; undefined if there is none. */
export function bundledPage(): string | undefined {
  // Beside the bundled code, or from its sources.
  const places = ['./page/', '../../dist/page/'].map((place) => fileURLToPath(new URL(place, import.meta.url)));
  return places.find((place) => existsSync(join(place, 'index.html')));
}

/**
 * Opens a folder of static files. They are listed once: what is not in the folder now, or outside it, is never served.
 *
 * @throws OptionError if there is no such folder.
 */
export async function openPage(folder: string): Promise<PageHandler> {
  const isFolder = statSync(folder, { throwIfNoEntry: false })?.isDirectory() ?? false;
  if (!isFolder) throw new OptionError(`--page: there is no folder ${escapeText(folder)}`, { path: folder });
  const { default: sirv } = await import('sirv');
  const policy = contentSecurityPolicy(folder);
  return sirv(folder, {
    dev: false,
    dotfiles: false,
    etag: true,
    setHeaders(response, path) {
      response.setHeader('content-security-policy', policy);
      // Names of built files hold a hash of their content.
      const isHashed = /^\/assets\/.+-[\w-]{8}\.\w+$/.test(path);
      response.setHeader('cache-control', isHashed ? 'public, max-age=31536000, immutable' : 'no-cache');
    },
  });
}

/** The policy that the page states in a meta element, for its workers too, and what such elements cannot state. */
function contentSecurityPolicy(folder: string): string {
  const index = join(folder, 'index.html');
  const html = existsSync(index) ? readFileSync(index, 'utf8') : '';
  const own = /<meta\s+http-equiv="Content-Security-Policy"\s+content="([^"]+)"/i.exec(html)?.[1];
  return own === undefined ? baselinePolicy : `${own.replace(/\s+/g, ' ').trim()}; frame-ancestors 'none'`;
}
