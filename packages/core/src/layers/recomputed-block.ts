/**
 * Recomputation of activations (Chen et al., arXiv 1604.06174): of each block of a network only the input is kept for the
 * backward pass, which runs the block a second time: at most a third more products, and the memory of one block's
 * activations instead of all.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import { isRecordingGradient, withGradient } from '../ops/dispatch.js';
import { after } from '../ops/after.js';
import { sizeOf, type TensorTree } from '../tensors/tensors.js';
import type { PureFunction } from '../engine/engine.js';

/** What a block computes from its weights and activations: float32 tensors. */
export type Block<Results extends readonly Tensor[]> = (
  weights: TensorTree,
  activations: readonly Tensor[],
) => readonly [...Results];

/** The weights whose names begin with `prefix` and a dot, under their full names. */
export function weightsBelow(weights: TensorTree, prefix: string): TensorTree {
  return Object.fromEntries(Object.entries(weights).filter(([name]) => name.startsWith(`${prefix}.`)));
}

let isRecomputing = false;

/** The program with the blocks of its networks computed again for their gradients; its numbers are equal but for rounding. */
export function recomputeBlocks<Program extends { readonly functions: Readonly<Record<string, PureFunction>> }>(
  program: Program,
): Program {
  const recomputing =
    (fn: PureFunction): PureFunction =>
    (state, inputs) => {
      const before = isRecomputing;
      isRecomputing = true;
      try {
        return fn(state, inputs);
      } finally {
        isRecomputing = before;
      }
    };
  const functions = Object.entries(program.functions).map(([name, fn]) => [name, recomputing(fn)]);
  return { ...program, functions: Object.fromEntries(functions) as Program['functions'] };
}

/**
 * A block of a network, computed a second time for its gradient where a training asks for it (see `recomputeBlocks`). It is
 * for models to call, once for each of their blocks.
 *
 * @param weights - float32 weights that the block reads, and no others: their gradients are computed.
 * @param activations - float32 tensors of rank 1 or more: all that depend on trained weights, and all that the model has made
 *   itself. What the block reads besides can only be what the model was given, as conditions and dropout.
 * @param block - pure: the same numbers each time.
 */
export function recomputedBlock<Results extends readonly Tensor[]>(
  weights: TensorTree,
  activations: readonly Tensor[],
  block: Block<Results>,
): readonly [...Results] {
  if (!isRecomputing || !isRecordingGradient()) return block(weights, activations);
  const names = Object.keys(weights);
  let shapes: number[][] = [];
  // tfjs differentiates functions with one result, so several travel as one vector.
  const compute = (tensors: readonly Tensor[]): Tensor => {
    const own = Object.fromEntries(names.map((name, i) => [name, tensors[i]!]));
    const results = block(own, tensors.slice(names.length));
    shapes = results.map(({ shape }) => shape);
    return results.length === 1 ? results[0]! : tf.concat(results.map((result) => tf.reshape(result, [-1])));
  };
  const inputs = [...names.map((name) => weights[name]!), ...activations];
  const packed = withGradient(inputs, (given, save) => {
    save(given);
    return {
      value: compute(given),
      gradient: (dy, saved) => {
        // Not before the gradient is there, or an engine might compute all blocks again first, and keep the results.
        const again = saved.map((tensor, i) => (i < names.length ? tensor : after(tensor, [dy])));
        const gradients = gradientsWithin(compute, again, dy);
        // And the gradients of the weights before the next block, or what they are made of would be kept.
        const ofWeights = gradients.slice(0, names.length);
        return [...ofWeights, ...gradients.slice(names.length).map((gradient) => after(gradient, ofWeights))];
      },
    };
  });
  if (shapes.length === 1) return [packed] as unknown as readonly [...Results];
  const parts = tf.split(packed, shapes.map(sizeOf));
  return parts.map((part, i) => tf.reshape(part, shapes[i]!)) as unknown as readonly [...Results];
}

/** Gradients while tfjs is at the backward pass of others, whose records it would lose. */
function gradientsWithin(fn: (inputs: readonly Tensor[]) => Tensor, inputs: Tensor[], dy: Tensor): Tensor[] {
  const { state } = tf.engine();
  const { activeTape } = state;
  try {
    const { grads } = tf.engine().gradients(() => fn(inputs), inputs, dy, true);
    return inputs.map((input, i) => grads[i] ?? tf.zerosLike(input));
  } finally {
    state.activeTape = activeTape;
  }
}
