/**
 * A hub of models on loopback: the two JSON questions, and files with ETag, Range and If-Range, kept by a store on
 * another port to which the hub redirects, as the real one does. `fault` may take over any answer.
 */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';

/** A request as the servers saw it. */
export interface SeenRequest {
  readonly server: 'hub' | 'store';
  /** Address with query. */
  readonly url: string;
  /** Name of the file in the repository; undefined for questions. */
  readonly file: string | undefined;
  readonly range: string | undefined;
  readonly ifRange: string | undefined;
  readonly authorization: string | undefined;
}

/** One request with its answer. */
export interface Exchange {
  readonly seen: SeenRequest;
  readonly response: ServerResponse;
  /** Content of the requested file; undefined for questions and unknown files. */
  readonly content: Buffer | undefined;
  /** Bytes of files sent so far by this server, over all requests. */
  readonly sent: () => number;
  /** Answers as a good server does, but for what is given. */
  answer(options?: AnswerOptions): void;
}

/** How an answer about a file differs from a good one. */
export interface AnswerOptions {
  /** Bytes of the body after which the connection is cut. */
  readonly cutAfter?: number;
  /** Bytes of the body after which nothing more comes; the connection stays open. */
  readonly stallAfter?: number;
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** In place of the file. */
  readonly body?: Buffer | string;
  /** Answers with the whole file whatever range was asked for. */
  readonly ignoreRange?: boolean;
  /** Honours Range without looking at If-Range. */
  readonly ignoreIfRange?: boolean;
}

/** What the hub knows of a repository. */
export interface HubContent {
  /** Content by name. */
  readonly files: Readonly<Record<string, Buffer>>;
  /** Names of files in large file storage: listed with their SHA-256. @default all `.safetensors` */
  readonly large?: readonly string[];
  /** Lists no hashes at all. */
  readonly withoutHashes?: boolean;
}

/** A running hub. */
export interface HubServer {
  readonly endpoint: string;
  readonly storeEndpoint: string;
  readonly commit: string;
  readonly requests: SeenRequest[];
  content: HubContent;
  /** ETag of every file; changes with its content unless set. */
  etag: string | undefined;
  /** Takes over an answer by returning true. */
  fault: ((exchange: Exchange) => boolean | void) | undefined;
  /** Requests for contents of files, at the store. */
  fetches(): SeenRequest[];
  close(): Promise<void>;
}

/** A commit of the right form. */
export const testCommit = 'c0ffee'.repeat(6) + 'c0ff';

/** A name other than that of this machine, and with a certificate HTTPS. */
export interface HubName {
  readonly host: string;
  readonly certificate?: { readonly key: string; readonly cert: string };
}

