// @ts-check
/** Memory of a session host: which tensors share theirs, and what is given back before the garbage collector would. */

/** @import { HostTensor } from '@dimo/core' */
/** @import { WireTree } from './protocol.js' */
/** @import { RuntimeTensor as Tensor } from './session-host.mjs' */

/** Bytes of a buffer that is given back as soon as it is released. */
const worthFreeing = 2 ** 20;

/** The elements of a tensor on the host. @param {Tensor} tensor */
export const dataOf = (tensor) => /** @type {HostTensor['data']} */ (tensor.data);

/** Buffers that several tensors of a tree share. @param {WireTree} tensors */
export function sharedBuffers(tensors) {
  const seen = new Set();
  const shared = new Set();
  for (const wired of Object.values(tensors)) {
    const { buffer } = 'bits' in wired ? wired.bits : wired.data;
    (seen.has(buffer) ? shared : seen).add(buffer);
  }
  return shared;
}

/**
 * Gives the memory of released tensors back now. The garbage collector would do so some day: it does not see that the next
 * function to be run needs gigabytes outside of its heap. A message to a port that is closed is dropped with all it holds.
 * @param {readonly HostTensor['data'][]} arrays
 */
export function freeMemory(arrays) {
  const buffers = new Set(arrays.map(({ buffer }) => buffer));
  const large = [...buffers].filter((buffer) => buffer instanceof ArrayBuffer && buffer.byteLength >= worthFreeing);
  if (large.length === 0) return;
  const { port1, port2 } = new MessageChannel();
  port2.close();
  port1.postMessage(null, /** @type {ArrayBuffer[]} */ (large));
  port1.close();
}

/**
 * onnxruntime-node (1.30) returns a copy of every output, also of those that it has written where it was told to. The C API
 * returns the tensors themselves, which may be on a device.
 * @param {Record<string, Tensor>} results @param {Record<string, Tensor>} fetches
 */
export function freeCopies(results, fetches) {
  const given = new Set(Object.values(fetches));
  const others = Object.values(results).filter((value) => !given.has(value));
  if (others.length === 0) return;
  const written = new Set([...given].map((value) => dataOf(value).buffer));
  freeMemory(others.flatMap((value) => (written.has(dataOf(value).buffer) ? [] : [dataOf(value)])));
}
