/** What a graph costs to run, from its shapes alone. */
import { sizeOf } from '@dimo/core';
import type { GraphNode, TracedGraph, Value } from './graph.js';

/** Cost of one run of a graph. */
export interface GraphCost {
  /** Floating-point operations of matrix products and convolutions, two for each multiplication with its addition. */
  readonly matrixOperations: number;
  /** Bytes that all other operators read and write. */
  readonly otherBytes: number;
  /** Most bytes that intermediate results take at one time, if each is released after its last use; without outputs. */
  readonly peakBytes: number;
}

/** Counts the cost of a graph. */
export function graphCost(graph: TracedGraph): GraphCost {
  const lastUse = new Map<Value, number>();
  graph.nodes.forEach((node, index) => {
    for (const value of node.inputs) if (value) lastUse.set(value, index);
  });
  const outputs = new Set(graph.outputs.map(({ value }) => value));
  let matrixOperations = 0;
  let otherBytes = 0;
  let live = 0;
  let peakBytes = 0;
  graph.nodes.forEach((node, index) => {
    const operations = matrixOperationsOf(node);
    if (operations > 0) matrixOperations += operations;
    else if (!isView(node)) for (const value of [...node.inputs, ...node.outputs]) otherBytes += bytesOf(value);
    for (const value of node.outputs) if (!outputs.has(value)) live += bytesOf(value);
    peakBytes = Math.max(peakBytes, live);
    for (const value of new Set([...node.inputs, ...node.outputs]))
      if (value?.source.kind === 'node' && !outputs.has(value) && (lastUse.get(value) ?? index) === index)
        live -= bytesOf(value);
  });
  return { matrixOperations, otherBytes, peakBytes };
}

function matrixOperationsOf({ op, inputs, outputs, attributes }: GraphNode): number {
  const [a, b] = inputs;
  const out = outputs[0];
  if (!a || !b || !out) return 0;
  switch (op) {
    case 'MatMul':
      return 2 * sizeOf(out.shape) * (a.shape.at(-1) ?? 1);
    case 'MultiHeadAttention':
      // Queries [batch, rows, width] with keys [batch, columns, width], and the probabilities with values as wide as `out`.
      return 2 * b.shape[1]! * (sizeOf(a.shape) + sizeOf(out.shape));
    case 'Gemm':
      return 2 * sizeOf(out.shape) * a.shape[flag(attributes, 'transA') ? 0 : 1]!;
    case 'Conv':
      // Weights [out, in / groups, ...kernel]: each output is a sum over all but the first axis.
      return 2 * sizeOf(out.shape) * sizeOf(b.shape.slice(1));
    case 'ConvTranspose':
      // Weights [in, out / groups, ...kernel]: each input goes into a product with all but the first axis.
      return 2 * sizeOf(a.shape) * sizeOf(b.shape.slice(1));
    default:
      return 0;
  }
}

function flag(attributes: GraphNode['attributes'], name: string): boolean {
  const attribute = attributes[name];
  return attribute?.kind === 'int' && attribute.value !== 0;
}

function isView({ op }: GraphNode): boolean {
  return op === 'Reshape' || op === 'Squeeze' || op === 'Unsqueeze' || op === 'Identity';
}

function bytesOf(value: Value | undefined): number {
  if (!value) return 0;
  const width = value.type === 'bool' ? 1 : value.type === 'int64' ? 8 : 4;
  return sizeOf(value.shape) * width;
}
