/** Moves an addition of a bias into the operator that makes the other operand. */
import type { GraphNode, TracedGraph, Value } from '../graph.js';
import { removeDeadNodes } from './dead-nodes.js';

/** Axis of the result along which the bias of an operator runs. */
const biasAxis: Readonly<Record<string, (rank: number) => number>> = {
  Gemm: (rank) => rank - 1,
  Conv: () => 1,
  ConvTranspose: () => 1,
};

/**
 * Add(Gemm(a, b), bias), Add(Conv(x, w), bias) and Add(ConvTranspose(x, w), bias) as one node, where the product has no other reader and the bias varies
 * along the output channels only.
 */
export function fuseBias(graph: TracedGraph): TracedGraph {
  const readers = new Map<Value, number>();
  const count = (value: Value | undefined) => value && readers.set(value, (readers.get(value) ?? 0) + 1);
  for (const node of graph.nodes) node.inputs.forEach(count);
  for (const port of graph.outputs) count(port.value);
  const nodes = graph.nodes.map((node) => fused(node, readers) ?? node);
  return removeDeadNodes({ ...graph, nodes });
}

function fused(node: GraphNode, readers: ReadonlyMap<Value, number>): GraphNode | undefined {
  if (node.op !== 'Add') return undefined;
  const [a, b] = node.inputs as [Value, Value];
  for (const [product, bias] of [
    [a, b],
    [b, a],
  ] as const) {
    const { source } = product;
    if (source.kind !== 'node' || readers.get(product) !== 1 || source.node.inputs.length !== 2) continue;
    const axisOf = Object.hasOwn(biasAxis, source.node.op) ? biasAxis[source.node.op] : undefined;
    const vector = axisOf && biasVector(bias, product, axisOf(product.shape.length));
    if (vector) return { ...source.node, inputs: [...source.node.inputs, vector], id: node.id, outputs: node.outputs };
  }
  return undefined;
}

/** The vector [channels] behind a bias that broadcasts along one axis, if it is available without a new node. */
function biasVector(bias: Value, product: Value, axis: number): Value | undefined {
  const channels = product.shape[axis]!;
  const position = axis - product.shape.length + bias.shape.length;
  const isAlongAxis = bias.shape.every((length, index) => length === (index === position ? channels : 1));
  if (!isAlongAxis || (channels === 1 && bias.shape.length === 0)) return undefined;
  if (bias.shape.length === 1) return bias;
  const { source } = bias;
  const origin = source.kind === 'node' && source.node.op === 'Reshape' ? source.node.inputs[0] : undefined;
  return origin?.shape.length === 1 ? origin : undefined;
}
