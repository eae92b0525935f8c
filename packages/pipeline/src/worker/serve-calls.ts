/** The worker's half of the protocol: answers calls, one handler per method. */
import { DimoError } from '@dimo/core';
import { buffersOf, isOurs, type FromWorker, type MessageEndpoint, type WireError } from './messages.js';

/** What a handler is given beside its parameters. */
export interface CallContext<Event> {
  /** Given when the page loses interest. */
  readonly signal: AbortSignal;
  /** Tells the page how far the call has come. Memory of typed arrays moves to the page. */
  emit(event: Event): void;
}

/** Parameters, events and result of each method. */
export type MethodTypes<M> = {
  [K in keyof M]: { readonly params: unknown; readonly event: unknown; readonly result: unknown };
};

/** One handler per method. */
export type Handlers<M extends MethodTypes<M>> = {
  readonly [K in keyof M]: (
    params: M[K]['params'],
    context: CallContext<M[K]['event']>,
  ) => Promise<M[K]['result']> | M[K]['result'];
};

/** Answers calls that arrive at an endpoint. */
export function serveCalls<M extends MethodTypes<M>>(endpoint: MessageEndpoint, handlers: Handlers<M>): void {
  const running = new Map<number, AbortController>();
  const send = (message: FromWorker): void => endpoint.postMessage(message, buffersOf(message));

  async function answer(id: number, method: string, params: unknown): Promise<void> {
    const controller = new AbortController();
    running.set(id, controller);
    try {
      if (!Object.hasOwn(handlers, method)) throw new DimoError('internal', `the worker has no method "${method}"`);
      const handler = handlers[method as keyof M];
      const context = {
        signal: controller.signal,
        emit: (event: unknown) => {
          if (!controller.signal.aborted) send({ dimo: 'event', id, event });
        },
      };
      const result = await handler(params as M[keyof M]['params'], context);
      if (controller.signal.aborted) throw new DimoError('cancelled', 'stopped on request');
      send({ dimo: 'result', id, result });
    } catch (error) {
      send({ dimo: 'error', id, error: wireError(error) });
    } finally {
      running.delete(id);
    }
  }

  endpoint.addEventListener('message', ({ data }) => {
    if (!isOurs(data)) return;
    if (data.dimo === 'call') void answer(data.id, data.method, data.params);
    else if (data.dimo === 'cancel') running.get(data.id)?.abort();
  });
  endpoint.start?.();
}

function wireError(error: unknown): WireError {
  if (!DimoError.isInstance(error))
    return { code: 'internal', message: error instanceof Error ? error.message : String(error) };
  const { code, message, hint, path } = error;
  return { code, message, hint, path };
}
