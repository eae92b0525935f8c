/** A session host on the caller's own thread whose sessions compute on others, several at a time. */
import { DimoError } from '@dimo/core';
import { errorOf } from './local-host.js';
import type { HostOperation, HostOperations } from './protocol.js';
import type { SessionHostCalls } from './session-engine.js';
import { failureOf, type SessionHost } from './session-host.mjs';

/** What a request reads and what it changes, by names of functions, trees and tensors. */
interface Touched {
  readonly reads: readonly string[];
  readonly writes: readonly string[];
}

const everything = 'everything';
const tensorsOf = (tree: number, names: Iterable<string>) => Array.from(names, (name) => `tree ${tree} ${name}`);

const touchedBy: {
  readonly [Op in HostOperation]: (request: HostOperations[Op]['request']) => Touched;
} = {
  reside: () => ({ reads: [], writes: [everything] }),
  upload: ({ tree }) => ({ reads: [everything], writes: [`tree ${tree}`] }),
  assign: ({ tree, tensors }) => ({
    reads: [everything, `tree ${tree}`],
    writes: tensorsOf(tree, Object.keys(tensors)),
  }),
  download: ({ tree, names }) => ({ reads: [everything, `tree ${tree}`, ...tensorsOf(tree, names)], writes: [] }),
  widen: ({ tree, names }) => ({ reads: [everything, `tree ${tree}`], writes: tensorsOf(tree, names) }),
  releaseTree: ({ tree }) => ({ reads: [everything], writes: [`tree ${tree}`] }),
  compile: ({ fn }) => ({ reads: [everything], writes: [`function ${fn}`] }),
  run: ({ fn, tree, names, written }) => ({
    reads: [everything, `function ${fn}`, `tree ${tree}`, ...tensorsOf(tree, Object.values(names))],
    writes: tensorsOf(tree, written),
  }),
  // What a function has returned may be copied before it goes, whichever tree it is in.
  releaseFunction: () => ({ reads: [], writes: [everything] }),
  close: () => ({ reads: [], writes: [everything] }),
};

/**
 * Calls of a host on this thread. Requests that touch the same tensors or functions keep the order of their calls, and a
 * request that changes something has it alone; all others overlap. So results are those of one request after another.
 */
export function overlappingHost(host: SessionHost): SessionHostCalls {
  const inOrder = takeTurnsByName();
  const call: SessionHostCalls['call'] = (op, body, transfer = []) => {
    // As on the way to another thread: memory that is given away is the giver's no more.
    const own = op === 'upload' ? structuredClone(body, { transfer: [...transfer] }) : body;
    return inOrder(touchedBy[op](own), async () => {
      try {
        return await host[op](own);
      } catch (error) {
        throw DimoError.isInstance(error) ? error : errorOf(failureOf(op, error), error);
      }
    });
  };
  return { call, close: async () => void (await call('close', {})) };
}

/** The last requests under a name that are not finished: one that changed it, and those that have read it since. */
interface Waiting {
  writer?: Promise<void> | undefined;
  readonly readers: Set<Promise<void>>;
}

/** Runs each task when those before it have finished that it must not overlap. */
function takeTurnsByName(): <T>(touched: Touched, task: () => Promise<T>) => Promise<T> {
  const waiting = new Map<string, Waiting>();
  const entryOf = (name: string): Waiting => {
    const known = waiting.get(name);
    if (known) return known;
    const entry: Waiting = { readers: new Set() };
    waiting.set(name, entry);
    return entry;
  };
  return ({ reads, writes }, task) => {
    const written = new Set(writes);
    const read = new Set(reads.filter((name) => !written.has(name)));
    const before = new Set<Promise<void>>();
    for (const name of [...read, ...written]) {
      const { writer } = waiting.get(name) ?? {};
      if (writer) before.add(writer);
    }
    for (const name of written) for (const reader of waiting.get(name)?.readers ?? []) before.add(reader);
    const result = Promise.all(before).then(task);
    const done = result.then(
      () => leave(),
      () => leave(),
    );
    for (const name of read) entryOf(name).readers.add(done);
    for (const name of written) waiting.set(name, { writer: done, readers: new Set() });
    const leave = () => {
      for (const name of [...read, ...written]) {
        const entry = waiting.get(name);
        if (!entry) continue;
        entry.readers.delete(done);
        if (entry.writer === done) entry.writer = undefined;
        if (!entry.writer && entry.readers.size === 0) waiting.delete(name);
      }
    };
    return result;
  };
}
