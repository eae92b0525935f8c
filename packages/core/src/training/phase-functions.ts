/** The functions of a program of phases, for the device. */
import * as tf from '@tensorflow/tfjs-core';
import type { PureFunction } from '../engine/engine.js';
import { assert } from '../errors.js';
import { subtree, withPrefix, type TensorTree } from '../tensors/tensors.js';
import { decisionScratch, gradientScratch, groupFunctions, type GroupedUpdate } from './grouped-update.js';
import { partFunction, wholeUpdateFunction, type UpdateArguments } from './divided-batch.js';
import { applyOptimizer } from './optimizer.js';
import type { NonFinitePolicy } from './optimizer-options.js';
import type { Phase } from './phase.js';
import type { TrainingProgram } from './training.js';
import { decideUpdate, type UpdateDecision } from './update.js';

/** Key of a phase in `PhaseInputs`, and the name of its function. */
export const keyOf = ({ name }: Phase): string => name ?? 'train';
/** Prefix of the moments. */
export const optimizerPrefix = ({ name }: Phase): string => (name === undefined ? 'optimizer' : `${name}Optimizer`);
/** Prefix of the sums of gradients. */
export const gradientPrefix = ({ name }: Phase): string => (name === undefined ? 'gradients' : `${name}Gradients`);
/** Sum of the losses of micro-steps, beside those of the gradients. */
export const lossSum = ({ name }: Phase): string => (name === undefined ? 'loss/sum' : `${name}Loss/sum`);

/** Name of the function that runs all phases. */
export const mergedName = 'step';

/** How a program is made of calls. */
export interface ProgramContext {
  readonly phases: readonly Phase[];
  readonly isApart: boolean;
  readonly isGrouped: boolean;
  readonly isMerged: boolean;
  /** Parts of every batch that are calls of their own. */
  readonly parts: number;
  readonly trace: boolean;
  readonly onNonFinite: NonFinitePolicy;
}

/** The update of a phase in groups of tensors. */
export function groupedUpdate({ isApart, onNonFinite }: ProgramContext, phase: Phase): GroupedUpdate {
  const { trains, average, optimizer } = phase;
  return {
    name: `${keyOf(phase)}Update`,
    parameters: trains.parameters,
    prefixes: {
      parameters: trains.prefix,
      moments: optimizerPrefix(phase),
      ...(average ? { average: average.prefix } : {}),
    },
    ...(isApart ? { sums: gradientPrefix(phase) } : {}),
    optimizer,
    policy: onNonFinite,
  };
}

/** The functions of the calls of a step. */
export function programFunctions(context: ProgramContext): TrainingProgram['functions'] {
  const { phases, isApart, isGrouped, isMerged, parts } = context;
  if (isMerged) return { [mergedName]: mergedFunction(context) };
  const functions: Record<string, PureFunction> = {};
  for (const phase of phases) {
    const key = keyOf(phase);
    if (parts > 1) {
      functions[`${key}Part`] = partFunction(phase);
      functions[`${key}Update`] = wholeUpdateFunction(phase, parts, (state, given) =>
        updated(phase, state, given, context.onNonFinite),
      );
      continue;
    }
    if (isApart) functions[`${key}Gradients`] = gradientFunction(context, phase);
    if (isGrouped) {
      const [before, fn] = isApart ? [`${key}Decision`, decisionFunction] : [`${key}Gradients`, decidedGradients];
      functions[before] = fn(context, phase);
      Object.assign(functions, groupFunctions(groupedUpdate(context, phase)));
    } else if (isApart) functions[`${key}Update`] = updateFunction(context, phase);
    else functions[key] = phaseFunction(context, phase);
  }
  return functions;
}

/** Gradients and update at once. */
function phaseFunction({ trace, onNonFinite }: ProgramContext, phase: Phase): PureFunction {
  return (state, inputs) => {
    const { gradients, outputs, state: besides = {} } = phase.gradients(state, inputs);
    const update = updated(phase, state, { gradients, inputs, loss: outputs['loss'] }, onNonFinite);
    const isApplied = tf.greater(update.outputs['applied']!, 0);
    for (const [name, value] of Object.entries(besides)) update.state[name] = tf.where(isApplied, value, state[name]!);
    const traced = trace ? withPrefix('gradient', gradients) : {};
    return { state: update.state, outputs: { ...outputs, ...update.outputs, ...traced } };
  };
}

