/** Looking into tfjs' WebGPU backend: launches, buffers, and the time that something takes. */
import * as tf from '@tensorflow/tfjs-core';
import { cpuSeconds } from './statistics.mjs';

/** Seconds on the clock; for an adapter that is emulated, of CPU time of all threads, which other programs do not change. */
export const clocks = { wall: () => performance.now() / 1000, cpu: cpuSeconds };

/** Counts launches and watches the buffers of the backend. Needs the backend to be initialized. */
export function watchBackend() {
  const backend = tf.findBackend('webgpu');
  const { bufferManager } = backend;
  const counters = { launches: 0, peakBytes: 0 };
  const record = backend.recordAndSubmit;
  backend.recordAndSubmit = function (...args) {
    counters.launches++;
    return record.apply(this, args);
  };
  const acquire = bufferManager.acquireBuffer;
  bufferManager.acquireBuffer = function (...args) {
    const buffer = acquire.apply(this, args);
    // What is held, the pool of buffers to be used again included: the device has no less to give.
    counters.peakBytes = Math.max(counters.peakBytes, this.numBytesAllocated);
    return buffer;
  };
  return {
    backend,
    counters,
    /** Forgets the counts, and gives the pool of free buffers back to the device. */
    reset() {
      for (const buffers of bufferManager.freeBuffers.values())
        for (const buffer of buffers.splice(0)) {
          bufferManager.numFreeBuffers--;
          bufferManager.numBytesAllocated -= buffer.size;
          buffer.destroy();
        }
      counters.launches = 0;
      counters.peakBytes = bufferManager.numBytesAllocated;
    },
  };
}

/** Seconds of `clock` of one call, the least of some; the result is waited for, not read. */
export async function secondsOf(backend, clock, compute, rounds) {
  let best = Infinity;
  for (let round = -1; round < rounds; round++) {
    const start = clock();
    const results = tf.tidy(compute);
    backend.endComputePassEncoder();
    if (backend.commandEncoder) backend.submitQueue();
    await backend.device.queue.onSubmittedWorkDone();
    const seconds = clock() - start;
    tf.dispose(results);
    if (round >= 0) best = Math.min(best, seconds); // the first one compiles
  }
  return best;
}
