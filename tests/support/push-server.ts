/**
 * A hub on loopback that can be pushed to, as the public one: repositories are made, files announced, large ones put into a
 * store on another port under signed addresses, whole or in parts, and a commit names all of them. `fault` may take over
 * any answer.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { gitSha1, sha256 } from './hub-server.js';

/** A request as the servers saw it. */
export interface PushRequest {
  readonly server: 'hub' | 'store';
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
}

/** An answer other than that of a good server. */
export interface Fault {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  /** Cuts the connection after so many bytes of what is sent. */
  readonly cutAfter?: number;
  /** Reads nothing and answers nothing. */
  readonly stall?: boolean;
  /** Forgets what is sent, and answers so. */
  readonly discard?: boolean;
  /** Does what was asked, then cuts the connection in place of an answer. */
  readonly loseAnswer?: boolean;
}

/** A commit as the hub received it. */
export interface ReceivedCommit {
  readonly summary: string;
  readonly parent: string;
  readonly paths: readonly string[];
}

/** A running hub. */
export interface PushServer {
  readonly endpoint: string;
  readonly storeEndpoint: string;
  readonly requests: PushRequest[];
  readonly commits: ReceivedCommit[];
  /** Content by name, of the newest commit. */
  readonly files: Map<string, Buffer>;
  /** Content by SHA-256. */
  readonly store: Map<string, Buffer>;
  /** What `dimo push --create` made: undefined until then, if it did not exist. */
  repository: { isPrivate: boolean } | undefined;
  /** Large files come in parts of so many bytes. @default whole */
  partBytes: number | undefined;
  gitignored: string[];
  fault: ((request: PushRequest) => Fault | undefined | void) | undefined;
  /** Requests that brought content of large files. */
  puts(): PushRequest[];
  close(): Promise<void>;
}