/** Starts a hub that has the repository `maker/model` at the revision `main`. */
export async function startHub(
  content: HubContent,
  { host, certificate }: HubName = { host: '127.0.0.1' },
): Promise<HubServer> {
  type Handler = (request: IncomingMessage, response: ServerResponse) => void;
  const serve = (handler: Handler): Server =>
    certificate ? createSecureServer(certificate, handler) : createServer(handler);
  const requests: SeenRequest[] = [];
  const sockets = new Set<Socket>();
  let sentBytes = 0;
  const servers: Record<'hub' | 'store', Server> = {
    hub: serve((request, response) => handle('hub', request, response)),
    store: serve((request, response) => handle('store', request, response)),
  };
  for (const server of Object.values(servers)) {
    server.on('connection', (socket) => {
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  }
  const address = (server: Server): string =>
    `${certificate ? 'https' : 'http'}://${host}:${(server.address() as AddressInfo).port}`;

  function handle(server: 'hub' | 'store', request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? '/', 'http://hub');
    const path = decodeURIComponent(url.pathname);
    const file = new RegExp(`^/maker/model/(?:resolve/)?${testCommit}/(.+)$`).exec(path)?.[1];
    const seen: SeenRequest = {
      server,
      url: request.url ?? '',
      file,
      range: request.headers.range,
      ifRange: request.headers['if-range'] as string | undefined,
      authorization: request.headers.authorization,
    };
    requests.push(seen);
    const known = file === undefined ? undefined : hub.content.files[file];
    const exchange: Exchange = {
      seen,
      response,
      content: known,
      sent: () => sentBytes,
      answer(options = {}) {
        if (file === undefined) answerQuestion(path, url, response, options);
        else if (server === 'hub') redirectToStore(file, response, options);
        else sendFile(known, seen, response, options);
      },
    };
    if (hub.fault?.(exchange) !== true) exchange.answer();
  }

  function answerQuestion(path: string, url: URL, response: ServerResponse, options: AnswerOptions): void {
    const json = (value: unknown, headers: Record<string, string> = {}): void => {
      response.writeHead(options.status ?? 200, { 'content-type': 'application/json', ...headers, ...options.headers });
      response.end(options.body ?? JSON.stringify(value));
    };
    if (path === '/api/models/maker/model/revision/main' || path.endsWith(`/revision/${testCommit}`))
      return json({ sha: testCommit });
    if (path !== `/api/models/maker/model/tree/${testCommit}`) {
      response.writeHead(404, { 'x-error-message': 'Repository not found' }).end();
      return;
    }
    const all = listing(hub.content);
    // Pages of three: a list is never whole at once.
    const from = Number(url.searchParams.get('cursor') ?? 0);
    const next = `${address(servers.hub)}${path}?recursive=true&cursor=${from + 3}`;
    json(all.slice(from, from + 3), from + 3 < all.length ? { link: `<${next}>; rel="next"` } : {});
  }

  function redirectToStore(file: string, response: ServerResponse, options: AnswerOptions): void {
    const bytes = hub.content.files[file];
    if (!bytes) {
      response.writeHead(404, { 'x-error-message': 'Entry not found' }).end();
      return;
    }
    response
      .writeHead(options.status ?? 302, {
        location: `${address(servers.store)}/maker/model/${testCommit}/${file}?signature=secret`,
        'x-repo-commit': testCommit,
        ...(isLarge(hub.content, file)
          ? { 'x-linked-etag': `"${sha256(bytes)}"`, 'x-linked-size': String(bytes.length) }
          : {}),
        etag: `"${isLarge(hub.content, file) ? sha256(bytes) : gitSha1(bytes)}"`,
        ...options.headers,
      })
      .end(options.body);
  }

  function sendFile(
    content: Buffer | undefined,
    seen: SeenRequest,
    response: ServerResponse,
    options: AnswerOptions,
  ): void {
    const etag = hub.etag ?? `"store-${sha256(content ?? Buffer.alloc(0)).slice(0, 16)}"`;
    const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(seen.range ?? '') ?? [];
    const from = Number(first ?? -1);
    const total = content?.length ?? 0;
    let status = options.status ?? (content ? 200 : 404);
    let body = Buffer.from(options.body ?? content ?? '');
    const headers: Record<string, string> = { etag, 'accept-ranges': 'bytes', 'content-type': 'binary/octet-stream' };
    // A range with an end is asked for without a condition, to look at a header.
    const isSame = options.ignoreIfRange || (last ? seen.ifRange === undefined : seen.ifRange === etag);
    const isRange = from >= 0 && !options.ignoreRange && isSame;
    if (options.status === undefined && content && isRange) {
      if (from >= total) {
        response.writeHead(416, { 'content-range': `bytes */${total}` }).end();
        return;
      }
      status = 206;
      const end = last ? Math.min(total, Number(last) + 1) : total;
      body = body.subarray(from, end);
      headers['content-range'] = `bytes ${from}-${end - 1}/${total}`;
    }
    response.writeHead(status, { ...headers, 'content-length': String(body.length), ...options.headers });
    const stop = options.cutAfter ?? options.stallAfter;
    if (stop === undefined || stop >= body.length) {
      sentBytes += body.length;
      response.end(body);
      return;
    }
    sentBytes += stop;
    response.write(body.subarray(0, stop), () => {
      // A reader throws away what it has not read when a connection is cut: it is given time to read.
      if (options.cutAfter !== undefined) setTimeout(() => response.socket?.destroy(), 150);
    });
    response.flushHeaders();
  }

  const hub: HubServer = {
    endpoint: address(servers.hub),
    storeEndpoint: address(servers.store),
    commit: testCommit,
    requests,
    content,
    etag: undefined,
    fault: undefined,
    fetches: () => requests.filter(({ server, file }) => server === 'store' && file !== undefined),
    async close() {
      for (const socket of sockets) socket.destroy();
      await Promise.all(
        Object.values(servers).map((server) => new Promise((resolve) => server.close(() => resolve(undefined)))),
      );
    },
  };
  return hub;
}

function listing(content: HubContent): unknown[] {
  const folders = new Set(
    Object.keys(content.files).flatMap((path) => (path.includes('/') ? [path.slice(0, path.lastIndexOf('/'))] : [])),
  );
  return [
    ...[...folders].map((path) => ({ type: 'directory', path, oid: '0'.repeat(40), size: 0 })),
    ...Object.entries(content.files).map(([path, bytes]) => ({
      type: 'file',
      path,
      size: bytes.length,
      ...(content.withoutHashes
        ? {}
        : {
            oid: gitSha1(isLarge(content, path) ? Buffer.from('pointer') : bytes),
            ...(isLarge(content, path)
              ? { lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 130 }, xetHash: 'f'.repeat(64) }
              : {}),
          }),
    })),
  ];
}

function isLarge({ large, withoutHashes }: HubContent, path: string): boolean {
  return withoutHashes !== true && (large?.includes(path) ?? path.endsWith('.safetensors'));
}

/** SHA-256 as hexadecimal digits. */
export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** The name that git gives to content. */
export function gitSha1(bytes: Uint8Array): string {
  return createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
}
