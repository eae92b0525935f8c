/** Order between computations that do not depend on each other. */
import type { Tensor } from '@tensorflow/tfjs-core';
import { runFusable } from './dispatch.js';

/**
 * `x`, but not before `earlier` is there. Kernel `DimoAfter` of engines that order a whole graph themselves; where ops run as
 * they are called, it is `x` itself.
 *
 * @param x - any tensor.
 * @param earlier - a tensor with at least one element.
 */
export function after<T extends Tensor>(x: T, earlier: Tensor): T {
  const [result] = runFusable('DimoAfter', { x, earlier }, {}, () => [x]);
  return result as T;
}
