/** A session host on the caller's own thread. */
import { BackendUnavailableError, DimoError } from '@dimo/core';
import type { HostFailure } from './protocol.js';
import type { SessionHostCalls } from './session-engine.js';
import { failureOf, type SessionHost } from './session-host.mjs';

/**
 * Calls of a host on this thread, one after another.
 *
 * @param enqueue - waits for its turn; hosts of one runtime whose calls must not overlap share it. @default a turn of its own
 */
export function localHost(host: SessionHost, enqueue: Turns = takeTurns()): SessionHostCalls {
  const call: SessionHostCalls['call'] = (op, body) =>
    enqueue(async () => {
      try {
        return await host[op](body);
      } catch (error) {
        throw DimoError.isInstance(error) ? error : errorOf(failureOf(op, error), error);
      }
    });
  return { call, close: async () => void (await call('close', {})) };
}

/** Runs tasks one after another. */
export type Turns = <T>(task: () => Promise<T>) => Promise<T>;

/** A queue. */
export function takeTurns(): Turns {
  let last: Promise<unknown> = Promise.resolve();
  return (task) => {
    const result = last.then(task);
    last = result.catch(() => {});
    return result;
  };
}

/** The error of a failure. */
export function errorOf({ code, message, hint }: HostFailure, cause?: unknown): DimoError {
  const options = { hint, cause };
  return code === 'backend-unavailable'
    ? new BackendUnavailableError(message, options)
    : new DimoError(code, message, options);
}
