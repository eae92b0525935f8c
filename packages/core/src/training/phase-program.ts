/**
 * Phases as a training program: what every training has in common. The state of optimizers and averages, accumulation
 * over micro-steps, learning rates, counters, the policy for numbers that are not finite, one call for all phases where
 * that is possible, and the place where the ranks of a data-parallel run add their gradients.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { PureFunction } from '../engine/engine.js';
import { assert, NonFiniteError, OptionError } from '../errors.js';
import { requireInteger } from '../options/check-options.js';
import { float32, scalar, subtree, withPrefix, type HostTree, type TensorTree } from '../tensors/tensors.js';
import { applyOptimizer, initialMoments, optimizerScalars } from './optimizer.js';
import type { NonFinitePolicy } from './optimizer-options.js';
import type { Phase } from './phase.js';
import type { Counters, StepCall, StepResult, TrainingProgram } from './training.js';

/** Arguments of `phaseProgram`. */
export interface PhaseProgramOptions {
  /** For messages and checkpoints. */
  readonly name: string;
  readonly numSteps: number;
  /** Samples of a micro-step, over all ranks. */
  readonly batchSize: number;
  /** Micro-steps whose gradients are added before an update. @default 1 */
  readonly accumulation?: number;
  /** In the order in which a step runs them. */
  readonly phases: readonly Phase[];
  /**
   * Weights of all networks, and what else the phases keep in the state. Moments, averages (equal to the weights) and
   * sums of gradients are added by the program.
   */
  initialWeights(): HostTree;
  readonly onNonFinite: NonFinitePolicy;
  /** The part of every batch that this process computes. @default all of it */
  readonly shard?: Shard;
  /**
   * A call for each phase even where one call would do for the step: its outputs are then those of the phase.
   *
   * @default false
   */
  readonly separateCalls?: boolean;
  /** Whether gradients are handed out, as `gradient/<p>`. @default false */
  readonly trace?: boolean;
}

/** One of the ranks of a data-parallel run. */
export interface Shard {
  /** 0 to ranks - 1. */
  readonly rank: number;
  /** Must divide the batch size. */
  readonly ranks: number;
}

/** Inputs of `gradients` of one step, by the name of the phase, one tree per micro-step; none for a phase that rests. */
export type PhaseInputs = Readonly<Record<string, readonly HostTree[]>>;

/** Key of a phase in `PhaseInputs`, and the name of its function. */
const keyOf = ({ name }: Phase): string => name ?? 'train';
const optimizerPrefix = ({ name }: Phase): string => (name === undefined ? 'optimizer' : `${name}Optimizer`);
const gradientPrefix = ({ name }: Phase): string => (name === undefined ? 'gradients' : `${name}Gradients`);
/** Sum of the losses of micro-steps, beside those of the gradients. */
const lossSum = ({ name }: Phase): string => (name === undefined ? 'loss/sum' : `${name}Loss/sum`);
const counterOf = ({ name }: Phase): string => (name === undefined ? 'updates' : `${name}Updates`);
const metricPrefix = ({ name }: Phase): string => (name === undefined ? '' : `${name}/`);
const isActive = ({ every = 1 }: Phase, step: number): boolean => step % every === 0;

/** Name of the function that runs all phases. */
const mergedName = 'step';

/**
 * A training program of phases.
 *
 * State beside that of `initialWeights`: `optimizer/m/<p>` and `optimizer/v/<p>`, `<average prefix>/<p>`, and where
 * gradients are added up, `gradients/<p>` and `loss/sum`; with names, `<name>Optimizer/...` and so on. Counters: `updates`
 * (`<name>Updates`) of each phase, `skipped`. Metrics: scalar outputs, `gradientNorm`, `learningRate`, `averageDecay`.
 *
 * @throws OptionError for a batch that the ranks cannot share, or more samples than random numbers can be keyed by (2^32).
 */