/** Starts a hub with the empty repository `maker/model`, which takes this token. */
export async function startPushServer(token: string): Promise<PushServer> {
  const sockets = new Set<Socket>();
  const parts = new Map<string, Buffer>();
  const servers = {
    hub: createServer((request, response) => void handle('hub', request, response)),
    store: createServer((request, response) => void handle('store', request, response)),
  };
  for (const server of Object.values(servers)) {
    server.on('connection', (socket) => {
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  }
  const address = (server: Server): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const head = (): string => (hub.commits.length + 1).toString(16).padStart(40, 'c');
  const hub: PushServer = {
    endpoint: address(servers.hub),
    storeEndpoint: address(servers.store),
    requests: [],
    commits: [],
    files: new Map(),
    store: new Map(),
    repository: { isPrivate: false },
    partBytes: undefined,
    gitignored: [],
    fault: undefined,
    puts: () => hub.requests.filter(({ method }) => method === 'PUT'),
    async close() {
      sockets.forEach((socket) => socket.destroy());
      await Promise.all(Object.values(servers).map((server) => new Promise((resolve) => server.close(resolve))));
    },
  };

  async function handle(server: 'hub' | 'store', request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url!, 'http://hub');
    const seen = { server, method: request.method!, path: decodeURIComponent(url.pathname), headers: request.headers };
    hub.requests.push(seen);
    const fault = hub.fault?.(seen) ?? {};
    if (fault.stall) return;
    const chunks: Buffer[] = [];
    let length = 0;
    try {
      for await (const chunk of request as AsyncIterable<Buffer>) {
        if (!fault.discard) chunks.push(chunk);
        length += chunk.length;
        if (fault.cutAfter !== undefined && length >= fault.cutAfter) return void request.socket.destroy();
      }
    } catch {
      return;
    }
    if (fault.status !== undefined) {
      response.writeHead(fault.status, { 'content-type': 'application/json', ...fault.headers });
      return void response.end(JSON.stringify(fault.body ?? {}));
    }
    const body = Buffer.concat(chunks);
    const { status = 200, headers = {}, value } = server === 'hub' ? ask(seen, body) : keep(seen, url, body);
    if (fault.loseAnswer) return void request.socket.destroy();
    response.writeHead(status, { 'content-type': 'application/json', ...headers });
    response.end(value === undefined ? '' : JSON.stringify(value));
  }

  interface Reply {
    readonly status?: number;
    readonly headers?: Readonly<Record<string, string>>;
    readonly value?: unknown;
  }

  function ask({ path, method, headers }: PushRequest, body: Buffer): Reply {
    if (headers.authorization !== `Bearer ${token}`)
      return { status: 401, value: { error: `Invalid user token ${headers.authorization}` } };
    if (path === '/api/repos/create') {
      const { name, organization, private: isPrivate } = JSON.parse(body.toString()) as Record<string, unknown>;
      if (`${String(organization)}/${String(name)}` !== 'maker/model') return { status: 403, value: { error: 'no' } };
      if (hub.repository) return { status: 409, value: { error: 'You already created this model repo' } };
      hub.repository = { isPrivate: isPrivate === true };
      return { value: { url: 'https://hub/maker/model' } };
    }
    if (!hub.repository) return { status: 404, value: { error: 'Repository not found' } };
    const api = '/api/models/maker/model';
    if (path === api) return { value: { private: hub.repository.isPrivate } };
    if (path.startsWith(`${api}/revision/`))
      return path === `${api}/revision/main` ? { value: { sha: head() } } : { status: 404 };
    if (path === `${api}/tree/${head()}`) return { value: [...hub.files].map(([name, bytes]) => listed(name, bytes)) };
    if (method === 'POST' && path === `${api}/preupload/main`) {
      const { files } = JSON.parse(body.toString()) as { files: { path: string; size: number; sample: string }[] };
      return {
        value: {
          files: files.map((file) => ({
            path: file.path,
            uploadMode: isLarge(file.path) ? 'lfs' : 'regular',
            shouldIgnore: hub.gitignored.includes(file.path),
          })),
        },
      };
    }
    if (path === '/maker/model.git/info/lfs/objects/batch') return { value: { objects: plan(body) } };
    if (path.startsWith('/complete/')) {
      const { oid, parts: given } = JSON.parse(body.toString()) as {
        oid: string;
        parts: { partNumber: number; etag: string }[];
      };
      const all = given.map(({ partNumber, etag }) => {
        const part = parts.get(`${oid}/${partNumber}`);
        return part && etag === `"${sha256(part).slice(0, 8)}"` ? part : undefined;
      });
      if (all.includes(undefined)) return { status: 400, value: { error: 'wrong part' } };
      const content = Buffer.concat(all as Buffer[]);
      if (sha256(content) !== oid) return { status: 422, value: { error: 'wrong content' } };
      hub.store.set(oid, content);
      return {};
    }
    if (path === '/verify') {
      const { oid, size } = JSON.parse(body.toString()) as { oid: string; size: number };
      return hub.store.get(oid)?.length === size ? {} : { status: 404 };
    }
    return path === `${api}/commit/main` ? commit(body) : { status: 404 };
  }

  function plan(body: Buffer): unknown[] {
    const { objects, transfers } = JSON.parse(body.toString()) as {
      objects: { oid: string; size: number }[];
      transfers: string[];
    };
    return objects.map(({ oid, size }) => {
      if (hub.store.has(oid)) return { oid, size };
      const { partBytes } = hub;
      const verify = { href: `${hub.endpoint}/verify` };
      const signed = `signature=${'s'.repeat(12)}`;
      if (partBytes === undefined || !transfers.includes('multipart'))
        return { oid, size, actions: { upload: { href: `${hub.storeEndpoint}/whole/${oid}?${signed}` }, verify } };
      const count = Math.ceil(size / partBytes);
      const header = Object.fromEntries(
        Array.from({ length: count }, (_, i) => [
          String(i + 1).padStart(5, '0'),
          `${hub.storeEndpoint}/part/${oid}/${i + 1}?${signed}`,
        ]),
      );
      return {
        oid,
        size,
        actions: {
          upload: {
            href: `${hub.endpoint}/complete/${oid}?${signed}`,
            header: { chunk_size: String(partBytes), ...header },
          },
          verify,
        },
      };
    });
  }

  function keep({ path, method, headers }: PushRequest, url: URL, body: Buffer): Reply {
    // As the stores of clouds do.
    if (headers['transfer-encoding'] !== undefined || headers['content-length'] === undefined) return { status: 411 };
    if (headers.authorization !== undefined) return { status: 400 };
    if (method !== 'PUT' || !url.searchParams.has('signature')) return { status: 403 };
    const [, kind, oid = '', number] = path.split('/');
    if (kind === 'part') {
      parts.set(`${oid}/${number}`, body);
      return { headers: { etag: `"${sha256(body).slice(0, 8)}"` } };
    }
    if (sha256(body) !== oid) return { status: 400 };
    hub.store.set(oid, body);
    return {};
  }

  function commit(body: Buffer): Reply {
    const lines = body.toString().trim().split('\n');
    const entries = lines.map((line) => JSON.parse(line) as { key: string; value: Record<string, string> });
    const [header, ...files] = entries;
    if (header?.value['parentCommit'] !== head())
      return { status: 412, value: { error: 'A commit has happened since' } };
    const next = new Map(hub.files);
    for (const { key, value } of files) {
      const content = key === 'lfsFile' ? hub.store.get(value['oid']!) : Buffer.from(value['content']!, 'base64');
      if (!content) return { status: 400, value: { error: 'LFS pointer pointed to a file that does not exist' } };
      next.set(value['path']!, content);
    }
    next.forEach((content, name) => hub.files.set(name, content));
    hub.commits.push({
      summary: header.value['summary']!,
      parent: header.value['parentCommit']!,
      paths: files.map(({ value }) => value['path']!),
    });
    return { value: { success: true, commitOid: head(), commitUrl: 'https://hub/commit' } };
  }
  return hub;
}

function isLarge(path: string): boolean {
  return path.endsWith('.safetensors');
}

function listed(path: string, bytes: Buffer): object {
  return {
    type: 'file',
    path,
    size: bytes.length,
    oid: gitSha1(isLarge(path) ? Buffer.from('pointer') : bytes),
    ...(isLarge(path) ? { lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 130 } } : {}),
  };
}
