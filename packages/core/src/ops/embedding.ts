/** Table lookup. */
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor, Tensor1D, Tensor2D } from '@tensorflow/tfjs-core';
import { runFusable, withGradient } from './dispatch.js';

/**
 * Rows of a table. Kernel of the gradient: `DimoEmbeddingGrad`.
 *
 * @param table - float32 [R, D].
 * @param ids - int32 of any shape, values in [0, R); not checked here.
 * @returns float32 [...ids, D]; differentiable in the table.
 */
export function embedding<T extends Tensor>(table: Tensor, ids: Tensor): T {
  const numRows = table.shape[0]!;
  const width = table.shape[1]!;
  const flat = tf.reshape(ids, [-1]);
  const rows = withGradient([table], ([table0], save) => {
    // Saved, because an eager engine disposes what the forward pass made before the gradient is asked for.
    save([flat]);
    return {
      value: tf.gather(table0 as Tensor2D, flat as Tensor1D),
      gradient: (dy, [ids0]) =>
        runFusable('DimoEmbeddingGrad', { ids: ids0!, dy }, { numRows }, () => [
          tf.unsortedSegmentSum(dy, ids0 as Tensor1D, numRows),
        ]),
    };
  });
  return tf.reshape(rows, [...ids.shape, width]) as T;
}
