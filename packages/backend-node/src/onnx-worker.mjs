// @ts-check
/**
 * The worker thread of the engines on onnxruntime. `session.run` is a synchronous native call; here it blocks nobody.
 * Requests are served one after another.
 */
import { createSessionHost, failureOf, transferable } from '@dimo/onnx/session-host';
import { createRequire } from 'node:module';
import { parentPort, workerData } from 'node:worker_threads';

/** @import { SessionHost } from '@dimo/onnx/session-host' */
/** @import { WorkerFailure, WorkerOperation, WorkerOperations, WorkerRequest } from './onnx-protocol.js' */

const port = /** @type {import('node:worker_threads').MessagePort} */ (parentPort);
/** `gate` of onnx-protocol.ts. */
const gate = /** @type {Int32Array} */ (workerData.gate);
const [busy, stopping] = [0, 1];
/** @type {SessionHost | undefined} */
let host;

/** @param {WorkerOperations['load']['request']} request @returns {WorkerOperations['load']['response']} */
function load({ inPlace }) {
  // require: a missing package and a broken native library both fail here, with their own message.
  /** @type {typeof import('onnxruntime-node')} */
  const ort = createRequire(import.meta.url)('onnxruntime-node');
  ort.env.logLevel = 'error';
  host = createSessionHost(/** @type {any} */ (ort), { inPlace });
  return {
    versions: { 'onnxruntime-node': ort.env.versions.node ?? ort.env.versions.common },
    backends: ort.listSupportedBackends().flatMap(({ name, bundled }) => (bundled ? [name] : [])),
  };
}

/** @param {WorkerOperation} op @param {any} body @returns {unknown} */
function answer(op, body) {
  if (op === 'load') return load(body);
  if (!host) return op === 'close' ? undefined : Promise.reject(new Error('onnxruntime is not loaded'));
  return host[op](body);
}

/** @param {WorkerOperation} op @param {unknown} error @returns {WorkerFailure} */
function failure(op, error) {
  if (op !== 'load') return failureOf(op, error);
  return { code: 'backend-unavailable', message: error instanceof Error ? error.message : String(error) };
}

/** @param {WorkerRequest} request */
async function serve({ id, op, body }) {
  Atomics.store(gate, busy, 1);
  try {
    if (Atomics.load(gate, stopping)) return; // the process is ending: begin nothing native
    const value = await answer(op, body);
    port.postMessage({ id, value }, transferable(value));
  } catch (error) {
    port.postMessage({ id, failure: failure(op, error) });
  } finally {
    Atomics.store(gate, busy, 0);
    Atomics.notify(gate, busy);
  }
  if (op === 'close') port.close();
}

let queue = Promise.resolve();
port.on('message', (/** @type {WorkerRequest} */ request) => {
  queue = queue.then(() => serve(request));
});
