/** Where a function finds the weights of a model among the tensors of a device tree. */
import type { MaskedDiffusionModel } from './model.js';
import { subtree, withPrefix, type SpecTree } from '../tensors/tensors.js';

/** Weights of one model within a state: on their own, or among the tensors of a training run. */
export interface ModelState {
  /** The tensors of the state that are read. */
  readonly specs: SpecTree;
  /** Weights under the model's own names, of a state on the device or of one on the host. */
  weights<T>(state: Readonly<Record<string, T>>): Record<string, T>;
}

/**
 * Weights under `prefix/<name>`, or under their own names if there is no prefix.
 *
 * @example
 * modelState(teacher.model, 'teacher') // the teacher's weights within a distillation state
 */
export function modelState(model: MaskedDiffusionModel, prefix = ''): ModelState {
  if (prefix === '') return { specs: model.parameters, weights: (state) => state };
  return { specs: withPrefix(prefix, model.parameters), weights: (state) => subtree(prefix, state) };
}
