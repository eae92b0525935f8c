/**
 * Requests that wait for the engine. Those of one kind are drawn together, batch by batch; those of different kinds take
 * turns after each batch, so that a long one holds up nobody.
 */
import { gatherRows, numRows, takeRows, type HostTree } from '@dimo/core';
import { cancelled } from '../model/cancellation.js';
import { throwIfAborted } from '../model/resident-model.js';
import type { SampleKey } from '../model/draws.js';
import { letMessagesIn } from './let-messages-in.js';

/** A request. */
export interface Job<Result> {
  /** Requests with equal keys can be drawn in one batch. */
  readonly key: string;
  readonly samples: readonly SampleKey[];
  /** One row a sample. */
  readonly condition: HostTree;
  /** One row for all samples. */
  readonly nullCondition?: HostTree | undefined;
  /** Tokens of a given image: one row a sample, in all requests of a key or in none. */
  readonly known?: HostTree | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Called with each sample when it is drawn; in order. What it throws ends this request alone. */
  deliver(result: Result, sample: SampleKey): void;
  /** Called after each step of a batch that has samples of this request. What it throws ends this request alone. */
  onStep?(progress: { readonly step: number; readonly numSteps: number }): void;
}

/** Samples that are drawn at once. */
export interface Batch {
  readonly samples: readonly SampleKey[];
  readonly condition: HostTree;
  readonly nullCondition?: HostTree;
  readonly known?: HostTree;
  /** What the batch is filled up to. */
  readonly batchSize: number;
  /** Given when nobody wants any of the samples any more. */
  readonly signal: AbortSignal;
  /** Settles after messages and timers had their turn; whoever draws on this thread sees then who was stopped. */
  onStep(progress: { readonly step: number; readonly numSteps: number }): Promise<void>;
}

/** Draws requests. */
export interface Queue<Request extends Job<Result>, Result> {
  /** Settles when all samples are delivered. @throws what `draw` throws; DimoError `cancelled` */
  run(job: Request): Promise<void>;
  /** Settles when nothing is drawn or waits. */
  idle(): Promise<void>;
}

interface Waiting<Request> {
  readonly job: Request;
  /** Samples that were drawn. */
  done: number;
  /** Samples of it in the running batch. */
  taken: number;
  /** Given when nobody waits for it any more: it was stopped, or has failed. */
  readonly over: AbortSignal;
  resolve(): void;
  /** Ends it with an error, at once. */
  fail(error: unknown): void;
}

/**
 * The number of samples that a batch is compiled for: powers of two, so that few functions serve every number and less
 * than half of a batch is for nothing.
 */
export function filledBatchSize(count: number, maximum: number): number {
  return Math.min(maximum, 2 ** Math.ceil(Math.log2(count)));
}

/**
 * Makes an empty queue.
 *
 * @param maximum - samples drawn at once.
 * @param draw - draws a batch for requests of one key; `first` is one of them.
 */
