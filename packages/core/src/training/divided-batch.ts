/**
 * A batch computed in parts that can run at the same time: the threads of a processor that work on parts of their own need not
 * wait for each other at every operation. Each part leaves its gradients in a scratch of its own; the update adds them up.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { PureFunction } from '../engine/engine.js';
import { subtree, withPrefix, type SpecTree, type TensorTree } from '../tensors/tensors.js';
import { gradientNames } from './grouped-update.js';
import type { Phase } from './phase.js';

/** What an update is made of. */
export interface UpdateArguments {
  readonly gradients: TensorTree;
  readonly inputs: TensorTree;
  readonly loss?: tf.Tensor | undefined;
}

const ownGradients = 'part/gradient';
const ownLoss = 'part/loss';

/** Gradients and loss of a part, under its own names for them. */
export function partFunction(phase: Phase): PureFunction {
  return (state, inputs) => {
    const { gradients, outputs } = phase.gradients(state, inputs);
    return { state: { ...withPrefix(ownGradients, gradients), [ownLoss]: outputs['loss']! }, outputs };
  };
}

/** The update by the sums over the parts. */
export function wholeUpdateFunction(
  phase: Phase,
  parts: number,
  update: (state: TensorTree, given: UpdateArguments) => { state: TensorTree; outputs: TensorTree },
): PureFunction {
  return (state, inputs) => {
    const ofParts = Array.from({ length: parts }, (_, i) => {
      const held = Object.entries(partNames(phase, i)).map(([own, name]) => [own, state[name]!] as const);
      return Object.fromEntries(held);
    });
    const sum = (own: string) => tf.addN(ofParts.map((part) => part[own]!));
    const names = Object.keys(subtree(ownGradients, ofParts[0]!));
    return update(state, {
      gradients: Object.fromEntries(names.map((name) => [name, sum(`${ownGradients}/${name}`)])),
      inputs,
      loss: sum(ownLoss),
    });
  };
}

/** Names in the scratch of what a part leaves, by its own. Phases whose parameters have the same shapes share them. */
export function partNames({ trains }: Phase, part: number): Record<string, string> {
  const held = Object.entries(gradientNames(trains.parameters)).map(([name, scratch]) => [
    `${ownGradients}/${name}`,
    `${scratch}/part ${part}`,
  ]);
  return { ...(Object.fromEntries(held) as Record<string, string>), [ownLoss]: `scratch/loss/part ${part}` };
}

/** The scratch of all parts. */
export function partScratch(phase: Phase, parts: number): SpecTree {
  const { parameters } = phase.trains;
  const specs = withPrefix(ownGradients, parameters) as SpecTree;
  return Object.assign(
    {},
    ...Array.from({ length: parts }, (_, i) =>
      Object.fromEntries(
        Object.entries(partNames(phase, i)).map(([own, name]) => [name, specs[own] ?? { dtype: 'float32', shape: [] }]),
      ),
    ),
  ) as SpecTree;
}
