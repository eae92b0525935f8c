/** Order between computations that do not depend on each other. */
import type { Tensor } from '@tensorflow/tfjs-core';
import { runFusable } from './dispatch.js';

/**
 * `x`, but not before all of `earlier` are there. Kernel `DimoAfter` of engines that order a whole graph themselves; where
 * ops run as they are called, it is `x` itself.
 *
 * @param x - any tensor.
 * @param earlier - float32 tensors with at least one element each.
 */
export function after<T extends Tensor>(x: T, earlier: readonly Tensor[]): T {
  if (earlier.length === 0) return x;
  const numbered = Object.fromEntries(earlier.map((tensor, i) => [String(i), tensor]));
  const [result] = runFusable('DimoAfter', { x, ...numbered }, {}, () => [x]);
  return result as T;
}
