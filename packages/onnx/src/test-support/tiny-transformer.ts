/** A two-block transformer over tokens and its training step, made of core's ops: what the tracer is for. */
import {
  applyOptimizer,
  attention,
  embedding,
  float32,
  gelu,
  gradientThroughLogits,
  initialMoments,
  int32,
  layerNorm,
  linear,
  maskedCrossEntropy,
  optimizerScalars,
  resolveOptimizer,
  specsOf,
  subtree,
  withPrefix,
  type HostTree,
  type PureFunction,
  type TensorTree,
} from '@dimo/core';
import * as tf from '@tensorflow/tfjs-core';
import { numbers, wholeNumbers } from './oracle.js';

const width = 8;
const numTokens = 11;
const length = 6;
const numBlocks = 2;

/** First weights, the same in every run. */
export function tinyWeights(): HostTree {
  let seed = 10;
  const weights: HostTree = { table: numbers([numTokens, width], 9), positions: numbers([1, length, width], 8, 0.1) };
  const dense = (name: string, out: number, inner: number) => {
    weights[`${name}.weight`] = numbers([out, inner], seed++, 1 / Math.sqrt(inner));
    weights[`${name}.bias`] = numbers([out], seed++, 0.1);
  };
  for (let block = 0; block < numBlocks; block++) {
    weights[`${block}.scale`] = float32([width], new Float32Array(width).fill(1));
    weights[`${block}.offset`] = numbers([width], seed++, 0.1);
    dense(`${block}.qkv`, 3 * width, width);
    dense(`${block}.up`, 4 * width, width);
    dense(`${block}.down`, width, 4 * width);
  }
  return weights;
}

/** Logits [batch, length, numTokens]. */
export function tinyLogits(weights: TensorTree, tokens: tf.Tensor): tf.Tensor3D {
  let x = tf.add(embedding(weights['table']!, tokens), weights['positions']!) as tf.Tensor3D;
  const dense = (name: string, input: tf.Tensor3D) =>
    linear(input, weights[`${name}.weight`]!, weights[`${name}.bias`]!);
  for (let block = 0; block < numBlocks; block++) {
    const normal = layerNorm(x, weights[`${block}.scale`]!, weights[`${block}.offset`]!, { epsilon: 1e-12 });
    const [q, k, v] = tf.split(dense(`${block}.qkv`, normal), 3, 2) as [tf.Tensor3D, tf.Tensor3D, tf.Tensor3D];
    x = tf.add(x, attention(q, k, v, { numHeads: 2 }));
    x = tf.add(x, dense(`${block}.down`, gelu(dense(`${block}.up`, x))));
  }
  return linear(x, weights['table']!) as tf.Tensor3D;
}

// The gradient of the keys' bias is 0 but for rounding; a large epsilon keeps Adam from magnifying that to full steps.
const optimizer = resolveOptimizer({ kind: 'adamw', weightDecay: 0.01, clipNorm: 0.5, epsilon: 1e-3 });

/** Cross-entropy, backward pass, clipping and AdamW. */
export const tinyStep: PureFunction = (state, inputs) => {
  const { gradients, outputs } = gradientThroughLogits(
    subtree('weights', state),
    (weights) => tinyLogits(weights, inputs['tokens']!),
    (logits) => {
      const { loss, gradient } = maskedCrossEntropy(
        {
          logits: logits as tf.Tensor3D,
          targets: inputs['targets'] as tf.Tensor2D,
          weights: inputs['positionWeights'] as tf.Tensor2D,
        },
        0.1,
      );
      return { gradient, outputs: { loss: tf.sum(loss), predicted: tf.argMax(logits, 2) } };
    },
  );
  const update = applyOptimizer(
    {
      parameters: subtree('weights', state),
      gradients,
      moments: subtree('moments', state),
      scalars: subtree('optimizer', inputs),
      loss: outputs['loss']!,
    },
    optimizer,
    'skip',
  );
  return {
    state: { ...withPrefix('weights', update.parameters), ...withPrefix('moments', update.moments) },
    outputs: { ...outputs, gradientNorm: update.gradientNorm },
  };
};

/** State and inputs of the first step. */
export function tinyArguments(batch = 3): { state: HostTree; inputs: HostTree } {
  const weights = tinyWeights();
  return {
    state: { ...withPrefix('weights', weights), ...withPrefix('moments', initialMoments(specsOf(weights))) },
    inputs: {
      tokens: wholeNumbers([batch, length], numTokens, 1),
      targets: wholeNumbers([batch, length], numTokens, 2),
      positionWeights: float32(
        [batch, length],
        numbers([batch, length], 3).data.map((value) => Math.abs(value)),
      ),
      ...withPrefix('optimizer', optimizerScalars(optimizer, 1e-2, 0)),
      unused: int32([2], [1, 2]),
    },
  };
}
