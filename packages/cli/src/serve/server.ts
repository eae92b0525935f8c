/**
 * The HTTP server of `dimo serve`:
 *
 *   POST /v1/images   JSON { model?, classes? | prompts?, seed?, count?, temperature?, sampler?, steps? } -> JSON, or with
 *                     `Accept: image/png` one grid
 *   GET /v1/models    what is served
 *   GET /health       { "status": "ok" }
 *   GET /...          files of the page folder, if there is one
 */
import { DimoError } from '@dimo/core';
import { randomInt } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { shortLines } from '../output/failure.js';
import { encodeGrid, encodeImage, gridColumns } from '../output/images.js';
import { checkRequest, loopbackHosts, type GuardSettings } from './guard.js';
import { listen, listenError } from './listen.js';
import { watchConnections, type Connections } from './connections.js';
import { checkPasses, parseImageRequest } from './image-request.js';
import { createJobQueue, type JobQueue } from './job-queue.js';
import { defaultServeLimits, HttpProblem, type ServeLimits } from './limits.js';
import type { PageHandler } from './page.js';
import { readJsonBody } from './read-json.js';
import type { ServedModel } from './served-model.js';

/** Settings of `startServer`. */
export interface ServeOptions {
  /** The first answers where no model is named; none where there is only a page. */
  readonly models: readonly ServedModel[];
  /** @default 127.0.0.1 */
  readonly host?: string;
  /** 0: any free one. @default 7860 */
  readonly port?: number;
  /** Further names that may be in the Host header. */
  readonly allowedHosts?: readonly string[];
  readonly token?: string | undefined;
  /** Answers what is not under /v1/: `openPage(folder)`. */
  readonly page?: PageHandler | undefined;
  readonly limits?: Partial<ServeLimits>;
  /** One line per request, without anything secret. */
  readonly log?: ((line: string) => void) | undefined;
}

/** A running server. */
export interface RunningServer {
  /** `http://127.0.0.1:7860`. */
  readonly address: string;
  readonly port: number;
  /** Takes no more requests, finishes the running job, closes all connections. */
  close(): Promise<void>;
}

/** Milliseconds after which a connection is closed whose request was refused while its body was still coming. */
const lingerMilliseconds = 500;

/** Headers of every answer. */
const commonHeaders = {
  'x-content-type-options': 'nosniff',
  'cross-origin-resource-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-embedder-policy': 'require-corp',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
};

/**
 * Starts the server.
 *
 * @throws DimoError with code `io` if the address cannot be used, naming another port where one is free.
 */
export async function startServer(options: ServeOptions): Promise<RunningServer> {
  const limits = { ...defaultServeLimits, ...options.limits };
  const { host = '127.0.0.1', log } = options;
  const queue = createJobQueue(limits.queue);
  const context: Omit<Context, 'connections'> = {
    ...options,
    limits,
    queue,
    bodies: { open: 0 },
    guard: {
      token: options.token,
      hosts: new Set(
        [...loopbackHosts, ...(options.allowedHosts ?? []), ...ownNames(host)].map((name) => name.toLowerCase()),
      ),
    },
  };
  // What Node's own parser refuses it answers itself: 400, 408 and 431.
  const server = createServer(
    {
      maxHeaderSize: 16_384,
      headersTimeout: limits.headersMilliseconds,
      requestTimeout: limits.requestMilliseconds,
      connectionsCheckingInterval: Math.min(1000, limits.headersMilliseconds / 2),
      keepAliveTimeout: 5000,
      insecureHTTPParser: false,
      requireHostHeader: true,
    },
    (request, response) => {
      const started = performance.now();
      const { socket } = request;
      const before = socket.bytesWritten;
      response.on('close', () => {
        // A client that has all of a file may hang up before the file's stream has ended the answer.
        const length = Number(response.getHeader('content-length') ?? Infinity);
        const isWhole = !response.writableEnded && socket.bytesWritten - before > length;
        const status = response.writableFinished || isWhole ? response.statusCode : 499;
        const path = (request.url ?? '').split('?')[0]!.slice(0, 200);
        log?.(`${request.method} ${path} ${status} ${Math.round(performance.now() - started)} ms`);
      });
      void answer(request, response, { ...context, connections });
    },
  );
  const connections = watchConnections(server, limits);
  try {
    await listen(server, options.port ?? 7860, host);
  } catch (error) {
    connections.dispose();
    throw await listenError(error, options.port ?? 7860, host);
  }
  const { port } = server.address() as AddressInfo;
  return {
    port,
    address: `http://${host.includes(':') ? `[${host}]` : host}:${port}`,
    close: () => closeServer(server, queue).finally(() => connections.dispose()),
  };
}

