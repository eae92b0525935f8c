/**
 * Calls between a page and its worker: a request with an id, any number of events, and one result or error. Either half
 * works over any message port.
 */
import type { DimoErrorCode } from '@dimo/core';

/** A worker, the global scope of one, or a message port. */
export interface MessageEndpoint {
  postMessage(message: unknown, transfer: ArrayBuffer[]): void;
  addEventListener(type: 'message', listener: (event: { readonly data: unknown }) => void): void;
  /** Message ports wait until they are started. */
  start?(): void;
}

/** An error on its way between threads. */
export interface WireError {
  readonly code: DimoErrorCode;
  readonly message: string;
  readonly hint?: string | undefined;
  readonly path?: string | undefined;
}

/** From the page. */
export type ToWorker =
  | { readonly dimo: 'call'; readonly id: number; readonly method: string; readonly params: unknown }
  | { readonly dimo: 'cancel'; readonly id: number };

/** From the worker. */
export type FromWorker =
  | { readonly dimo: 'event'; readonly id: number; readonly event: unknown }
  | { readonly dimo: 'result'; readonly id: number; readonly result: unknown }
  | { readonly dimo: 'error'; readonly id: number; readonly error: WireError };

/** True for messages of this protocol; pages may send others over the same port. */
export function isOurs(data: unknown): data is ToWorker | FromWorker {
  return typeof data === 'object' && data !== null && 'dimo' in data && 'id' in data;
}

/**
 * The memory of all typed arrays in a message, to be given away instead of copied. Messages are records, at most three
 * deep, of arrays that nobody else uses.
 */
export function buffersOf(value: unknown, depth = 3): ArrayBuffer[] {
  if (ArrayBuffer.isView(value)) return value.buffer instanceof ArrayBuffer ? [value.buffer] : [];
  if (depth === 0 || typeof value !== 'object' || value === null) return [];
  return [...new Set(Object.values(value).flatMap((inner) => buffersOf(inner, depth - 1)))];
}
