/** An engine that computes nothing: it traces what it is asked to run, and counts the cost. */
import {
  sizeOf,
  type DeviceTree,
  type Engine,
  type FunctionSignature,
  type HostTensor,
  type HostTree,
  type PureFunction,
  type SpecTree,
} from '@dimo/core';
import { graphCost, leanGraph, trace, type GraphCost } from '@dimo/onnx';
import { bytesOfSpecs } from '../run/spec-bytes.js';

/** Cost of everything that was run. */
export interface WorkCost extends GraphCost {
  /** Bytes of state that is replaced, and while that happens there twice. */
  readonly replacedBytes: number;
}

/** Nothing. */
export const noWork: WorkCost = { matrixOperations: 0, otherBytes: 0, peakBytes: 0, replacedBytes: 0 };

/** The cost of both, one after the other. */
export function addWork(a: WorkCost, b: WorkCost, times = 1): WorkCost {
  return {
    matrixOperations: a.matrixOperations + times * b.matrixOperations,
    otherBytes: a.otherBytes + times * b.otherBytes,
    peakBytes: Math.max(a.peakBytes, b.peakBytes),
    replacedBytes: Math.max(a.replacedBytes, b.replacedBytes),
  };
}

/**
 * The cost of one run of a function.
 *
 * @param scratch - what is written in place. @default nothing
 */
export function workOf(fn: PureFunction, signature: FunctionSignature, scratch: SpecTree = {}): WorkCost {
  return traced(fn, signature, scratch).cost;
}

function traced(
  fn: PureFunction,
  signature: FunctionSignature,
  scratch: SpecTree = {},
): { readonly cost: WorkCost; readonly outputs: SpecTree } {
  // Traced once: whether the function is pure is for the engine to find out that runs it.
  const graph = leanGraph(trace(fn, signature, { checkPurity: false }));
  const ofRole = (role: 'output' | 'newState') => graph.outputs.filter((port) => port.role === role);
  return {
    cost: {
      ...graphCost(graph),
      replacedBytes: bytesOfSpecs(ofRole('newState').filter(({ key }) => !Object.hasOwn(scratch, key))),
    },
    outputs: Object.fromEntries(ofRole('output').map(({ key, dtype, shape }) => [key, { dtype, shape }])),
  };
}

/** An engine that records, and what it has recorded. */
export interface RecordingEngine extends Engine {
  work(): WorkCost;
}

/** A fresh one. What it runs gives zeros. */
export function recordingEngine(): RecordingEngine {
  let work = noWork;
  return {
    info: { name: 'recording', device: 'none', versions: {} } as unknown as Engine['info'],
    upload: () => Promise.reject(new Error('the recording engine holds no weights')),
    compile(fn, signature) {
      const { cost, outputs } = traced(fn, signature);
      return Promise.resolve({
        signature,
        run() {
          work = addWork(work, cost);
          return Promise.resolve(zeros(outputs));
        },
        dispose: () => Promise.resolve(),
      });
    },
    dispose: () => Promise.resolve(),
    work: () => work,
  };
}

/** Weights for an engine that reads none. */
export const noWeights = {} as DeviceTree;

/** Zeros of these shapes. */
export function zeros(specs: SpecTree): HostTree {
  const data = { float32: Float32Array, int32: Int32Array, bool: Uint8Array } as const;
  return Object.fromEntries(
    Object.entries(specs).map(([name, { dtype, shape }]) => [
      name,
      { dtype, shape, data: new data[dtype](sizeOf(shape)) } as HostTensor,
    ]),
  );
}