export function createQueue<Request extends Job<Result>, Result>(
  maximum: number,
  draw: (batch: Batch, first: Request) => Promise<readonly Result[]>,
): Queue<Request, Result> {
  let waiting: Waiting<Request>[] = [];
  let running: Promise<void> | undefined;

  async function drain(): Promise<void> {
    for (;;) {
      // Requests that are made at the same time are drawn together, and one can be stopped between two batches.
      await letMessagesIn();
      const [first] = waiting;
      if (!first) {
        running = undefined;
        return;
      }
      await drawSome(first);
    }
  }

  async function drawSome(first: Waiting<Request>): Promise<void> {
    const chosen: Waiting<Request>[] = [];
    let count = 0;
    for (const candidate of waiting) {
      if (candidate.job.key !== first.job.key || count === maximum) continue;
      candidate.taken = Math.min(candidate.job.samples.length - candidate.done, maximum - count);
      count += candidate.taken;
      chosen.push(candidate);
    }
    waiting = waiting.filter((candidate) => !chosen.includes(candidate));
    const { signal, stop } = whenAllAbort(chosen.map(({ over }) => over));
    try {
      const results = await draw(batchOf(chosen, { batchSize: filledBatchSize(count, maximum), signal }), first.job);
      let at = 0;
      for (const entry of chosen) {
        const { job, done, taken } = entry;
        for (let i = done; i < done + taken; i++, at++)
          unlessOver(entry, () => job.deliver(results[at]!, job.samples[i]!));
        entry.done += taken;
        if (entry.over.aborted) continue;
        if (entry.done === job.samples.length) entry.resolve();
        else waiting.push(entry);
      }
    } catch (error) {
      for (const { fail } of chosen) fail(error);
    } finally {
      stop();
    }
  }

  return {
    run(job) {
      return new Promise((resolve, reject) => {
        throwIfAborted(job.signal);
        const over = new AbortController();
        const stopped = (): void => entry.fail(cancelled(job.signal));
        const entry: Waiting<Request> = {
          job,
          done: 0,
          taken: 0,
          over: over.signal,
          resolve() {
            job.signal?.removeEventListener('abort', stopped);
            resolve();
          },
          fail(error) {
            job.signal?.removeEventListener('abort', stopped);
            waiting = waiting.filter((other) => other !== entry);
            reject(error);
            over.abort();
          },
        };
        job.signal?.addEventListener('abort', stopped);
        waiting.push(entry);
        running ??= drain();
      });
    },
    idle: async () => {
      while (running) await running;
    },
  };
}

/** Calls back for a request that somebody waits for; a callback that throws ends that request alone. */
function unlessOver({ over, fail }: Waiting<unknown>, callBack: () => void): void {
  if (over.aborted) return;
  try {
    callBack();
  } catch (error) {
    fail(error);
  }
}

function batchOf<Request extends Job<never>>(
  chosen: readonly Waiting<Request>[],
  { batchSize, signal }: Pick<Batch, 'batchSize' | 'signal'>,
): Batch {
  const { job } = chosen[0]!;
  return {
    samples: chosen.flatMap(({ job: { samples }, done, taken }) => samples.slice(done, done + taken)),
    condition: joinTrees(chosen.map(({ job: { condition }, done, taken }) => takeRows(condition, done, taken))),
    ...(job.nullCondition
      ? { nullCondition: joinTrees(chosen.map(({ job: own, taken }) => takeRows(own.nullCondition!, 0, taken))) }
      : {}),
    ...(job.known
      ? { known: joinTrees(chosen.map(({ job: own, done, taken }) => takeRows(own.known!, done, taken))) }
      : {}),
    batchSize,
    signal,
    async onStep(progress) {
      for (const entry of chosen) unlessOver(entry, () => entry.job.onStep?.(progress));
      await letMessagesIn();
    },
  };
}

/** The rows of trees with the same names, one below the other. */
function joinTrees(trees: readonly HostTree[]): HostTree {
  const [first] = trees;
  if (trees.length === 1) return first!;
  const total = trees.reduce((sum, tree) => sum + numRows(tree), 0);
  return Object.fromEntries(
    Object.entries(first!).map(([name, tensor]) => {
      // Memory of the right kind and length; every row is overwritten.
      const joined = gatherRows(tensor, new Array<number>(total).fill(0));
      let at = 0;
      for (const tree of trees) {
        joined.data.set(tree[name]!.data, at);
        at += tree[name]!.data.length;
      }
      return [name, joined];
    }),
  );
}

/** A signal that is given when all of some are. */
function whenAllAbort(signals: readonly AbortSignal[]): { signal: AbortSignal; stop(): void } {
  const all = new AbortController();
  const check = (): void => {
    if (signals.every((signal) => signal.aborted)) all.abort();
  };
  for (const signal of signals) signal.addEventListener('abort', check);
  check();
  return {
    signal: all.signal,
    stop() {
      for (const signal of signals) signal.removeEventListener('abort', check);
    },
  };
}
