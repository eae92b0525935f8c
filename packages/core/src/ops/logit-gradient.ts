/**
 * Gradients of weights from a given gradient of the logits. Di[M]O prescribes what the gradient with respect to the
 * generator's logits is; the cross-entropies have one in closed form. So autodiff is used for the network alone, and
 * whatever makes the logit gradient (sampling, masking, teacher, auxiliary) runs unrecorded.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import { assert } from '../errors.js';
import { withGradient } from './dispatch.js';
import type { DType, TensorTree } from '../tensors/tensors.js';

/** What is computed from the logits. */
export interface LogitGradient {
  /** Gradient of the loss with respect to the logits, of their shape. */
  readonly gradient: Tensor;
  /** Results to hand out: losses, metrics, sampled tokens. int32 values up to 2^24 are carried exactly. */
  readonly outputs: TensorTree;
}

/** Gradients of the weights, and the outputs of the computation in between. */
export interface WeightGradients {
  /** Under the names of the weights. */
  readonly gradients: TensorTree;
  readonly outputs: TensorTree;
}

interface PackedOutput {
  readonly name: string;
  readonly shape: number[];
  readonly dtype: DType;
  readonly size: number;
}

/**
 * Runs `forward` recorded, `compute` unrecorded, and carries the logit gradient back to the weights.
 *
 * @param weights - the weights to differentiate by.
 * @param forward - logits of the network as a function of these weights.
 * @param compute - gradient and outputs from the logits; called once.
 */
export function gradientThroughLogits(
  weights: TensorTree,
  forward: (weights: TensorTree) => Tensor,
  compute: (logits: Tensor) => LogitGradient,
): WeightGradients {
  const names = Object.keys(weights);
  const packed: PackedOutput[] = [];
  // tfjs hands out one tensor and disposes what a custom gradient makes besides, so the outputs travel as one vector.
  const { value, grads } = tf.valueAndGrads((...tensors: Tensor[]) => {
    const logits = forward(Object.fromEntries(names.map((name, i) => [name, tensors[i]!])));
    return withGradient([logits], ([recorded], save) => {
      const { gradient, outputs } = compute(recorded!);
      save([gradient]);
      const parts = Object.entries(outputs).map(([name, output]) => {
        packed.push({ name, shape: output.shape, dtype: output.dtype as DType, size: output.size });
        return tf.reshape(tf.cast(output, 'float32'), [-1]);
      });
      const value = parts.length === 0 ? tf.zeros([1]) : parts.length === 1 ? parts[0]! : tf.concat(parts);
      return { value, gradient: (_upstream, saved) => [saved[0]!] };
    });
  })(names.map((name) => weights[name]!));
  assert(grads.length === names.length, () => 'gradientThroughLogits: a weight has no gradient');
  const outputs: TensorTree = {};
  let offset = 0;
  for (const { name, shape, dtype, size } of packed) {
    outputs[name] = tf.cast(tf.reshape(tf.slice(value, [offset], [size]), shape), dtype);
    offset += size;
  }
  return { gradients: Object.fromEntries(names.map((name, i) => [name, grads[i]!])), outputs };
}
