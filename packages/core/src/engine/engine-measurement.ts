/** How fast an engine is: one real step, forward and backward, of a small fixed transformer. */
import * as tf from '@tensorflow/tfjs-core';
import type { Engine, PureFunction } from './engine.js';
import { DimoError } from '../errors.js';
import { gradientThroughLogits } from '../ops/logit-gradient.js';
import { attention } from '../ops/attention.js';
import { embedding } from '../ops/embedding.js';
import { gelu } from '../ops/gelu.js';
import { layerNorm } from '../ops/layer-norm.js';
import { linear } from '../ops/linear.js';
import { maskedCrossEntropy } from '../ops/masked-cross-entropy.js';
import { float32, int32, specsOf, type HostTree, type TensorTree } from '../tensors/tensors.js';

/** Sizes: 1.4 GFLOP a step, enough to keep a GPU busy and a CPU waiting for less than a second. */
const sizes = { width: 128, depth: 2, numHeads: 4, length: 64, numTokens: 256, batch: 8 } as const;

/** Tokens to logits [batch, length, numTokens]. */
function logitsOf(weights: TensorTree, tokens: tf.Tensor): tf.Tensor3D {
  const { depth, numHeads } = sizes;
  let x = embedding<tf.Tensor3D>(weights['table']!, tokens);
  for (let block = 0; block < depth; block++) {
    const weight = (name: string) => weights[`${block}.${name}`]!;
    const normal = layerNorm(x, weight('scale'), weight('offset'), { epsilon: 1e-6 });
    const [q, k, v] = tf.split(linear(normal, weight('qkv')), 3, 2) as [tf.Tensor3D, tf.Tensor3D, tf.Tensor3D];
    x = tf.add(x, linear(attention(q, k, v, { numHeads }), weight('out')));
    x = tf.add(x, linear(gelu(linear(x, weight('up'))), weight('down')));
  }
  return linear(x, weights['table']!);
}

/** Small, since the gradient is a sum over 512 tokens: with 1e-3 the weights were infinite within 0.3 seconds. */
const learningRate = 1e-6;

/** Cross-entropy, its gradient, and a plain descent step. */
const measurementStep: PureFunction = (state, inputs) => {
  const { gradients, outputs } = gradientThroughLogits(
    state,
    (weights) => logitsOf(weights, inputs['tokens']!),
    (logits) => {
      const targets = inputs['targets'] as tf.Tensor2D;
      const weights = tf.onesLike(tf.cast(targets, 'float32'));
      const { loss, gradient } = maskedCrossEntropy({ logits: logits as tf.Tensor3D, targets, weights }, 0);
      return { gradient, outputs: { loss: tf.sum(loss) } };
    },
  );
  const moved = Object.entries(gradients).map(([name, gradient]) => [
    name,
    tf.sub(state[name]!, tf.mul(gradient, learningRate)),
  ]);
  return { state: Object.fromEntries(moved) as TensorTree, outputs };
};

/** Weights and inputs, the same everywhere. */
function measurementArguments(): { readonly state: HostTree; readonly inputs: HostTree } {
  const { width, depth, length, numTokens, batch } = sizes;
  // A rough sequence is random enough: nothing is learned here.
  const values = (shape: readonly number[], factor: number) => {
    const tensor = float32(shape);
    for (let i = 0; i < tensor.data.length; i++) tensor.data[i] = factor * Math.sin(12.9898 * i + shape.length);
    return tensor;
  };
  const state: HostTree = { table: values([numTokens, width], 0.3) };
  for (let block = 0; block < depth; block++) {
    state[`${block}.scale`] = float32([width], new Float32Array(width).fill(1));
    state[`${block}.offset`] = float32([width]);
    state[`${block}.qkv`] = values([3 * width, width], 0.1);
    state[`${block}.out`] = values([width, width], 0.1);
    state[`${block}.up`] = values([4 * width, width], 0.1);
    state[`${block}.down`] = values([width, 4 * width], 0.05);
  }
  const ids = (step: number) =>
    int32(
      [batch, length],
      Int32Array.from({ length: batch * length }, (_, i) => (i * step + (i >> 3)) % numTokens),
    );
  return { state, inputs: { tokens: ids(7), targets: ids(11) } };
}

/** Options of `measureEngine`. */
export interface MeasureEngineOptions {
  /** How long to repeat the step, about, after the first two, in which programs are compiled. @default 0.3 */
  readonly seconds?: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Runs the step on an engine and releases what it took.
 *
 * @returns milliseconds of the fastest step, input and loss included.
 * @throws DimoError with code `cancelled` if `signal` says so, `non-finite` if the engine computes nonsense, and whatever
 *   the engine throws.
 */
export async function measureEngine(engine: Engine, options: MeasureEngineOptions = {}): Promise<number> {
  const { seconds = 0.3, signal } = options;
  const { state, inputs } = measurementArguments();
  const tree = await engine.upload(state);
  try {
    const step = await engine.compile(measurementStep, { state: specsOf(state), inputs: specsOf(inputs) });
    try {
      const run = async (): Promise<number> => {
        if (signal?.aborted) throw new DimoError('cancelled', 'measuring engines was stopped on request');
        const start = performance.now();
        const { loss } = await step.run(tree, inputs);
        const milliseconds = performance.now() - start;
        if (!Number.isFinite(loss!.data[0]))
          throw new DimoError(
            'non-finite',
            `${engine.info.name} engine: a step of finite numbers gives ${loss!.data[0]}`,
          );
        return milliseconds;
      };
      await run(); // compiles
      let fastest = await run();
      const deadline = performance.now() + 1000 * seconds;
      while (performance.now() + fastest < deadline) fastest = Math.min(fastest, await run());
      return fastest;
    } finally {
      await step.dispose();
    }
  } finally {
    await tree.dispose();
  }
}
