/** The page's half of the protocol. Loads nothing: pages stay small. */
import type { DimoErrorCode } from '@dimo/core';
import { isOurs, type MessageEndpoint, type WireError } from './messages.js';
import type { MethodTypes } from './serve-calls.js';

/** Marks errors of the family, as core does. */
const mark: unique symbol = Symbol.for('dimo.error');

/** An error of the worker; `DimoError.isInstance` recognizes it. */
export class WorkerError extends Error {
  readonly code: DimoErrorCode;
  readonly hint: string | undefined;
  readonly path: string | undefined;
  readonly [mark] = true;

  constructor({ code, message, hint, path }: WireError) {
    super(message);
    this.name = 'WorkerError';
    this.code = code;
    this.hint = hint;
    this.path = path;
  }
}

/** Options of a call. */
export interface CallOptions<Event> {
  /** Ends the call with an error of code `cancelled`; the worker stops where it next can. */
  readonly signal?: AbortSignal | undefined;
  readonly onEvent?: ((event: Event) => void) | undefined;
}

/** Calls methods of a worker. */
export interface Caller<M extends MethodTypes<M>> {
  call<K extends keyof M & string>(
    method: K,
    params: M[K]['params'],
    options?: CallOptions<M[K]['event']>,
  ): Promise<M[K]['result']>;
  /** Ends all calls that are under way with this error, and those to come. */
  fail(error: WireError): void;
}

interface Pending {
  resolve(result: unknown): void;
  reject(error: unknown): void;
  /** Lets the signal go. */
  release(): void;
  onEvent?: ((event: never) => void) | undefined;
}

/** Connects to the worker at an endpoint. */
export function connectCalls<M extends MethodTypes<M>>(endpoint: MessageEndpoint): Caller<M> {
  const pending = new Map<number, Pending>();
  let nextId = 1;
  let failure: WireError | undefined;

  endpoint.addEventListener('message', ({ data }) => {
    if (!isOurs(data)) return;
    const call = pending.get(data.id);
    if (!call) return;
    if (data.dimo === 'event') call.onEvent?.(data.event as never);
    else if (data.dimo === 'result' || data.dimo === 'error') {
      pending.delete(data.id);
      call.release();
      if (data.dimo === 'result') call.resolve(data.result);
      else call.reject(new WorkerError(data.error));
    }
  });
  endpoint.start?.();

  return {
    call(method, params, { signal, onEvent } = {}) {
      const id = nextId++;
      return new Promise((resolve, reject) => {
        if (failure) return reject(new WorkerError(failure));
        const cancel = (): void => endpoint.postMessage({ dimo: 'cancel', id }, []);
        try {
          endpoint.postMessage({ dimo: 'call', id, method, params }, []);
        } catch (error) {
          return reject(
            new WorkerError({
              code: 'option',
              message: `${method}: what it was given cannot be sent to a worker: ${error instanceof Error ? error.message : String(error)}`,
              hint: 'give plain data: no functions, no objects of the page',
            }),
          );
        }
        const release = (): void => signal?.removeEventListener('abort', cancel);
        pending.set(id, { resolve: resolve as (result: unknown) => void, reject, release, onEvent });
        if (signal?.aborted) cancel();
        else signal?.addEventListener('abort', cancel, { once: true });
      });
    },
    fail(error) {
      failure = error;
      for (const call of pending.values()) {
        call.release();
        call.reject(new WorkerError(error));
      }
      pending.clear();
    },
  };
}
