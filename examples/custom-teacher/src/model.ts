/**
 * A dilated convolutional residual network over a sequence (as ByteNet, Kalchbrenner et al., arXiv 1610.10099, but
 * looking both ways) as a masked diffusion model: no attention, no class token, and no logit for the mask token, unlike
 * MaskGIT.
 *
 *   h = tokenEmbedding[tokens] + positionEmbedding + chainEmbedding[chain]                     [batch, L, hidden]
 *   each block:  h += down(gelu(up(neighbours(layerNorm(h)))))   neighbours at -d, 0 and d; d = 1, 2, 4, 1, 2, 4, ...
 *   logits = layerNorm(h) W^T + b                                                              [batch, L, K]
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor1D, Tensor3D } from '@tensorflow/tfjs-core';
import {
  embedding,
  float32,
  gelu,
  layerNorm,
  linear,
  OptionError,
  sizeOf,
  type HostTree,
  type MaskedDiffusionModel,
  type ModelInputs,
  type SpecTree,
  type TensorTree,
} from '@dimo/core';
import { chainNames, numSymbols, sequenceLength } from './chain.js';

/** Size of the network. */
export interface ConvolutionConfig {
  /** Features per position. @default 48 */
  readonly hidden: number;
  /** Blocks; six see the whole sequence. @default 6 */
  readonly depth: number;
}

/** Condition id that means "no condition". */
export const nullChain = chainNames.length;

/** Checks a plain JSON configuration. @throws OptionError naming the key at fault. */
export function convolutionConfig(config: Readonly<Record<string, unknown>>): ConvolutionConfig {
  const known = { hidden: 48, depth: 6 };
  for (const [key, value] of Object.entries(config)) {
    if (!(key in known))
      throw new OptionError(`markov-convolution: unknown key "${key}"; known are ${Object.keys(known).join(', ')}`);
    if (!Number.isInteger(value) || (value as number) < 1 || (value as number) > 1024)
      throw new OptionError(
        `markov-convolution: "${key}" must be an integer in [1, 1024], got ${JSON.stringify(value)}`,
      );
  }
  return { ...known, ...config };
}

/** Every weight with its shape. */
function parametersOf({ hidden, depth }: ConvolutionConfig): SpecTree {
  const shapes: Record<string, number[]> = {
    token_embedding: [numSymbols + 1, hidden],
    position_embedding: [sequenceLength, hidden],
    chain_embedding: [chainNames.length + 1, hidden],
  };
  for (let block = 0; block < depth; block++) {
    const path = `blocks.${block}`;
    Object.assign(shapes, {
      [`${path}.norm.weight`]: [hidden],
      [`${path}.norm.bias`]: [hidden],
      [`${path}.up.weight`]: [hidden, 3 * hidden],
      [`${path}.up.bias`]: [hidden],
      [`${path}.down.weight`]: [hidden, hidden],
      [`${path}.down.bias`]: [hidden],
    });
  }
  Object.assign(shapes, {
    'norm.weight': [hidden],
    'norm.bias': [hidden],
    'output.weight': [numSymbols, hidden],
    'output.bias': [numSymbols],
  });
  return Object.fromEntries(
    Object.entries(shapes).map(([name, shape]) => [name, { dtype: 'float32' as const, shape }]),
  );
}

const layerNormEpsilon = 1e-5;

const dilations = [1, 2, 4];

/** Features at positions i - d, i and i + d side by side, zeros beyond the ends: [batch, L, 3 hidden]. */
function neighbours(x: Tensor3D, distance: number): Tensor3D {
  const [batch, length, width] = x.shape;
  const padded = tf.pad(x, [
    [0, 0],
    [distance, distance],
    [0, 0],
  ]);
  const from = (start: number): Tensor3D => tf.slice(padded, [0, start, 0], [batch, length, width]);
  return tf.concat([from(0), x, from(2 * distance)], 2);
}

function logits(config: ConvolutionConfig, weights: TensorTree, inputs: ModelInputs): Tensor3D {
  const weight = (name: string): tf.Tensor => {
    const tensor = weights[name];
    if (!tensor) throw new OptionError(`markov-convolution: the weights lack "${name}"`);
    return tensor;
  };
  const norm = (x: Tensor3D, path: string): Tensor3D =>
    layerNorm(x, weight(`${path}.weight`), weight(`${path}.bias`), { epsilon: layerNormEpsilon });

  const chain = embedding<tf.Tensor2D>(weight('chain_embedding'), inputs.condition['chain'] as Tensor1D);
  const placed = tf.add(inputs.embeddings, tf.expandDims(weight('position_embedding'), 0));
  let h: Tensor3D = tf.add(placed, tf.expandDims(chain, 1)); // [batch, L, hidden]
  for (let block = 0; block < config.depth; block++) {
    const path = `blocks.${block}`;
    const seen = neighbours(norm(h, `${path}.norm`), dilations[block % dilations.length]!);
    const inner = gelu(linear(seen, weight(`${path}.up.weight`), weight(`${path}.up.bias`)));
    h = tf.add(h, linear(inner, weight(`${path}.down.weight`), weight(`${path}.down.bias`)));
  }
  return linear(norm(h, 'norm'), weight('output.weight'), weight('output.bias'));
}

/** The masked diffusion model of a configuration. */
export function convolutionModel(config: ConvolutionConfig): MaskedDiffusionModel {
  const parameters = parametersOf(config);
  return {
    name: `markov-convolution-h${config.hidden}-d${config.depth}`,
    tokenSpace: {
      codebookSize: numSymbols,
      numLogits: numSymbols,
      maskTokenId: numSymbols,
      grid: [1, sequenceLength],
    },
    condition: { chain: { dtype: 'int32', shape: [], below: nullChain + 1 } },
    embeddingWidth: config.hidden,
    parameters,
    embeddingParameters: ['token_embedding', 'position_embedding'],
    initialize: (random): HostTree =>
      Object.fromEntries(
        Object.entries(parameters).map(([name, { shape }]) => {
          const stream = random.fork(name);
          const size = sizeOf(shape);
          if (name.endsWith('norm.weight')) return [name, float32(shape, new Float32Array(size).fill(1))];
          if (name.endsWith('bias')) return [name, float32(shape)];
          // Matrices keep the variance of their input; embeddings are small, so that the noise scale means something.
          const deviation = name.endsWith('_embedding') ? 0.5 : 1 / Math.sqrt(shape[1]!);
          return [
            name,
            float32(
              shape,
              stream.normal(size).map((value) => value * deviation),
            ),
          ];
        }),
      ),
    embed: (weights, tokens) => embedding(weights['token_embedding']!, tokens),
    logits: (weights, inputs) => logits(config, weights, inputs),
  };
}
