/**
 * A token-mixing network (Tolstikhin et al., "MLP-Mixer", 2021) as a masked diffusion model: no attention, no class
 * token, and no logit for the mask token, unlike MaskGIT.
 *
 *   h = tokenEmbedding[tokens] + positionEmbedding + chainEmbedding[chain]
 *   each block:  h += mixTokens(layerNorm(h)) over positions;  h += mixChannels(layerNorm(h)) over features
 *   logits = layerNorm(h) W^T + b                               [batch, L, K]
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
export interface MixerConfig {
  /** Features per position. @default 64 */
  readonly hidden: number;
  /** Blocks. @default 3 */
  readonly depth: number;
}

/** Condition id that means "no condition". */
export const nullChain = chainNames.length;

/** Checks a plain JSON configuration. @throws OptionError naming the key at fault. */
export function mixerConfig(config: Readonly<Record<string, unknown>>): MixerConfig {
  const known = { hidden: 64, depth: 3 };
  for (const [key, value] of Object.entries(config)) {
    if (!(key in known))
      throw new OptionError(`markov-mixer: unknown key "${key}"; known are ${Object.keys(known).join(', ')}`);
    if (!Number.isInteger(value) || (value as number) < 1 || (value as number) > 1024)
      throw new OptionError(`markov-mixer: "${key}" must be an integer in [1, 1024], got ${JSON.stringify(value)}`);
  }
  return { ...known, ...config };
}

/** Every weight with its shape. */
function parametersOf({ hidden, depth }: MixerConfig): SpecTree {
  const shapes: Record<string, number[]> = {
    token_embedding: [numSymbols + 1, hidden],
    position_embedding: [sequenceLength, hidden],
    chain_embedding: [chainNames.length + 1, hidden],
  };
  for (let block = 0; block < depth; block++) {
    const addMlp = (name: string, width: number, inner: number): void => {
      const path = `blocks.${block}.${name}`;
      Object.assign(shapes, {
        [`${path}.norm.weight`]: [hidden],
        [`${path}.norm.bias`]: [hidden],
        [`${path}.up.weight`]: [inner, width],
        [`${path}.up.bias`]: [inner],
        [`${path}.down.weight`]: [width, inner],
        [`${path}.down.bias`]: [width],
      });
    };
    addMlp('tokens', sequenceLength, 4 * sequenceLength);
    addMlp('channels', hidden, 2 * hidden);
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

function logits(config: MixerConfig, weights: TensorTree, inputs: ModelInputs): Tensor3D {
  const weight = (name: string): tf.Tensor => {
    const tensor = weights[name];
    if (!tensor) throw new OptionError(`markov-mixer: the weights lack "${name}"`);
    return tensor;
  };
  const norm = (x: Tensor3D, path: string): Tensor3D =>
    layerNorm(x, weight(`${path}.weight`), weight(`${path}.bias`), { epsilon: layerNormEpsilon });
  const mlp = (x: Tensor3D, path: string): Tensor3D =>
    linear(
      gelu(linear(x, weight(`${path}.up.weight`), weight(`${path}.up.bias`))),
      weight(`${path}.down.weight`),
      weight(`${path}.down.bias`),
    );

  let tokens = embedding<Tensor3D>(weight('token_embedding'), inputs.tokens);
  if (inputs.embeddingNoise) {
    const { noise, scale } = inputs.embeddingNoise;
    const keep = tf.sqrt(tf.sub(1, tf.mul(scale, scale)));
    tokens = tf.add(tf.mul(noise, scale), tf.mul(tokens, keep));
  }
  const chain = embedding<tf.Tensor2D>(weight('chain_embedding'), inputs.condition['chain'] as Tensor1D);
  let h: Tensor3D = tf.add(tf.add(tokens, tf.expandDims(weight('position_embedding'), 0)), tf.expandDims(chain, 1)); // [batch, L, hidden]
  for (let block = 0; block < config.depth; block++) {
    const overPositions = tf.transpose(norm(h, `blocks.${block}.tokens.norm`), [0, 2, 1]); // [batch, hidden, L]
    h = tf.add(h, tf.transpose(mlp(overPositions, `blocks.${block}.tokens`), [0, 2, 1]));
    h = tf.add(h, mlp(norm(h, `blocks.${block}.channels.norm`), `blocks.${block}.channels`));
  }
  return linear(norm(h, 'norm'), weight('output.weight'), weight('output.bias'));
}

/** The masked diffusion model of a configuration. */
export function mixerModel(config: MixerConfig): MaskedDiffusionModel {
  const parameters = parametersOf(config);
  return {
    name: `markov-mixer-h${config.hidden}-d${config.depth}`,
    tokenSpace: {
      codebookSize: numSymbols,
      numLogits: numSymbols,
      maskTokenId: numSymbols,
      grid: [1, sequenceLength],
    },
    condition: { chain: { dtype: 'int32', shape: [] } },
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
    logits: (weights, inputs) => logits(config, weights, inputs),
  };
}
