/** Classifier-free guidance: unconditional + scale (conditional - unconditional); scale 1 is the conditional model. */
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor1D, Tensor3D } from '@tensorflow/tfjs-core';
import { forwardPass, type EmbeddingNoise, type PassInputs } from './forward-pass.js';
import type { Condition, MaskedDiffusionModel } from './model.js';
import { float32, type HostTensor, type HostTree, type SpecTree, type TensorTree } from '../tensors/tensors.js';

/**
 * Scale of the guidance: a constant (1 = off), or `ratio-adaptive`: 1 + (scale - 1) * maskRatio per sample, weaker
 * where less is masked.
 */
export type Guidance = number | { readonly kind: 'ratio-adaptive'; readonly scale: number };

/** True unless the scale is the constant 1, for which the conditional pass alone is run. */
export function isGuided(guidance: Guidance): boolean {
  return guidance !== 1;
}

/**
 * Guidance scale of each sample, float32 [batch].
 *
 * @param maskRatio - float32 [batch], in [0, 1].
 */
export function guidanceScales(guidance: Guidance, maskRatio: HostTensor<'float32'>): HostTensor<'float32'> {
  const values = maskRatio.data.map((ratio) =>
    typeof guidance === 'number' ? guidance : 1 + (guidance.scale - 1) * ratio,
  );
  return float32(maskRatio.shape, values);
}

/** What guidance needs on the device. */
export interface GuidanceInputs {
  /** What guidance leads away from, each tensor with a leading axis of length 1 or batch. */
  readonly nullCondition: Condition;
  /** float32 [batch]. */
  readonly scale: Tensor1D;
}

/** Logits of the conditional and of the unconditional pass, each float32 [batch, L, V]. */
export interface ConditionalPair {
  readonly conditional: Tensor3D;
  readonly unconditional: Tensor3D;
}

/**
 * Both passes as one batch of twice the size, conditional samples first. Dropout uniforms, if any, are for that batch: the
 * two passes drop out independently. Embedding noise is for the batch itself: the two passes share it.
 */
export function conditionalPair(
  model: MaskedDiffusionModel,
  weights: TensorTree,
  inputs: PassInputs,
  nullCondition: Condition,
): ConditionalPair {
  const [batch] = inputs.tokens.shape;
  const condition: Condition = {};
  for (const [name, tensor] of Object.entries(inputs.condition)) {
    const none = nullCondition[name]!;
    const rows = none.shape[0] === batch ? none : tf.tile(none, [batch, ...none.shape.slice(1).map(() => 1)]);
    condition[name] = tf.concat([tensor, rows], 0);
  }
  const logits = forwardPass(model, weights, {
    tokens: tf.concat([inputs.tokens, inputs.tokens], 0),
    condition,
    ...(inputs.time ? { time: twice(inputs.time) } : {}),
    ...(inputs.dropout ? { dropout: inputs.dropout } : {}),
    ...(inputs.embeddingNoise ? { embeddingNoise: noiseTwice(inputs.embeddingNoise) } : {}),
  });
  const [, length, numLogits] = logits.shape;
  return {
    conditional: tf.slice(logits, [0, 0, 0], [batch, length, numLogits]),
    unconditional: tf.slice(logits, [batch, 0, 0], [batch, length, numLogits]),
  };
}

/** Every tensor followed by itself along the batch axis. */
function twice(tree: TensorTree): TensorTree {
  return Object.fromEntries(Object.entries(tree).map(([name, tensor]) => [name, tf.concat([tensor, tensor], 0)]));
}

function noiseTwice({ noise, scale }: EmbeddingNoise): EmbeddingNoise {
  return { noise: tf.concat([noise, noise], 0), scale };
}

/** unconditional + scale (conditional - unconditional), scale float32 [batch]. */
export function combineGuidance({ conditional, unconditional }: ConditionalPair, scale: Tensor1D): Tensor3D {
  return tf.add(unconditional, tf.mul(tf.reshape(scale, [-1, 1, 1]), tf.sub(conditional, unconditional)));
}

/** Guided logits, float32 [batch, L, V]; the plain conditional ones if `guidance` is absent. */
export function guidedLogits(
  model: MaskedDiffusionModel,
  weights: TensorTree,
  inputs: PassInputs,
  guidance?: GuidanceInputs,
): Tensor3D {
  if (!guidance) return forwardPass(model, weights, inputs);
  return combineGuidance(conditionalPair(model, weights, inputs, guidance.nullCondition), guidance.scale);
}

/** One condition as a batch of one: every tensor with a leading axis of length 1. */
export function withBatchAxis(condition: HostTree): HostTree {
  return Object.fromEntries(
    Object.entries(condition).map(([name, tensor]) => [name, { ...tensor, shape: [1, ...tensor.shape] }]),
  );
}

/** Specifications of `condition/<name>` inputs for a batch. */
export function conditionSpecs(
  model: Pick<MaskedDiffusionModel, 'condition'>,
  batchSize: number,
  prefix = 'condition',
): SpecTree {
  return Object.fromEntries(
    Object.entries(model.condition).map(([name, { dtype, shape }]) => [
      `${prefix}/${name}`,
      { dtype, shape: [batchSize, ...shape] },
    ]),
  );
}
