/** Token-level divergence between teacher and auxiliary with its gradient: the heart of Di[M]O. */
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor, Tensor1D, Tensor2D, Tensor3D } from '@tensorflow/tfjs-core';
import { runFusable } from './dispatch.js';
import type { FusableOutputs, TokenDivergenceAttributes } from './fusable-kernels.js';

export type { TokenDivergenceAttributes };

/** Arguments of `tokenDivergence`. */
export interface TokenDivergenceInputs {
  /** Teacher logits of the conditional pass, float32 [batch, L, V]. */
  readonly conditional: Tensor3D;
  /** Teacher logits of the unconditional pass, same shape, for guidance. */
  readonly unconditional?: Tensor3D;
  /** float32 [batch]; goes with `unconditional`. */
  readonly guidanceScale?: Tensor1D;
  /** Auxiliary logits, same shape. */
  readonly auxiliary: Tensor3D;
  /** float32 [batch, L], multiplies value and gradient; 0 at positions that are not masked. */
  readonly weights: Tensor2D;
}

/** Results of `tokenDivergence`. */
export interface TokenDivergenceResult {
  /** The divergence times the weight, float32 [batch, L], nats. */
  readonly value: Tensor2D;
  /** KL(teacher || auxiliary) at every position, not weighted, float32 [batch, L], nats. */
  readonly forwardKl: Tensor2D;
  /** Half the L1 distance of the distributions at every position, not weighted, float32 [batch, L] in [0, 1]. */
  readonly totalVariation: Tensor2D;
  /** Gradient of the sum of `value`, float32 [batch, L, V]; each row sums to 0. */
  readonly gradient: Tensor3D;
}

/**
 * Divergence of the auxiliary q = softmax(auxiliary / T_q) from the teacher p = softmax(guided / T_p) per position, and
 * its gradient with respect to the auxiliary's logits at temperature 1 (Di[M]O, arXiv 2503.15457, Eq. 4):
 *
 *   FKL = sum p (log p - log q)     gradient q - p
 *   RKL = sum q (log q - log p)     gradient q (log q - log p - RKL)
 *   D   = (1 - beta) FKL + beta RKL
 *
 * With temperatures the factor 1 / T_q of the chain rule is not applied, as in the official code.
 *
 * Kernel `DimoTokenDivergence`.
 */
export function tokenDivergence(
  inputs: TokenDivergenceInputs,
  attributes: TokenDivergenceAttributes,
): TokenDivergenceResult {
  const [value, forwardKl, totalVariation, gradient] = runFusable('DimoTokenDivergence', inputs, attributes, () =>
    divergenceComposition(inputs, attributes),
  ) as readonly [Tensor2D, Tensor2D, Tensor2D, Tensor3D];
  return { value, forwardKl, totalVariation, gradient };
}

function divergenceComposition(
  inputs: TokenDivergenceInputs,
  attributes: TokenDivergenceAttributes,
): FusableOutputs<'DimoTokenDivergence', Tensor> {
  const { weights } = inputs;
  const { beta } = attributes;
  const logP = logProbabilities(guidedTeacherLogits(inputs), attributes.teacherTemperature);
  const logQ = logProbabilities(inputs.auxiliary, attributes.auxiliaryTemperature);
  const p = tf.exp(logP);
  const q = tf.exp(logQ);
  const difference = tf.sub(q, p);
  const logRatio = tf.sub(logQ, logP);
  const forwardKl = tf.neg(tf.sum(tf.mul(p, logRatio), 2));
  const totalVariation = tf.mul(tf.sum(tf.abs(difference), 2), 0.5);
  const perToken = tf.expandDims(weights, 2);
  if (beta === 0) return [tf.mul(forwardKl, weights), forwardKl, totalVariation, tf.mul(difference, perToken)];
  const reverseKl = tf.sum(tf.mul(q, logRatio), 2);
  const reverseGradient = tf.mul(q, tf.sub(logRatio, tf.expandDims(reverseKl, 2)));
  const value = beta === 1 ? reverseKl : tf.add(tf.mul(forwardKl, 1 - beta), tf.mul(reverseKl, beta));
  const gradient = beta === 1 ? reverseGradient : tf.add(tf.mul(difference, 1 - beta), tf.mul(reverseGradient, beta));
  return [tf.mul(value, weights), forwardKl, totalVariation, tf.mul(gradient, perToken)];
}

/** unconditional + scale (conditional - unconditional), or the conditional logits if there is no guidance. */
export function guidedTeacherLogits(
  inputs: Pick<TokenDivergenceInputs, 'conditional' | 'unconditional' | 'guidanceScale'>,
): Tensor3D {
  const { conditional, unconditional, guidanceScale } = inputs;
  if (!unconditional || !guidanceScale) return conditional;
  return tf.add(
    unconditional,
    tf.mul(tf.reshape(guidanceScale, [-1, 1, 1]), tf.sub(conditional, unconditional)),
  ) as Tensor3D;
}

function logProbabilities(logits: Tensor, temperature: number): Tensor {
  return tf.logSoftmax(temperature === 1 ? logits : tf.div(logits, temperature), -1);
}