export function phaseProgram(options: PhaseProgramOptions): TrainingProgram<PhaseInputs> {
  const { name, numSteps, batchSize, accumulation = 1, phases, shard = { rank: 0, ranks: 1 } } = options;
  const { trace = false, separateCalls = false, onNonFinite } = options;
  requireInteger(numSteps, `${name}: numSteps`, 0);
  requireInteger(batchSize, `${name}: batchSize`);
  requireInteger(accumulation, `${name}: accumulation`);
  requireInteger(shard.ranks, `${name}: ranks`);
  requireInteger(shard.rank, `${name}: rank`, 0, undefined, shard.ranks - 1);
  if (batchSize % shard.ranks !== 0)
    throw new OptionError(`${name}: batchSize must be a multiple of the ${shard.ranks} ranks, got ${batchSize}`);
  const keys = phases.map(keyOf);
  if (new Set(keys).size < keys.length)
    throw new OptionError(`${name}: phases must have different names, got ${keys.join(', ')}`);
  const samplesPerStep = batchSize * accumulation;
  if (numSteps * samplesPerStep > 2 ** 32)
    throw new OptionError(
      `${name}: ${numSteps} steps of ${samplesPerStep} samples are more than the 2^32 samples that a run can draw`,
    );
  // Gradients and update are apart where something comes between them.
  const isApart = accumulation > 1 || shard.ranks > 1;
  const isMerged = !isApart && !separateCalls && phases.length > 1 && phases.every(({ every = 1 }) => every === 1);
  const context: ProgramContext = { phases, isApart, isMerged, trace, onNonFinite };
  const callsPerPhase = isApart ? accumulation + 1 : 1;

  return {
    name,
    numSteps,
    batchSize: samplesPerStep,
    ranks: shard.ranks,
    functions: programFunctions(context),
    initialState: () => initialState(context, options.initialWeights()),
    initialCounters: { ...Object.fromEntries(phases.map((phase) => [counterOf(phase), 0])), skipped: 0 },
    async draw(step, onDevice = false) {
      const count = batchSize / shard.ranks;
      const firstOfStep = step * samplesPerStep;
      const inputs: Record<string, readonly HostTree[]> = {};
      for (const phase of phases)
        inputs[keyOf(phase)] = isActive(phase, step)
          ? await Promise.all(
              Array.from({ length: accumulation }, async (_, i) => {
                const first = firstOfStep + i * batchSize + shard.rank * count;
                return phase.draw({ step, first, count, firstOfStep, batchSize: samplesPerStep }, onDevice);
              }),
            )
          : [];
      return inputs;
    },
    calls(step, counters, inputs) {
      const calls = phases.flatMap((phase) => phaseCalls(phase, { step, counters, inputs, isApart }));
      if (!isMerged) return calls;
      return [
        {
          fn: mergedName,
          inputs: Object.assign({}, ...calls.map((call) => withPrefix(call.fn, call.inputs))) as HostTree,
        },
      ];
    },
    finish(step, counters, outputs) {
      const active = phases.filter((phase) => isActive(phase, step));
      const results = active.map((phase, i) =>
        isMerged ? [subtree(keyOf(phase), outputs[0]!)] : outputs.slice(i * callsPerPhase, (i + 1) * callsPerPhase),
      );
      return finishStep({ name, step, counters, policy: onNonFinite, phases: active, results });
    },
  };
}

interface ProgramContext {
  readonly phases: readonly Phase[];
  readonly isApart: boolean;
  readonly isMerged: boolean;
  readonly trace: boolean;
  readonly onNonFinite: NonFinitePolicy;
}

function initialState({ phases, isApart }: ProgramContext, weights: HostTree): HostTree {
  const state: HostTree = { ...weights };
  for (const phase of phases) {
    const { prefix, parameters } = phase.trains;
    Object.assign(state, withPrefix(optimizerPrefix(phase), initialMoments(parameters)));
    if (isApart) state[lossSum(phase)] = scalar(0);
    for (const [name, { shape }] of Object.entries(parameters)) {
      if (phase.average) state[`${phase.average.prefix}/${name}`] = weights[`${prefix}/${name}`]!;
      if (isApart) state[`${gradientPrefix(phase)}/${name}`] = float32(shape);
    }
  }
  return state;
}

