/**
 * A masked diffusion model that is simple enough to be written a second time in plain numbers: its logits are a sum of
 * table rows. Codes, logits, mask token and width all differ, and it is told its mask ratio and the steps that are left.
 */
import * as tf from '@tensorflow/tfjs-core';
import { contractVersion, type MaskedDiffusionModel, type TeacherDefinition } from '../model/model.js';
import { embedding } from '../ops/embedding.js';
import { float32, int32, sizeOf, type HostTree } from '../tensors/tensors.js';

const numLogits = 8;
const numClasses = 3;
const spec = (...shape: number[]) => ({ dtype: 'float32', shape }) as const;
const parameters = {
  tokens: spec(12, numLogits),
  labels: spec(numClasses + 1, numLogits),
  ratio: spec(numLogits),
  stepsLeft: spec(numLogits),
  scale: spec(numLogits),
};

/**
 * logits_i = scale (h_i + mean h / 2 + labels[label] + maskRatio ratio + stepsLeft stepsLeft), h_i = tokens[token_i],
 * or sqrt(1 - s^2) tokens[token_i] + s noise_i; stepsLeft is -1 where nothing is known of steps.
 */
export const linearModel: MaskedDiffusionModel = {
  name: 'linear',
  tokenSpace: { codebookSize: 6, numLogits, maskTokenId: 11, grid: [2, 3] },
  condition: { label: { dtype: 'int32', shape: [] } },
  embeddingWidth: numLogits,
  parameters,
  embeddingParameters: ['tokens'],
  initialize: (random) =>
    Object.fromEntries(
      Object.entries(parameters).map(([name, { shape }]) => [
        name,
        float32(
          shape,
          random
            .fork(name)
            .normal(sizeOf(shape))
            .map((value) => (name === 'scale' ? 1 + value / 4 : name === 'stepsLeft' ? value / 4 : value)),
        ),
      ]),
    ),
  time: {
    specs: { ratio: spec(), stepsLeft: spec() },
    compute: ({ maskRatio, stepsLeft = -1 }) => ({
      ratio: maskRatio,
      stepsLeft: float32(maskRatio.shape, new Float32Array(maskRatio.data.length).fill(stepsLeft)),
    }),
  },
  dropoutSites: { hidden: spec(6, numLogits) },
  embed: (weights, tokens) => embedding(weights['tokens']!, tokens),
  logits(weights, { embeddings, condition, time = {}, dropout }) {
    let hidden = embeddings;
    if (dropout) {
      const isKept = tf.cast(tf.greaterEqual(dropout.uniforms['hidden']!, dropout.rate), 'float32');
      hidden = tf.div(tf.mul(hidden, isKept), 1 - dropout.rate);
    }
    const row = tf.add(
      embedding(weights['labels']!, condition['label']!),
      tf.add(
        tf.mul(tf.expandDims(time['ratio']!, 1), weights['ratio']!),
        tf.mul(tf.expandDims(time['stepsLeft']!, 1), weights['stepsLeft']!),
      ),
    );
    const sum = tf.add(tf.add(hidden, tf.mul(tf.mean(hidden, 1, true), 0.5)), tf.expandDims(row, 1));
    return tf.mul(sum, weights['scale']!);
  },
};

/** The linear model as a teacher; class 3 is "no condition". */
export const linearTeacher: TeacherDefinition = {
  contract: contractVersion,
  name: 'linear',
  model: linearModel,
  nullCondition: { label: int32([], [numClasses]) },
  conditions: {
    sample: (random, count) => ({ label: int32([count], random.integers(count, numClasses)) }),
    parse: (texts) => ({ label: int32([texts.length], texts.map(Number)) }),
  },
  config: {},
};

/** One sequence as the model sees it. */
export interface LinearInputs {
  readonly tokens: readonly number[];
  readonly label: number;
  readonly maskRatio: number;
  readonly stepsLeft?: number;
  /** Multiplied by its scale s and mixed in; [L * width]. */
  readonly noise?: { readonly values: ArrayLike<number>; readonly scale: number };
}

/** The logits of one sequence in float64, one row per position. */
export function linearLogits(weights: HostTree, inputs: LinearInputs): number[][] {
  const { tokens, label, maskRatio, stepsLeft = -1, noise } = inputs;
  const at = (name: string, row: number, v: number) => weights[name]!.data[row * numLogits + v]!;
  const hidden = tokens.map((token, i) =>
    Array.from({ length: numLogits }, (_, v) => {
      const embedded = at('tokens', token, v);
      if (!noise) return embedded;
      return Math.sqrt(1 - noise.scale ** 2) * embedded + noise.scale * noise.values[i * numLogits + v]!;
    }),
  );
  return hidden.map((h) =>
    h.map((value, v) => {
      const mean = hidden.reduce((sum, other) => sum + other[v]!, 0) / tokens.length;
      const time = maskRatio * at('ratio', 0, v) + stepsLeft * at('stepsLeft', 0, v);
      return at('scale', 0, v) * (value + mean / 2 + at('labels', label, v) + time);
    }),
  );
}