interface Context extends ServeOptions {
  readonly limits: ServeLimits;
  readonly queue: JobQueue;
  readonly guard: GuardSettings;
  readonly bodies: { open: number };
  readonly connections: Connections;
}

/** An address stands for itself; "all addresses" stands for no name. */
function ownNames(host: string): string[] {
  if (host === '0.0.0.0' || host === '::') return [];
  return [host.includes(':') ? `[${host}]` : host];
}

async function answer(request: IncomingMessage, response: ServerResponse, context: Context): Promise<void> {
  for (const [name, value] of Object.entries(commonHeaders)) response.setHeader(name, value);
  try {
    const url = checkRequest(request, context.guard);
    await route(request, response, { ...context, url });
  } catch (error) {
    if (response.destroyed || response.headersSent) {
      response.destroy();
      return;
    }
    sendProblem(request, response, problemOf(error, context));
  }
}

async function route(
  request: IncomingMessage,
  response: ServerResponse,
  context: Context & { readonly url: URL },
): Promise<void> {
  const { pathname } = context.url;
  const isRead = request.method === 'GET' || request.method === 'HEAD';
  switch (pathname) {
    case '/v1/images':
      if (request.method !== 'POST') throw notAllowed('POST');
      return postImages(request, response, context);
    case '/v1/models':
      if (!isRead) throw notAllowed('GET, HEAD');
      return sendJson(response, 200, { models: context.models.map(describeModel) });
    case '/health':
      if (!isRead) throw notAllowed('GET, HEAD');
      return sendJson(response, 200, { status: 'ok' });
    default:
      if (!isRead) throw notAllowed('GET, HEAD');
      if (!context.page || pathname.startsWith('/v1/')) throw new HttpProblem(404, 'there is nothing here');
      // Tells the page that it can offer models of this server too.
      if (context.models.length > 0) response.setHeader('dimo-models', '/v1/models');
      return new Promise<void>((resolve, reject) => {
        response.on('close', resolve);
        context.page!(request, response, () => reject(new HttpProblem(404, 'there is no such file')));
      });
  }
}

function notAllowed(allow: string): HttpProblem {
  return new HttpProblem(405, `only ${allow} is answered here`, { headers: { allow } });
}

function describeModel({ name, kind, classNames, imageShape, samplers }: ServedModel): object {
  return {
    name,
    kind,
    imageShape,
    ...(classNames ? { classNames } : {}),
    ...(samplers.length > 0 ? { samplers } : {}),
  };
}

