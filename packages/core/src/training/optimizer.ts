/**
 * Adam and AdamW on trees of parameters, with global-norm clipping, the finite check and the moving average of weights.
 * Bias corrections and schedules are computed on the host in float64 and arrive as scalars, so that a step is a pure
 * function of its inputs.
 */
import { requireInteger } from '../options/check-options.js';
import { OptionError } from '../errors.js';
import type { NonFinitePolicy, ResolvedOptimizerOptions } from './optimizer-options.js';
import { float32, scalar, type HostTree, type SpecTree } from '../tensors/tensors.js';
import {
  decideUpdate,
  updateParameters,
  type OptimizerStep,
  type UpdateDecision,
  type UpdatedParameters,
} from './update.js';

export type { OptimizerStep } from './update.js';

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

/** Result of `applyOptimizer`. */
export type OptimizerStepResult = UpdatedParameters & Pick<UpdateDecision, 'gradientNorm' | 'applied'>;

/**
 * One update of all parameters: global norm, clipping as PyTorch's `clip_grad_norm_` (factor min(1, clipNorm / (norm +
 * 1e-6))), the policy for numbers that are not finite, then Adam and the moving average.
 */
export function applyOptimizer(
  step: OptimizerStep,
  options: ResolvedOptimizerOptions,
  policy: NonFinitePolicy,
): OptimizerStepResult {
  const decision = decideUpdate(Object.values(step.gradients), step.loss, options, policy);
  const { gradientNorm, applied } = decision;
  return { ...updateParameters(step, decision, options, policy), gradientNorm, applied };
}