function programFunctions(context: ProgramContext): TrainingProgram['functions'] {
  const { phases, isApart, isMerged } = context;
  if (isMerged) return { [mergedName]: mergedFunction(context) };
  const functions: Record<string, PureFunction> = {};
  for (const phase of phases) {
    const key = keyOf(phase);
    if (isApart) {
      functions[`${key}Gradients`] = gradientFunction(context, phase);
      functions[`${key}Update`] = updateFunction(context, phase);
    } else functions[key] = phaseFunction(context, phase);
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
  { gradients, inputs, loss }: { gradients: TensorTree; inputs: TensorTree; loss?: tf.Tensor | undefined },
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

function phaseCalls(
  phase: Phase,
  { step, counters, inputs, isApart }: { step: number; counters: Counters; inputs: PhaseInputs; isApart: boolean },
): StepCall[] {
  const microSteps = inputs[keyOf(phase)] ?? [];
  if (microSteps.length === 0) return [];
  const updates = counters[counterOf(phase)] ?? 0;
  const scalars = withPrefix('optimizer', optimizerScalars(phase.optimizer, phase.learningRate(step), updates));
  if (phase.average) scalars['averageRate'] = scalar(1 - phase.average.decay(updates));
  const key = keyOf(phase);
  if (!isApart) return [{ fn: key, inputs: { ...microSteps[0]!, ...scalars } }];
  const sums = [
    lossSum(phase),
    ...Object.keys(phase.trains.parameters).map((name) => `${gradientPrefix(phase)}/${name}`),
  ];
  return [
    ...microSteps.map((values, i) => ({
      fn: `${key}Gradients`,
      inputs: values,
      contributes: { state: i === microSteps.length - 1 ? sums : [] },
    })),
    { fn: `${key}Update`, inputs: scalars },
  ];
}

interface FinishArguments {
  readonly name: string;
  readonly step: number;
  readonly counters: Counters;
  readonly policy: NonFinitePolicy;
  /** Those that this step updates. */
  readonly phases: readonly Phase[];
  /** Outputs of the calls of each. */
  readonly results: readonly (readonly HostTree[])[];
}

/**
 * Metrics and new counters of a step. If an update was not made and the policy is `throw`, the result holds the
 * NonFiniteError that ends the run, beside the counters of a skipped step: the state is that of one.
 */
function finishStep({ name, step, counters: before, policy, phases, results }: FinishArguments): StepResult {
  const metrics: Record<string, number> = {};
  const counters: Record<string, number> = { ...before };
  let skipped = false;
  let failure: NonFiniteError | undefined;
  phases.forEach((phase, i) => {
    const prefix = metricPrefix(phase);
    const { applied, ...values } = addedScalars(results[i]!);
    const updates = before[counterOf(phase)] ?? 0;
    const all = {
      learningRate: phase.learningRate(step),
      ...(phase.average ? { averageDecay: phase.average.decay(updates) } : {}),
      ...values,
      ...phase.metrics?.(results[i]!.filter((outputs) => 'loss' in outputs)),
    };
    for (const [metric, value] of Object.entries(all)) metrics[`${prefix}${metric}`] = value;
    if (applied === 1) {
      counters[counterOf(phase)] = updates + 1;
      return;
    }
    skipped = true;
    if (policy === 'throw')
      failure ??= new NonFiniteError(
        `${name}: step ${step} (counted from 0): ${prefix}loss is ${values['loss']}, ${prefix}gradientNorm is ${values['gradientNorm']}; both must be finite`,
        { hint: 'resume from the last checkpoint with a lower learning rate, or set onNonFinite to "skip"' },
      );
  });
  if (skipped) counters['skipped'] = (counters['skipped'] ?? 0) + 1;
  return { metrics, counters, ...(skipped ? { skipped } : {}), ...(failure ? { failure } : {}) };
}

/** Scalars of the calls of a phase; those of micro-steps are added. */
function addedScalars(outputs: readonly HostTree[]): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const tree of outputs)
    for (const [name, { shape, data }] of Object.entries(tree))
      if (shape.length === 0) sums[name] = (sums[name] ?? 0) + data[0]!;
  return sums;
}
