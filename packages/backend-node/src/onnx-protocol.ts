/**
 * Messages between the `onnx` engines and their worker thread, in which a session host serves. Types only: the worker is
 * plain JavaScript, so that the same file runs from the sources and from the built package.
 */
import type { DimoErrorCode } from '@dimo/core';
import type { HostOperations } from '@dimo/onnx/sessions';

/** Requests by name, with what the worker answers. */
export interface WorkerOperations extends HostOperations {
  /** Loads onnxruntime. */
  load: {
    request: { /** State has two buffers that runs write into; see session-host.mjs. */ readonly inPlace: boolean };
    /** Versions, and the names of the providers that this build has: `cpu`, `webgpu`, `cuda`, ... */
    response: { readonly versions: Readonly<Record<string, string>>; readonly backends: readonly string[] };
  };
}

/** What the worker is started with. */
export interface WorkerData {
  /** Shared: [1 while a request is being served, 1 when the process is ending and nothing more may begin]. */
  readonly gate: Int32Array;
}

/** Name of a request. */
export type WorkerOperation = keyof WorkerOperations;

/** What goes to the worker. */
export interface WorkerRequest<Op extends WorkerOperation = WorkerOperation> {
  readonly id: number;
  readonly op: Op;
  readonly body: WorkerOperations[Op]['request'];
}

/** An error on its way between threads. */
export interface WorkerFailure {
  readonly code: DimoErrorCode;
  readonly message: string;
  readonly hint?: string | undefined;
}

/** What comes back. */
export type WorkerReply =
  { readonly id: number; readonly value: unknown } | { readonly id: number; readonly failure: WorkerFailure };
