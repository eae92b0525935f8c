/**
 * Phases as a training program: what every training has in common. The state of optimizers and averages, accumulation
 * over micro-steps, learning rates, counters, the policy for numbers that are not finite, one call for all phases where
 * that is possible, and the place where the ranks of a data-parallel run add their gradients.
 */
import { NonFiniteError, OptionError } from '../errors.js';
import { requireInteger } from '../options/check-options.js';
import { float32, scalar, sizeOf, subtree, withPrefix, type HostTree } from '../tensors/tensors.js';
import { groupCalls, scratchSpecs } from './grouped-update.js';
import { partNames, partScratch } from './divided-batch.js';
import { initialMoments, optimizerScalars } from './optimizer.js';
import type { NonFinitePolicy } from './optimizer-options.js';
import type { Phase } from './phase.js';
import {
  gradientPrefix,
  groupedUpdate,
  keyOf,
  lossSum,
  mergedName,
  optimizerPrefix,
  programFunctions,
  type ProgramContext,
} from './phase-functions.js';
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
  /**
   * Whether the update is made in groups of tensors after the gradients, which needs memory for a second copy of a group and
   * not of all that changes; large models are no slower for it. The numbers are the same. @default by the size of what is
   * trained
   */
  readonly groupedUpdate?: boolean;
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

/**
 * Inputs of `gradients` of one step, by the name of the phase: one tree per micro-step, or per part of the batch; none for a
 * phase that rests.
 */
export type PhaseInputs = Readonly<Record<string, readonly HostTree[]>>;

const counterOf = ({ name }: Phase): string => (name === undefined ? 'updates' : `${name}Updates`);
const metricPrefix = ({ name }: Phase): string => (name === undefined ? '' : `${name}/`);
const isActive = ({ every = 1 }: Phase, step: number): boolean => step % every === 0;

/** Bytes of trained parameters from which on the update is made in groups. */
const groupedFrom = 2 ** 26;

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
  return programInParts(options, false);
}

function programInParts(options: PhaseProgramOptions, isDivided: boolean): TrainingProgram<PhaseInputs> {
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
  const { groupedUpdate: isGrouped = bytesTrained(phases) >= groupedFrom } = options;
  const count = batchSize / shard.ranks;
  const isDivisible =
    !isApart && !isGrouped && !separateCalls && !trace && !phases.some(({ needsWholeBatch }) => needsWholeBatch);
  const parts = isDivisible && isDivided ? partsOf(count) : 1;
  const isMerged =
    !isApart &&
    !isGrouped &&
    !separateCalls &&
    parts === 1 &&
    phases.length > 1 &&
    phases.every(({ every = 1 }) => every === 1);
  const context: ProgramContext = { phases, isApart, isGrouped, isMerged, parts, trace, onNonFinite };

  return {
    name,
    numSteps,
    batchSize: samplesPerStep,
    ranks: shard.ranks,
    functions: programFunctions(context),
    ...(isDivisible ? { divided: () => programInParts(options, true) } : {}),
    ...(isGrouped
      ? { scratch: Object.assign({}, ...phases.map((phase) => scratchSpecs(groupedUpdate(context, phase)))) }
      : {}),
    ...(parts > 1 ? { scratch: Object.assign({}, ...phases.map((phase) => partScratch(phase, parts))) } : {}),
    initialState: () => initialState(context, options.initialWeights()),
    initialCounters: { ...Object.fromEntries(phases.map((phase) => [counterOf(phase), 0])), skipped: 0 },
    async draw(step, onDevice = false) {
      const firstOfStep = step * samplesPerStep;
      // Of each call, in the order of the calls.
      const rows = Array.from({ length: accumulation * parts }, (_, i) => {
        const [microStep, part] = [Math.floor(i / parts), i % parts];
        const first = firstOfStep + microStep * batchSize + shard.rank * count + (part * count) / parts;
        return { step, first, count: count / parts, firstOfStep, batchSize: samplesPerStep };
      });
      const inputs: Record<string, readonly HostTree[]> = {};
      for (const phase of phases)
        inputs[keyOf(phase)] = isActive(phase, step)
          ? await Promise.all(rows.map(async (ofCall) => phase.draw(ofCall, onDevice)))
          : [];
      return inputs;
    },
    calls(step, counters, inputs) {
      const calls = phases.flatMap((phase) => phaseCalls(context, phase, { step, counters, inputs }));
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
      let next = 0;
      const results = active.map((phase) => {
        if (isMerged) return [subtree(keyOf(phase), outputs[0]!)];
        const count = numCalls(context, phase, accumulation);
        return outputs.slice(next, (next += count));
      });
      return finishStep({ name, step, counters, policy: onNonFinite, phases: active, results });
    },
  };
}

/** Samples that keep a processor core busy; more in a part need more memory and are not faster. */
const [fewestInPart, mostInPart] = [8, 16];

/**
 * Parts that `count` samples are computed in: few and small, four or two or a multiple of them where it can be, so that cores
 * end together. The machine has no say: a run has the same numbers on any.
 */
function partsOf(count: number): number {
  const possible = Array.from({ length: count }, (_, i) => i + 1)
    .filter((parts) => count % parts === 0)
    .filter((parts) => parts <= 2 || count / parts >= fewestInPart);
  const small = possible.filter((parts) => count / parts <= mostInPart);
  const multipleOf = (factor: number) => small.find((parts) => parts % factor === 0);
  return multipleOf(4) ?? multipleOf(2) ?? small[0] ?? possible.at(-1)!;
}

function bytesTrained(phases: readonly Phase[]): number {
  const shapes = phases.flatMap(({ trains }) => Object.values(trains.parameters).map(({ shape }) => shape));
  return shapes.reduce((sum, shape) => sum + 4 * sizeOf(shape), 0);
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

/** The number of calls of a phase that does not rest. */
function numCalls(context: ProgramContext, phase: Phase, accumulation: number): number {
  const groups = context.isGrouped ? groupCalls(groupedUpdate(context, phase), {}).length : 0;
  if (context.parts > 1) return context.parts + 1;
  return (context.isApart ? accumulation + 1 : 1) + groups;
}

function phaseCalls(
  context: ProgramContext,
  phase: Phase,
  { step, counters, inputs }: { step: number; counters: Counters; inputs: PhaseInputs },
): StepCall[] {
  const { isApart, isGrouped, parts } = context;
  const microSteps = inputs[keyOf(phase)] ?? [];
  if (microSteps.length === 0) return [];
  const updates = counters[counterOf(phase)] ?? 0;
  const scalars = withPrefix('optimizer', optimizerScalars(phase.optimizer, phase.learningRate(step), updates));
  if (phase.average) scalars['averageRate'] = scalar(1 - phase.average.decay(updates));
  const key = keyOf(phase);
  if (parts > 1) {
    const calls = microSteps.map((values, i) => ({
      fn: `${key}Part`,
      inputs: values,
      scratch: partNames(phase, i),
      part: { of: parts },
    }));
    return [...calls, { fn: `${key}Update`, inputs: scalars }];
  }
  const groups = isGrouped ? groupCalls(groupedUpdate(context, phase), scalars) : [];
  if (!isApart && isGrouped) return [{ fn: `${key}Gradients`, inputs: microSteps[0]! }, ...groups];
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
    ...(isGrouped ? [{ fn: `${key}Decision`, inputs: {} }, ...groups] : [{ fn: `${key}Update`, inputs: scalars }]),
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
