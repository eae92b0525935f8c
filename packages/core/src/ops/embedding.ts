/** Table lookup. */
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor, Tensor1D, Tensor2D } from '@tensorflow/tfjs-core';
import { runFusable, withGradient } from './dispatch.js';

/**
 * Rows of a table. Kernel `DimoEmbeddingGrad` {ids, dy}, {numRows} -> dtable for backends without segment sums.
 *
 * @param table - float32 [R, D].
 * @param ids - int32 of any shape, values in [0, R); not checked here.
 * @returns float32 [...ids, D]; differentiable in the table.
 */
export function embedding<T extends Tensor>(table: Tensor, ids: Tensor): T {
  const numRows = table.shape[0]!;
  const width = table.shape[1]!;
  const flat = tf.reshape(ids, [-1]);
  const rows = withGradient([table], ([table0]) => ({
    value: tf.gather(table0 as Tensor2D, flat as Tensor1D),
    gradient: (dy) =>
      runFusable('DimoEmbeddingGrad', { ids: flat, dy }, { numRows }, () => [
        tf.unsortedSegmentSum(dy, flat as Tensor1D, numRows),
      ]),
  }));
  return tf.reshape(rows, [...ids.shape, width]) as T;
}
