/** Rotary position embedding of queries and keys. */
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor, Tensor2D, Tensor3D } from '@tensorflow/tfjs-core';
import { runFusable, withGradient } from './dispatch.js';

/** Cosines and sines of the rotation angles. */
export interface RotaryAngles {
  /** float32 [S, headWidth / 2], for each position and pair of channels. */
  readonly cosines: Tensor2D;
  /** float32 [S, headWidth / 2]. */
  readonly sines: Tensor2D;
}

/**
 * Rotates neighbouring channels of every head by an angle that depends on the position (Su et al., arXiv 2104.09864):
 * (x0, x1) -> (x0 c - x1 s, x1 c + x0 s). The same angles for all heads.
 *
 * Kernel `DimoRotaryEmbedding`; the gradient is the rotation back.
 *
 * @param x - float32 [batch, S, width], heads one after the other.
 * @param angles - constants.
 * @param numHeads - heads; width / numHeads is twice the second axis of the angles.
 * @returns float32 [batch, S, width]; differentiable in x.
 */
export function rotaryEmbedding(x: Tensor3D, { cosines, sines }: RotaryAngles, numHeads: number): Tensor3D {
  const rotate = (tensor: Tensor, c: Tensor, s: Tensor) =>
    runFusable('DimoRotaryEmbedding', { x: tensor, cosines: c, sines: s }, { numHeads }, () => [
      rotateComposition(tensor as Tensor3D, c, s, numHeads),
    ])[0];
  return withGradient([x], ([x0], save) => {
    save([cosines, sines]);
    return {
      value: rotate(x0!, cosines, sines),
      gradient: (dy, saved) => [rotate(dy, saved[0]!, tf.neg(saved[1]!))],
    };
  }) as Tensor3D;
}

function rotateComposition(x: Tensor3D, cosines: Tensor, sines: Tensor, numHeads: number): Tensor {
  const [batch, length, width] = x.shape;
  const numPairs = width / numHeads / 2;
  const c = tf.reshape(cosines, [length, 1, numPairs]);
  const s = tf.reshape(sines, [length, 1, numPairs]);
  const pairs = tf.split(tf.reshape(x, [-1, 2]), 2, 1);
  const [x0, x1] = pairs.map((part) => tf.reshape(part, [batch, length, numHeads, numPairs])) as [Tensor, Tensor];
  const rotated = [tf.sub(tf.mul(x0, c), tf.mul(x1, s)), tf.add(tf.mul(x1, c), tf.mul(x0, s))];
  return tf.reshape(
    tf.concat(
      rotated.map((part) => tf.reshape(part, [-1, 1])),
      1,
    ),
    x.shape,
  );
}
