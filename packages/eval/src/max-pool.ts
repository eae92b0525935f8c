/** Pooling with a gradient that every backend has. */
import { withGradient } from '@dimo/core';
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor4D } from '@tensorflow/tfjs-core';

/**
 * Maximum over 2 x 2 windows; an odd last row or column is left out. Where several elements of a window are the
 * maximum, they share the gradient.
 *
 * @param x - float32 [B, H, W, C]. Borrowed.
 * @returns float32 [B, floor(H / 2), floor(W / 2), C].
 */
export function maxPool2x2(x: Tensor4D): Tensor4D {
  const [batch, height, width, channels] = x.shape;
  const [rows, columns] = [Math.floor(height / 2), Math.floor(width / 2)];
  const isEven = height % 2 === 0 && width % 2 === 0;
  const even = isEven ? x : tf.slice(x, [0, 0, 0, 0], [batch, 2 * rows, 2 * columns, channels]);
  // Batch and rows share an axis, so that no intermediate has more than five.
  const windows = tf.reshape(even, [batch * rows, 2, columns, 2, channels]);
  const pooled = withGradient([windows], ([input], save) => {
    const value = tf.max(input!, [1, 3], true);
    save([input!, value]);
    return {
      value,
      gradient: (upstream, [savedInput, savedValue]) => {
        const isMaximum = tf.cast(tf.equal(savedInput!, savedValue!), 'float32');
        const shares = tf.div(upstream, tf.sum(isMaximum, [1, 3], true));
        return [tf.mul(isMaximum, shares)];
      },
    };
  });
  return tf.reshape(pooled, [batch, rows, columns, channels]);
}
