/**
 * Fusable ops: each has a kernel name that an engine may register for its tfjs backend, and a composition of plain tfjs
 * ops for every other backend.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import type { FusableAttributes, FusableInputs, FusableKernelName, FusableOutputs } from './fusable-kernels.js';

/** Runs kernel `name` if the current backend has it, else `composition`. */
export function runFusable<Name extends FusableKernelName>(
  name: Name,
  inputs: FusableInputs<Name, Tensor>,
  attributes: FusableAttributes<Name>,
  composition: () => FusableOutputs<Name, Tensor>,
): FusableOutputs<Name, Tensor> {
  return hasKernel(name) ? runKernel(name, inputs, attributes) : composition();
}

/** Runs a kernel that the current backend has; see `hasKernel`. */
export function runKernel<Name extends FusableKernelName>(
  name: Name,
  inputs: FusableInputs<Name, Tensor>,
  attributes: FusableAttributes<Name>,
): FusableOutputs<Name, Tensor> {
  const given = Object.fromEntries(
    Object.entries<Tensor | undefined>({ ...inputs }).flatMap(([key, tensor]) => (tensor ? [[key, tensor]] : [])),
  );
  const result = tf.engine().runKernel<Tensor | Tensor[]>(name, given, attributes as unknown as tf.NamedAttrMap);
  // As many as the table says: an engine's kernels are typed by it.
  return (Array.isArray(result) ? result : [result]) as unknown as FusableOutputs<Name, Tensor>;
}

/** True if the current backend has a kernel of this name: for ops whose gradient is fused only together with their value. */
export function hasKernel(name: FusableKernelName, backendName: string = tf.getBackend()): boolean {
  return Boolean(tf.getKernel(name, backendName));
}

/** True while tfjs records a gradient, that is, if a custom gradient made now can be asked for its derivative. */
export function isRecordingGradient(): boolean {
  return (tf.engine() as unknown as { isTapeOn(): boolean }).isTapeOn();
}

/** What `withGradient` gets from the forward function. */
export interface DifferentiableResult {
  readonly value: Tensor;
  /** Gradients with respect to each input, in order, from the upstream gradient and the saved tensors. */
  readonly gradient: (upstream: Tensor, saved: Tensor[]) => readonly Tensor[];
}

/** A tensor function with a hand-written gradient. Nothing inside `forward` is recorded. */
export function withGradient(
  inputs: Tensor[],
  forward: (inputs: Tensor[], save: (tensors: Tensor[]) => void) => DifferentiableResult,
): Tensor {
  const differentiable = tf.customGrad((...args) => {
    const save = args[inputs.length] as unknown as tf.GradSaveFunc;
    const { value, gradient } = forward(args.slice(0, inputs.length) as Tensor[], save);
    return { value, gradFunc: (upstream, saved) => [...gradient(upstream as Tensor, saved)] };
  });
  return differentiable(...inputs);
}
