/** What a lowering of one tfjs kernel looks like. */
import {
  DimoError,
  type FusableAttributes,
  type FusableInputs,
  type FusableKernelName,
  type FusableOutputs,
} from '@dimo/core';
import type { GraphBuilder } from '../builder.js';
import type { LazyTensor, TracedTensor } from '../lazy.js';
import { settle } from '../lazy-reshape.js';

/** Lowers one call: tensors by the kernel's input names, plain attributes. */
export type TraceKernel = (
  builder: GraphBuilder,
  inputs: Record<string, TracedTensor>,
  attributes: Record<string, unknown>,
) => TracedTensor | readonly TracedTensor[];

/** Lowerings by kernel name. */
export type KernelTable = Readonly<Record<string, TraceKernel>>;

/**
 * Types a lowering by its input names and tfjs' attribute interface.
 *
 * @param lower - `inputs` has every name of `Names`; tfjs checked that before it called the kernel.
 */
export function kernel<Names extends string, KernelAttributes = unknown>(
  lower: (
    builder: GraphBuilder,
    inputs: Record<Names, LazyTensor>,
    attributes: KernelAttributes,
  ) => LazyTensor | readonly LazyTensor[],
): TraceKernel {
  return (builder, inputs, attributes) => {
    const settled = Object.entries(inputs).map(([name, tensor]) => [name, settle(builder, tensor)]);
    return lower(builder, Object.fromEntries(settled) as Record<Names, LazyTensor>, attributes as KernelAttributes);
  };
}

/** As `kernel`, for lowerings that know what to do with a pending reshape. */
export function reshapeKernel<Names extends string, KernelAttributes = unknown>(
  lower: (builder: GraphBuilder, inputs: Record<Names, TracedTensor>, attributes: KernelAttributes) => TracedTensor,
): TraceKernel {
  return (builder, inputs, attributes) =>
    lower(builder, inputs as Record<Names, TracedTensor>, attributes as KernelAttributes);
}

/** A lowering of a kernel of core's table, by the tensors that it takes. */
export interface FusableLowering<Name extends FusableKernelName, T extends TracedTensor> {
  (
    builder: GraphBuilder,
    inputs: FusableInputs<Name, T>,
    attributes: FusableAttributes<Name>,
  ): FusableOutputs<Name, TracedTensor>;
}

/** A lowering for which pending reshapes are settled first. */
export function settled<Name extends FusableKernelName>(
  lower: FusableLowering<Name, LazyTensor>,
): FusableLowering<Name, TracedTensor> {
  return (builder, inputs, attributes) => {
    const given = Object.entries<TracedTensor | undefined>({ ...inputs }).flatMap(([name, tensor]) =>
      tensor ? [[name, settle(builder, tensor)]] : [],
    );
    return lower(builder, Object.fromEntries(given) as FusableInputs<Name, LazyTensor>, attributes);
  };
}

/** Types a lowering whose inputs are a list. */
export function listKernel<KernelAttributes = unknown>(
  lower: (
    builder: GraphBuilder,
    inputs: readonly LazyTensor[],
    attributes: KernelAttributes,
  ) => LazyTensor | readonly LazyTensor[],
): TraceKernel {
  return (builder, inputs, attributes) => {
    const settled = Object.values(inputs).map((tensor) => settle(builder, tensor));
    return lower(builder, settled, attributes as KernelAttributes);
  };
}

/** Throws: this form of the kernel has no lowering. */
export function unsupported(message: string): never {
  throw new DimoError('trace', message);
}

/** Non-negative axes in ascending order; `undefined` and null mean all. */
export function parseAxes(axis: number | readonly number[] | undefined | null, rank: number): number[] {
  const given = axis === undefined || axis === null ? Array.from({ length: rank }, (_, index) => index) : [axis].flat();
  return [...new Set(given.map((index) => (index < 0 ? index + rank : index)))].sort((a, b) => a - b);
}
