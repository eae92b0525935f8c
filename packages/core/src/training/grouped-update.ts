/**
 * An update in groups of tensors, after the gradients: the new values of one group take the places of the old ones before
 * the next is computed, so that they need memory beside the old ones for one group and not for the whole state. Whether the
 * update is made is decided before the first group. Parameters of one shape are interchangeable: one compiled function
 * serves all groups of as many.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { PureFunction } from '../engine/engine.js';
import { sizeOf, subtree, withPrefix, type HostTree, type SpecTree, type TensorTree } from '../tensors/tensors.js';
import type { NonFinitePolicy, ResolvedOptimizerOptions } from './optimizer-options.js';
import type { StepCall } from './training.js';
import { updateParameters, type UpdateDecision } from './update.js';

/** Bytes of parameters in a group, if one parameter is not larger. */
const groupBytes = 2 ** 23;

/** Parameters of one shape that one call updates. */
interface UpdateGroup {
  readonly parameters: readonly string[];
  /** Distinguishes the functions of groups; equal for groups that one function serves. */
  readonly kind: string;
}

/** What is updated, and where it is in the state. */
export interface GroupedUpdate {
  /** The beginning of the names of its functions. */
  readonly name: string;
  readonly parameters: SpecTree;
  /** Prefixes of parameters, moments (`<prefix>/m`, `<prefix>/v`) and the moving average. */
  readonly prefixes: { readonly parameters: string; readonly moments: string; readonly average?: string };
  /** Prefix of the sums of gradients, which the update clears. @default gradients are in the scratch */
  readonly sums?: string;
  readonly optimizer: ResolvedOptimizerOptions;
  readonly policy: NonFinitePolicy;
}

const appliedName = 'scratch/applied';
const clipFactorName = 'scratch/clipFactor';

/** The decision as scratch that the groups read. */
export function decisionScratch({ applied, clipFactor }: UpdateDecision): TensorTree {
  return { [appliedName]: applied, [clipFactorName]: clipFactor };
}

/** Gradients as scratch that the groups read. */
export function gradientScratch({ parameters }: GroupedUpdate, gradients: TensorTree): TensorTree {
  const names = gradientNames(parameters);
  return Object.fromEntries(Object.entries(gradients).map(([name, gradient]) => [names[name]!, gradient]));
}

/** Scratch of an update. Updates whose parameters have the same shapes share it. */
export function scratchSpecs({ parameters, sums }: GroupedUpdate): SpecTree {
  const names = sums === undefined ? gradientNames(parameters) : {};
  return {
    [appliedName]: { dtype: 'float32', shape: [] },
    [clipFactorName]: { dtype: 'float32', shape: [] },
    ...Object.fromEntries(Object.entries(names).map(([name, held]) => [held, parameters[name]!])),
  };
}

/** The functions of an update, by name. */
export function groupFunctions(update: GroupedUpdate): Record<string, PureFunction> {
  return Object.fromEntries(groupsOf(update).map(({ kind }) => [kind, groupFunction(update)]));
}

/**
 * The calls of an update, one for each group.
 *
 * @param scalars - `optimizer/...` of `optimizerScalars`, and `averageRate`.
 */
export function groupCalls(update: GroupedUpdate, scalars: HostTree): StepCall[] {
  const { prefixes, sums } = update;
  const scratch = gradientNames(update.parameters);
  return groupsOf(update).map(({ kind, parameters }) => ({
    fn: kind,
    inputs: scalars,
    state: Object.assign(
      { applied: appliedName, clipFactor: clipFactorName },
      ...parameters.map((name, i) => ({
        [`parameter/${i}`]: `${prefixes.parameters}/${name}`,
        [`gradient/${i}`]: sums === undefined ? scratch[name]! : `${sums}/${name}`,
        [`m/${i}`]: `${prefixes.moments}/m/${name}`,
        [`v/${i}`]: `${prefixes.moments}/v/${name}`,
        ...(prefixes.average === undefined ? {} : { [`average/${i}`]: `${prefixes.average}/${name}` }),
      })),
    ) as Record<string, string>,
  }));
}

/** Updates as many parameters as the state has, numbered. */
function groupFunction({ prefixes, sums, optimizer, policy }: GroupedUpdate): PureFunction {
  return (state, inputs) => {
    const gradients = subtree('gradient', state);
    const updated = updateParameters(
      {
        parameters: subtree('parameter', state),
        gradients,
        moments: state,
        scalars: subtree('optimizer', inputs),
        ...(prefixes.average === undefined
          ? {}
          : { average: { weights: subtree('average', state), rate: inputs['averageRate']! } }),
      },
      { applied: state['applied'] as tf.Scalar, clipFactor: state['clipFactor'] as tf.Scalar },
      optimizer,
      policy,
    );
    const zeros = Object.entries(gradients).map(([i, sum]) => [i, tf.zerosLike(sum)] as const);
    return {
      state: {
        ...withPrefix('parameter', updated.parameters),
        ...updated.moments,
        ...withPrefix('average', updated.average),
        ...(sums === undefined ? {} : withPrefix('gradient', Object.fromEntries(zeros))),
      },
      outputs: {},
    };
  };
}

function groupsOf({ name, parameters }: GroupedUpdate): UpdateGroup[] {
  return [...byShape(parameters)].flatMap(([shape, names]) => {
    const count = Math.max(1, Math.floor(groupBytes / (4 * sizeOf(parameters[names[0]!]!.shape))));
    return Array.from({ length: Math.ceil(names.length / count) }, (_, i) => {
      const group = names.slice(i * count, (i + 1) * count);
      return { parameters: group, kind: `${name}/${group.length} of ${shape}` };
    });
  });
}

/** Scratch tensor of the gradient of each parameter: numbered among those of its shape. */
export function gradientNames(parameters: SpecTree): Record<string, string> {
  return Object.fromEntries(
    [...byShape(parameters)].flatMap(([shape, names]) =>
      names.map((name, i) => [name, `scratch/gradient/${shape}/${i}`] as const),
    ),
  );
}

function byShape(parameters: SpecTree): Map<string, string[]> {
  const groups = new Map<string, string[]>();
  for (const [name, { shape }] of Object.entries(parameters)) {
    const key = shape.join('x');
    groups.set(key, [...(groups.get(key) ?? []), name]);
  }
  return groups;
}
