/**
 * Adam and AdamW on trees of parameters, with global-norm clipping, the finite check and the moving average of weights.
 * Bias corrections and schedules are computed on the host in float64 and arrive as scalars, so that a step is a pure
 * function of its inputs.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Scalar, Tensor } from '@tensorflow/tfjs-core';
import { requireInteger } from '../options/check-options.js';
import { OptionError } from '../errors.js';
import { adamUpdate } from '../ops/adam-update.js';
import { globalNorm } from '../ops/global-norm.js';
import type { NonFinitePolicy, ResolvedOptimizerOptions } from './optimizer-options.js';
import { float32, scalar, type HostTree, type SpecTree, type TensorTree } from '../tensors/tensors.js';

/** Zero moments for parameters: `m/<name>` and `v/<name>`, float32. */
export function initialMoments(parameters: SpecTree): HostTree {
  const zeros = (prefix: string) =>
    Object.entries(parameters).map(([name, { shape }]) => [`${prefix}/${name}`, float32(shape)]);
  return Object.fromEntries([...zeros('m'), ...zeros('v')]);
}

/** Specifications of the scalars that `optimizerScalars` makes. */
export const optimizerScalarSpecs: SpecTree = Object.fromEntries(
  ['stepSize', 'rootCorrection', 'decay'].map((name) => [name, { dtype: 'float32', shape: [] }]),
);

/**
 * Scalars of one update, computed in float64.
 *
 * @param options - the optimizer.
 * @param learningRate - of this update.
 * @param update - updates made before this one, 0, 1, ...
 * @throws OptionError for a learning rate or number of updates that is none.
 */
export function optimizerScalars(options: ResolvedOptimizerOptions, learningRate: number, update: number): HostTree {
  if (!(learningRate >= 0 && learningRate < Infinity))
    throw new OptionError(`optimizer: the learning rate must be a number >= 0, got ${String(learningRate)}`);
  const t = requireInteger(update, 'optimizer: updates made', 0) + 1;
  return {
    stepSize: scalar(learningRate / (1 - options.beta1 ** t)),
    rootCorrection: scalar(1 / Math.sqrt(1 - options.beta2 ** t)),
    decay: scalar(options.kind === 'adamw' ? learningRate * options.weightDecay : 0),
  };
}

/** Arguments of `applyOptimizer`. */
export interface OptimizerStep {
  /** Trained parameters by name. */
  readonly parameters: TensorTree;
  /** Their gradients, under the same names. */
  readonly gradients: TensorTree;
  /** `m/<name>` and `v/<name>`. */
  readonly moments: TensorTree;
  /** From `optimizerScalars`. */
  readonly scalars: TensorTree;
  /** A scalar that must be finite too: the loss. */
  readonly loss?: Tensor;
  /** The moving average of the weights, to be moved towards the new parameters. */
  readonly average?: {
    /** Under the names of the parameters. */
    readonly weights: TensorTree;
    /** float32 scalar: 1 - decay; 0 keeps the average bit for bit. */
    readonly rate: Tensor;
  };
}

/** Result of `applyOptimizer`. */
export interface OptimizerStepResult {
  readonly parameters: TensorTree;
  readonly moments: TensorTree;
  /** The moving average, if there is one: average + rate (parameter - average). */
  readonly average: TensorTree;
  /** float32 scalar: root of the sum of squares of all gradients, before clipping. */
  readonly gradientNorm: Tensor;
  /** float32 scalar: 1 if the update was made, 0 if not. */
  readonly applied: Scalar;
}

/** float32 scalar 1 if `value` (a scalar) is neither NaN nor infinite, else 0. */
export function finiteFlag(value: Tensor): Scalar {
  // A comparison instead of tf.isFinite: not every engine has that kernel.
  return tf.cast(tf.lessEqual(tf.abs(value), 3.4e38), 'float32') as Scalar;
}

/**
 * One update of all parameters: global norm, clipping as PyTorch's `clip_grad_norm_` (factor min(1, clipNorm / (norm +
 * 1e-6))), the policy for numbers that are not finite, then Adam and the moving average.
 */
export function applyOptimizer(
  step: OptimizerStep,
  options: ResolvedOptimizerOptions,
  policy: NonFinitePolicy,
): OptimizerStepResult {
  const { parameters, moments, scalars } = step;
  const gradientNorm = globalNorm(Object.values(step.gradients));
  const checked = step.loss ? tf.add(gradientNorm, tf.abs(tf.reshape(step.loss, []))) : gradientNorm;
  const applied = policy === 'reference' ? (tf.onesLike(gradientNorm) as Scalar) : finiteFlag(checked);
  const clipFactor = (
    options.clipNorm === undefined
      ? tf.onesLike(gradientNorm)
      : minimumOfOne(tf.div(options.clipNorm, tf.add(gradientNorm, 1e-6)))
  ) as Scalar;
  const coupledDecay = options.kind === 'adam' ? options.weightDecay : 0;
  const scalesHere = policy === 'reference' || coupledDecay > 0;
  const names = Object.keys(parameters);
  const updated = adamUpdate(
    names.map((name) => {
      const parameter = parameters[name]!;
      let gradient = step.gradients[name]!;
      // Adam's own kernel scales the gradient; where something comes between, it is scaled here.
      if (scalesHere) gradient = tf.mul(gradient, clipFactor);
      if (policy === 'reference') gradient = replaceNonFinite(gradient);
      if (coupledDecay > 0) gradient = tf.add(gradient, tf.mul(parameter, coupledDecay));
      const [firstMoment, secondMoment] = [moments[`m/${name}`]!, moments[`v/${name}`]!];
      const average = step.average?.weights[name];
      return { parameter, gradient, firstMoment, secondMoment, ...(average ? { average } : {}) };
    }),
    {
      gradientScale: scalesHere ? (tf.onesLike(clipFactor) as Scalar) : clipFactor,
      stepSize: scalars['stepSize'] as Scalar,
      rootCorrection: scalars['rootCorrection'] as Scalar,
      decay: scalars['decay'] as Scalar,
      apply: applied,
      ...(step.average ? { averageRate: step.average.rate as Scalar } : {}),
    },
    { beta1: options.beta1, beta2: options.beta2, epsilon: options.epsilon },
  );
  const newParameters: TensorTree = {};
  const newMoments: TensorTree = {};
  const average: TensorTree = {};
  names.forEach((name, i) => {
    const result = updated[i]!;
    newParameters[name] = result.parameter;
    newMoments[`m/${name}`] = result.firstMoment;
    newMoments[`v/${name}`] = result.secondMoment;
    if (result.average) average[name] = result.average;
  });
  return { parameters: newParameters, moments: newMoments, average, gradientNorm, applied };
}

/** min(1, x) that keeps NaN, which `tf.minimum` does not on every backend. */
function minimumOfOne(x: Tensor): Tensor {
  return tf.where(tf.greater(x, 1), tf.onesLike(x), x);
}

/** PyTorch's nan_to_num with the official code's arguments: NaN to 0, +-infinity to +-1e5. */
export function replaceNonFinite(gradient: Tensor): Tensor {
  const zeros = tf.zerosLike(gradient);
  const isNumber = tf.equal(gradient, gradient);
  const numbers = tf.where(isNumber, gradient, zeros);
  const tooLarge = tf.greater(numbers, 3.4e38);
  const tooSmall = tf.less(numbers, -3.4e38);
  return tf.where(tooLarge, tf.fill(gradient.shape, 1e5), tf.where(tooSmall, tf.fill(gradient.shape, -1e5), numbers));
}
