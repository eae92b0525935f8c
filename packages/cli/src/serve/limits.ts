/** Upper bounds of what the server takes, and the error that says which of them was passed. */

/** Limits of `startServer`. */
export interface ServeLimits {
  /** Bytes of a request's body. @default 1 MiB */
  readonly bodyBytes: number;
  /** Samples per request. @default 64 */
  readonly samples: number;
  /** Pixels of all images of an answer. @default 2^26: 64 images of 1024 x 1024 */
  readonly pixels: number;
  /** Steps of a teacher's sampler, and forward passes of a sample, that a request may ask for. @default 256 */
  readonly steps: number;
  /** Characters of one prompt. @default 10000 */
  readonly promptLength: number;
  /** Requests that wait for the one that is computed. @default 32 */
  readonly queue: number;
  /** Open connections; beyond them, the one that has been silent for longest is closed. @default 512 */
  readonly connections: number;
  /** Requests of one connection that are computed or wait. @default 8 */
  readonly jobsPerConnection: number;
  /** Milliseconds in which a client must take `readerBytes` of what is sent to it. @default 20000 and 16 KiB */
  readonly readerMilliseconds: number;
  readonly readerBytes: number;
  /** Bodies that are read at the same time. @default 64 */
  readonly bodies: number;
  /** Milliseconds for the headers, and for headers and body together. @default 10000 and 30000 */
  readonly headersMilliseconds: number;
  readonly requestMilliseconds: number;
}

/** The limits in use where none are given. */
export const defaultServeLimits: ServeLimits = {
  bodyBytes: 2 ** 20,
  samples: 64,
  pixels: 2 ** 26,
  steps: 256,
  promptLength: 10_000,
  queue: 32,
  connections: 512,
  jobsPerConnection: 8,
  readerMilliseconds: 20_000,
  readerBytes: 2 ** 14,
  bodies: 64,
  headersMilliseconds: 10_000,
  requestMilliseconds: 30_000,
};

/** A request that is refused. */
export class HttpProblem extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly options: { readonly hint?: string; readonly headers?: Readonly<Record<string, string>> } = {},
  ) {
    super(message);
    this.name = 'HttpProblem';
  }
}
