/** The two halves of an update: what all gradients decide together, and what each parameter becomes. */
import * as tf from '@tensorflow/tfjs-core';
import type { Scalar, Tensor } from '@tensorflow/tfjs-core';
import { adamUpdate } from '../ops/adam-update.js';
import { globalNorm } from '../ops/global-norm.js';
import type { TensorTree } from '../tensors/tensors.js';
import type { NonFinitePolicy, ResolvedOptimizerOptions } from './optimizer-options.js';

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

/** What an update does to every parameter alike; it follows from all gradients together. */
export interface UpdateDecision {
  /** float32 scalar: root of the sum of squares of all gradients, before clipping. */
  readonly gradientNorm: Tensor;
  /** float32 scalar: 1 if the update is made, 0 if not. */
  readonly applied: Scalar;
  /** float32 scalar: what clipping multiplies gradients by. */
  readonly clipFactor: Scalar;
}

/** New values of parameters and of what belongs to them. */
export interface UpdatedParameters {
  readonly parameters: TensorTree;
  readonly moments: TensorTree;
  /** The moving average, if there is one: average + rate (parameter - average). */
  readonly average: TensorTree;
}

/**
 * What all gradients together decide.
 *
 * @param gradients - of all parameters.
 * @param loss - a scalar that must be finite too.
 */
export function decideUpdate(
  gradients: readonly Tensor[],
  loss: Tensor | undefined,
  options: ResolvedOptimizerOptions,
  policy: NonFinitePolicy,
): UpdateDecision {
  const gradientNorm = globalNorm(gradients);
  const checked = loss ? tf.add(gradientNorm, tf.abs(tf.reshape(loss, []))) : gradientNorm;
  const applied = policy === 'reference' ? (tf.onesLike(gradientNorm) as Scalar) : finiteFlag(checked);
  const clipFactor = (
    options.clipNorm === undefined
      ? tf.onesLike(gradientNorm)
      : minimumOfOne(tf.div(options.clipNorm, tf.add(gradientNorm, 1e-6)))
  ) as Scalar;
  return { gradientNorm, applied, clipFactor };
}

/**
 * Updates all parameters or some of them: Adam and the moving average. Each parameter's new values
 * depend on its own tensors and the decision alone.
 */
export function updateParameters(
  step: Omit<OptimizerStep, 'loss'>,
  { applied, clipFactor }: Pick<UpdateDecision, 'applied' | 'clipFactor'>,
  options: ResolvedOptimizerOptions,
  policy: NonFinitePolicy,
): UpdatedParameters {
  const { parameters, moments, scalars } = step;
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
  return { parameters: newParameters, moments: newMoments, average };
}

/** float32 scalar 1 if `value` (a scalar) is neither NaN nor infinite, else 0. */
function finiteFlag(value: Tensor): Scalar {
  // A comparison instead of tf.isFinite: not every engine has that kernel.
  return tf.cast(tf.lessEqual(tf.abs(value), 3.4e38), 'float32') as Scalar;
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