async function postImages(request: IncomingMessage, response: ServerResponse, context: Context): Promise<void> {
  const { limits, bodies, queue, models, connections } = context;
  if (bodies.open >= limits.bodies)
    throw new HttpProblem(429, 'too many requests are being read', { headers: { 'retry-after': '1' } });
  bodies.open++;
  const body = await readJsonBody(request, limits).finally(() => bodies.open--);
  const wanted = parseImageRequest(body, limits);
  const model = wanted.model === undefined ? models[0]! : models.find(({ name }) => name === wanted.model);
  if (!model) throw new HttpProblem(404, `there is no such model; GET /v1/models lists those that are served`);
  if (wanted.sampler) checkPasses(model.maximumPasses(wanted.sampler), model.maximumPasses(), limits);
  const [height, width] = model.imageShape;
  const asGrid = /^image\/png\b/i.test(request.headers.accept ?? '');
  // A grid is put together from images that are all in memory.
  const maximum = asGrid ? limits.pixels / 4 : limits.pixels;
  if (wanted.count * height * width > maximum)
    throw new HttpProblem(400, `an answer may have ${Math.floor(maximum / (height * width))} images of this model`);
  const seed = wanted.seed ?? randomInt(2 ** 32);
  const numJobs = connections.jobs(request.socket);
  if (numJobs >= limits.jobsPerConnection)
    throw new HttpProblem(429, `${numJobs} requests of this connection are waiting already`, {
      headers: { 'retry-after': '1' },
    });
  const gone = new AbortController();
  const letGo = connections.hold(request.socket, () => gone.abort());
  const generate = {
    texts: wanted.texts,
    count: wanted.count,
    seed,
    temperature: wanted.temperature,
    sampler: wanted.sampler,
    signal: gone.signal,
  };
  await queue
    .run(gone.signal, async () => {
      if (gone.signal.aborted) return;
      const started = performance.now();
      const pngs: string[] = [];
      const grid = asGrid ? new Float32Array(wanted.count * sizeOfImage(model)) : undefined;
      const labels: string[] = [];
      for await (const { index, image, label } of model.generate(generate)) {
        labels.push(label);
        if (grid) grid.set(image.data, index * sizeOfImage(model));
        else pngs.push(Buffer.from(encodeImage(image)).toString('base64'));
        // Other connections have their turn between images.
        await new Promise((resolve) => setImmediate(resolve));
      }
      if (gone.signal.aborted) return;
      if (grid) {
        const shape = [wanted.count, ...model.imageShape];
        const { png } = encodeGrid({ dtype: 'float32', shape, data: grid }, gridColumns(wanted.count, 0));
        response.writeHead(200, { 'content-type': 'image/png', 'cache-control': 'no-store', 'x-seed': String(seed) });
        response.end(png);
        return;
      }
      sendJson(response, 200, {
        model: model.name,
        seed,
        milliseconds: Math.round(performance.now() - started),
        images: pngs.map((png, i) => ({ png, ...(labels[i] ? { label: labels[i] } : {}) })),
      });
    })
    .finally(letGo);
}

function sizeOfImage({ imageShape: [height, width, channels] }: ServedModel): number {
  return height * width * channels;
}

function sendJson(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, {
    'content-type': 'application/json; charset=utf-8',
    'cache-control': 'no-store',
    'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  });
  response.end(`${JSON.stringify(value)}\n`);
}

function problemOf(error: unknown, { log }: Context): HttpProblem {
  if (error instanceof HttpProblem) return error;
  if (DimoError.isInstance(error) && error.code === 'option')
    return new HttpProblem(400, error.message, error.hint === undefined ? {} : { hint: error.hint });
  // Node's own errors of a body that was cut off.
  if ((error as NodeJS.ErrnoException).code === 'ECONNRESET') return new HttpProblem(400, 'the body was cut off');
  log?.(`failure: ${error instanceof Error ? error.message : String(error)}`);
  return new HttpProblem(500, 'the request failed; the server has printed why');
}

function sendProblem(request: IncomingMessage, response: ServerResponse, problem: HttpProblem): void {
  const { hint, headers = {} } = problem.options;
  // What is still coming of a body is not read.
  const isUnread = !request.complete;
  for (const [name, value] of Object.entries({ ...headers, ...(isUnread ? { connection: 'close' } : {}) }))
    response.setHeader(name, value);
  sendJson(response, problem.status, {
    error: { message: shortLines(problem.message), ...(hint === undefined ? {} : { hint }) },
  });
  if (!isUnread) return;
  // Read and thrown away for a moment, so that the answer arrives before the connection is reset.
  request.resume();
  setTimeout(() => request.socket.destroy(), lingerMilliseconds).unref();
}

async function closeServer(server: Server, queue: JobQueue): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeIdleConnections();
  await queue.idle();
  // Answers that were just written are on their way.
  setTimeout(() => server.closeAllConnections(), lingerMilliseconds).unref();
  await closed;
}
