/** Graphs that copy tensors between the host and a provider's device. */
import type { DType, PureFunction, SpecTree } from '@dimo/core';
import type { LoweringOptions } from '../builder.js';
import { emitModel } from '../emit.js';
import { trace } from '../trace.js';
import type { CopyModel, Residence } from './protocol.js';

/** Ranks of tensors that a model's weights and its optimizer's moments have. */
const ranks = [0, 1, 2, 3, 4, 5];

/**
 * Copying graphs for all tensors that can be kept on the device.
 *
 * @param executionProviders - as in the session options of onnxruntime.
 */
export function residenceOn(executionProviders: readonly unknown[]): Residence {
  const identity: PureFunction = ({ x }) => ({ outputs: { x: x! } });
  const copies = (['float32', 'int32'] satisfies DType[]).flatMap((dtype) =>
    ranks.map((rank): CopyModel => {
      const state: SpecTree = { x: { dtype, shape: Array.from({ length: rank }, () => 1) } };
      const graph = trace(identity, { state, inputs: {} });
      return { dtype, rank, model: emitModel(graph, { dimensionName: (_, axis) => `axis${axis}` }) };
    }),
  );
  return { copies, sessionOptions: { executionProviders, logSeverityLevel: 4 } };
}

/** What the tracer has to know of the WebGPU provider's operators. */
export const webgpuLowering: LoweringOptions = { returnsInverseRms: false, fusesAttention: false };
