/** Drawing tokens from logits: temperature, top-k, top-p, and only ids that the decoder knows. */
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor, Tensor2D, Tensor3D } from '@tensorflow/tfjs-core';
import { checkValues } from '../engine/check-tensors.js';
import { sampleCategorical } from '../ops/sample-categorical.js';
import type { RandomStream } from '../random/random.js';
import { resolveSampling, type SamplingOptions } from '../model/sampler-options.js';
import type { HostTensor, TensorSpec } from '../tensors/tensors.js';
import { sequenceLength, type TokenSpace } from '../model/token-space.js';

/** Large enough that exp underflows to 0, small enough for every engine's softmax. */
const excluded = -1e9;

/**
 * Logits as they are drawn from: ids that may be drawn, divided by the temperature, then filtered.
 *
 * @param logits - float32 [batch, L, V].
 * @returns float32 [batch, L, K], or [batch, L, V] with `reference`; filtered ids hold -1e9.
 */
export function samplingLogits(
  logits: Tensor3D,
  space: Pick<TokenSpace, 'codebookSize'>,
  options: SamplingOptions = {},
): Tensor3D {
  const { temperature, topK, topP, reference } = resolveSampling(options);
  const [batch, length, numLogits] = logits.shape;
  let result = logits;
  if (!reference && numLogits > space.codebookSize)
    result = tf.slice(result, [0, 0, 0], [batch, length, space.codebookSize]);
  if (temperature !== 1) result = tf.div(result, temperature);
  const width = result.shape[2];
  if (topK > 0 && topK < width) result = keepTopK(result, topK);
  if (topP > 0 && topP < 1) result = keepTopP(result, topP);
  return result;
}

/** Shape without the batch axis and dtype of the numbers that draw tokens: [L], or [L, ids] for the race. */
export function tokenDrawSpec(space: TokenSpace, options: SamplingOptions = {}): TensorSpec {
  const length = sequenceLength(space);
  const numIds = options.reference ? space.numLogits : space.codebookSize;
  return { dtype: 'float32', shape: options.method === 'exponential-race' ? [length, numIds] : [length] };
}

/** `count` numbers that draw tokens: uniform in [0, 1), or standard exponential, > 0, for the race. */
export function randomTokenDraws(random: RandomStream, count: number, options: SamplingOptions = {}): Float32Array {
  const uniforms = random.uniform(count);
  // Uniforms are multiples of 2^-24; half a cell more keeps the logarithm finite.
  return options.method === 'exponential-race' ? uniforms.map((u) => -Math.log(u + 2 ** -25)) : uniforms;
}

/** Checks numbers that draw tokens. @throws NonFiniteError or OptionError if one is not as `randomTokenDraws` says */
export function checkTokenDraws(draws: HostTensor, options: SamplingOptions = {}, where = 'sampling'): void {
  const range = options.method === 'exponential-race' ? { from: Number.MIN_VALUE } : { from: 0, below: 1 };
  checkValues(`${where}: tokenDraws`, draws, range);
}

/** Draws one id per position: int32 [batch, L]. No gradient. */
export function sampleTokens(
  logits: Tensor3D,
  draws: Tensor,
  space: Pick<TokenSpace, 'codebookSize'>,
  options: SamplingOptions = {},
): Tensor2D {
  return drawTokens(samplingLogits(logits, space, options), draws, options);
}

/** Draws one id per position from logits that `samplingLogits` has made; `draws` as `tokenDrawSpec` says. */
export function drawTokens(logits: Tensor3D, draws: Tensor, options: SamplingOptions = {}): Tensor2D {
  if (options.method !== 'exponential-race') return sampleCategorical(logits, draws as Tensor2D);
  // log p and the logits differ by a constant per position.
  return tf.cast(tf.argMax(tf.sub(logits, tf.log(draws)), 2), 'int32') as Tensor2D;
}

/** Ids whose logit is at least the k-th largest; ties with it stay. */
function keepTopK(logits: Tensor3D, k: number): Tensor3D {
  const [batch, length] = logits.shape;
  const { values } = tf.topk(logits, k, true);
  return keepFrom(logits, tf.slice(values, [0, 0, k - 1], [batch, length, 1]));
}

/** Ids up to and including the one whose cumulative probability crosses `mass`; ties with the last one stay. */
function keepTopP(logits: Tensor3D, mass: number): Tensor3D {
  const { values } = tf.topk(logits, logits.shape[2], true);
  const probabilities = tf.softmax(values, -1);
  const preceding = tf.sub(tf.cumsum(probabilities, 2), probabilities);
  const isKept = tf.lessEqual(preceding, mass);
  const smallestKept = tf.min(tf.where(isKept, values, tf.fill(values.shape, -excluded)), 2, true);
  return keepFrom(logits, smallestKept as Tensor3D);
}

function keepFrom(logits: Tensor3D, threshold: Tensor3D): Tensor3D {
  return tf.where(tf.greaterEqual(logits, threshold), logits, tf.fill(logits.shape, excluded));
}
