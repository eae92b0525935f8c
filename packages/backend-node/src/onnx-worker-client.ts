/** The engine's side of the worker thread: requests as promises, failures as typed errors. */
import { BackendUnavailableError, DimoError } from '@dimo/core';
import { Worker } from 'node:worker_threads';
import type { WorkerFailure, WorkerOperation, WorkerOperations, WorkerReply } from './onnx-protocol.js';

/** A running worker. */
export interface OnnxWorker {
  call<Op extends WorkerOperation>(
    op: Op,
    body: WorkerOperations[Op]['request'],
    transfer?: readonly ArrayBuffer[],
  ): Promise<WorkerOperations[Op]['response']>;
  /** Releases what the worker holds and waits until the thread has ended. Requests not yet answered are served first. */
  close(): Promise<void>;
}

interface Pending {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

/** Milliseconds to wait for a running native call when the process exits; a step takes far less. */
const exitPatience = 60_000;
const gates = new Set<Int32Array>();

/**
 * A thread that is stopped inside a native call makes onnxruntime abort the whole process, with a core dump instead of
 * the exit code. So `process.exit` waits for the call in progress, and no further one begins.
 */
function waitForWorkers(): void {
  for (const gate of gates) {
    Atomics.store(gate, 1, 1);
    Atomics.wait(gate, 0, 1, exitPatience);
  }
}

/** Starts the thread of an engine of this name. It does not keep the process alive while no request is open. */
export function startOnnxWorker(engineName = 'onnx'): OnnxWorker {
  // From the sources (tests) the file is as written; in the published package it is a built entry of its own.
  const isSource = import.meta.url.endsWith('.ts');
  const file = new URL(isSource ? './onnx-worker.mjs' : './onnx-worker.js', import.meta.url);
  // No inherited flags: options for the main thread (loaders, inspectors) do not concern this one.
  const execArgv = isSource ? ['--conditions=@dimo/source'] : [];
  const gate = new Int32Array(new SharedArrayBuffer(8));
  const worker = new Worker(file, { name: 'dimo-onnx', execArgv, workerData: { gate } });
  if (gates.size === 0) process.on('exit', waitForWorkers);
  gates.add(gate);
  worker.unref();
  const pending = new Map<number, Pending>();
  let nextId = 0;
  let ended: DimoError | undefined;

  const settle = (id: number): Pending | undefined => {
    const entry = pending.get(id);
    pending.delete(id);
    if (pending.size === 0) worker.unref();
    return entry;
  };
  const endWith = (error: DimoError) => {
    ended ??= error;
    for (const id of [...pending.keys()]) settle(id)?.reject(ended);
  };
  worker.on('message', (reply: WorkerReply) => {
    const entry = settle(reply.id);
    if ('failure' in reply) entry?.reject(errorOf(reply.failure));
    else entry?.resolve(reply.value);
  });
  worker.on('error', (cause) =>
    endWith(new DimoError('device', `${engineName} engine: the worker thread failed: ${cause.message}`, { cause })),
  );
  const exit = new Promise<void>((resolve) => {
    worker.on('exit', () => {
      gates.delete(gate);
      if (gates.size === 0) process.off('exit', waitForWorkers);
      endWith(
        new DimoError('device', `${engineName} engine: the worker thread has ended`, { hint: 'make a new engine' }),
      );
      resolve();
    });
  });

  const call: OnnxWorker['call'] = (op, body, transfer = []) => {
    if (ended) return Promise.reject(ended);
    const id = nextId++;
    worker.ref();
    return new Promise((resolve, reject) => {
      pending.set(id, { resolve: resolve as (value: unknown) => void, reject });
      worker.postMessage({ id, op, body }, transfer);
    });
  };

  return {
    call,
    async close() {
      if (!ended) await call('close', {});
      // The answer released the thread; keep the process alive until the thread has ended.
      if (!ended) worker.ref();
      await exit;
    },
  };
}

function errorOf({ code, message, hint }: WorkerFailure): DimoError {
  const options = hint === undefined ? {} : { hint };
  return code === 'backend-unavailable'
    ? new BackendUnavailableError(message, options)
    : new DimoError(code, message, options);
}