/** Gradients, kept for the groups of an update, and whether it is made. */
function decidedGradients(context: ProgramContext, phase: Phase): PureFunction {
  return (state, inputs) => {
    const { gradients, outputs, state: besides = {} } = phase.gradients(state, inputs);
    const decision = decide(context, phase, gradients, outputs['loss']);
    const isApplied = tf.greater(decision.applied, 0);
    const changed = Object.entries(besides).map(([name, value]) => [name, tf.where(isApplied, value, state[name]!)]);
    const traced = context.trace ? withPrefix('gradient', gradients) : {};
    return {
      state: {
        ...gradientScratch(groupedUpdate(context, phase), gradients),
        ...decisionScratch(decision),
        ...(Object.fromEntries(changed) as TensorTree),
      },
      outputs: { ...outputs, ...decisionOutputs(decision), ...traced },
    };
  };
}

/** Whether the update by the sums of the gradients is made. */
function decisionFunction(context: ProgramContext, phase: Phase): PureFunction {
  return (state) => {
    const decision = decide(context, phase, subtree(gradientPrefix(phase), state), state[lossSum(phase)]);
    return {
      state: { ...decisionScratch(decision), [lossSum(phase)]: tf.scalar(0) },
      outputs: decisionOutputs(decision),
    };
  };
}

function decide(
  { onNonFinite }: ProgramContext,
  { optimizer }: Phase,
  gradients: TensorTree,
  loss: tf.Tensor | undefined,
): UpdateDecision {
  return decideUpdate(Object.values(gradients), loss, optimizer, onNonFinite);
}

function decisionOutputs({ gradientNorm, applied }: UpdateDecision): TensorTree {
  return { gradientNorm, applied };
}

/** Adds the gradients of a micro-step to their sums. */
function gradientFunction({ trace }: ProgramContext, phase: Phase): PureFunction {
  return (state, inputs) => {
    const { gradients, outputs, state: besides } = phase.gradients(state, inputs);
    assert(besides === undefined, () => `phase ${keyOf(phase)}: only weights can be trained in micro-steps`);
    const sums: TensorTree = { [lossSum(phase)]: tf.add(state[lossSum(phase)]!, outputs['loss']!) };
    for (const [name, gradient] of Object.entries(gradients)) {
      const sum = `${gradientPrefix(phase)}/${name}`;
      sums[sum] = tf.add(state[sum]!, gradient);
    }
    return { state: sums, outputs: { ...outputs, ...(trace ? withPrefix('gradient', gradients) : {}) } };
  };
}

/** Updates by the sums of the gradients, and clears them. */
function updateFunction({ onNonFinite }: ProgramContext, phase: Phase): PureFunction {
  return (state, inputs) => {
    const gradients = subtree(gradientPrefix(phase), state);
    const update = updated(phase, state, { gradients, inputs, loss: state[lossSum(phase)] }, onNonFinite);
    const zeros = Object.fromEntries(Object.entries(gradients).map(([name, sum]) => [name, tf.zerosLike(sum)]));
    return {
      state: { ...update.state, ...withPrefix(gradientPrefix(phase), zeros), [lossSum(phase)]: tf.scalar(0) },
      outputs: update.outputs,
    };
  };
}

/**
 * All phases in one function, each on the state that those before it left. An engine that keeps working memory per
 * compiled function needs that of the largest part where several functions need the sum, and less crosses between host
 * and device.
 */
function mergedFunction(context: ProgramContext): PureFunction {
  const parts = context.phases.map((phase) => [keyOf(phase), phaseFunction(context, phase)] as const);
  return (state, inputs) => {
    const newState: TensorTree = {};
    const outputs: TensorTree = {};
    for (const [key, fn] of parts) {
      // What one part needs while it computes is released before the next begins.
      const result = tf.tidy(() => {
        const { state: changed = {}, outputs: results } = fn({ ...state, ...newState }, subtree(key, inputs));
        return { changed, results };
      });
      Object.assign(newState, result.changed);
      Object.assign(outputs, withPrefix(key, result.results));
    }
    return { state: newState, outputs };
  };
}

function updated(
  phase: Phase,
  state: TensorTree,
  { gradients, inputs, loss }: UpdateArguments,
  policy: NonFinitePolicy,
): { state: TensorTree; outputs: TensorTree } {
  const { prefix, parameters } = phase.trains;
  const weights = subtree(prefix, state);
  const trained = Object.fromEntries(Object.keys(parameters).map((name) => [name, weights[name]!]));
  const { average } = phase;
  const update = applyOptimizer(
    {
      parameters: trained,
      gradients,
      moments: subtree(optimizerPrefix(phase), state),
      scalars: subtree('optimizer', inputs),
      ...(loss ? { loss } : {}),
      ...(average ? { average: { weights: subtree(average.prefix, state), rate: inputs['averageRate']! } } : {}),
    },
    phase.optimizer,
    policy,
  );
  return {
    state: {
      ...withPrefix(prefix, update.parameters),
      ...(average ? withPrefix(average.prefix, update.average) : {}),
      ...withPrefix(optimizerPrefix(phase), update.moments),
    },
    outputs: { gradientNorm: update.gradientNorm, applied: update.applied },
  };
}
