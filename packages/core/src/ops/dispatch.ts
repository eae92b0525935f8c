/**
 * Fusable ops: each has a kernel name that an engine may register for its tfjs backend, and a composition of plain tfjs
 * ops for every other backend.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';

/** Named tensors; an absent optional one is `undefined`. */
export type KernelInputs = Record<string, Tensor | undefined>;
/** Plain numbers, strings and flags. */
export type KernelAttributes = Record<string, number | string | boolean>;

/**
 * Runs kernel `name` if the current backend has it, else `composition`.
 *
 * @returns the kernel's outputs in their documented order.
 */
export function runFusable(
  name: string,
  inputs: KernelInputs,
  attributes: KernelAttributes,
  composition: () => Tensor[],
): Tensor[] {
  if (!hasKernel(name)) return composition();
  const given = Object.fromEntries(Object.entries(inputs).filter(([, tensor]) => tensor !== undefined)) as Record<
    string,
    Tensor
  >;
  const result = tf.engine().runKernel<Tensor | Tensor[]>(name, given, attributes);
  return Array.isArray(result) ? result : [result];
}

/** True if the current backend has a kernel of this name: for ops whose gradient is fused only together with their value. */
export function hasKernel(name: string): boolean {
  return Boolean(tf.getKernel(name, tf.getBackend()));
}

/** True while tfjs records a gradient, that is, if a custom gradient made now can be asked for its derivative. */
export function isRecordingGradient(): boolean {
  return (tf.engine() as unknown as { isTapeOn(): boolean }).isTapeOn();
}

/** What `withGradient` gets from the forward function. */
export interface DifferentiableResult {
  readonly value: Tensor;
  /** Gradients with respect to each input, in order, from the upstream gradient and the saved tensors. */
  readonly gradient: (upstream: Tensor, saved: Tensor[]) => Tensor[];
}

/** A tensor function with a hand-written gradient. Nothing inside `forward` is recorded. */
export function withGradient(
  inputs: Tensor[],
  forward: (inputs: Tensor[], save: (tensors: Tensor[]) => void) => DifferentiableResult,
): Tensor {
  const differentiable = tf.customGrad((...args) => {
    const save = args[inputs.length] as unknown as tf.GradSaveFunc;
    const { value, gradient } = forward(args.slice(0, inputs.length) as Tensor[], save);
    return { value, gradFunc: (upstream, saved) => gradient(upstream as Tensor, saved) };
  });
  return differentiable(...inputs);
}
