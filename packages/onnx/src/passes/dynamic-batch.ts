/**
 * One graph for every batch size, from two traces at different sizes: where their shape constants differ, the batch
 * axis is left open or computed from an input.
 */
import { DimoError } from '@dimo/core';
import { int, sameShape, type GraphNode, type GraphPort, type TracedGraph, type Value } from '../graph.js';
import { operatorName } from '../describe.js';

/** Two batch sizes without a common factor, so large that no other length of a model is a multiple of either. */
export const probeBatchSizes = [1009, 2003] as const;

/** A graph whose ports have a length that depends on the batch. */
export interface DynamicGraph {
  readonly graph: TracedGraph;
  /** Factor by which a port's axis is longer than the batch; undefined if it is fixed. */
  readonly batchFactor: (port: GraphPort, axis: number) => number | undefined;
}

function refuse(what: string): never {
  throw new DimoError('trace', `the graph cannot be made independent of the batch size: ${what}`, {
    hint: 'export it for a fixed batch size instead',
  });
}

/** k if a = k * first probe and b = k * second probe. */
function factorOf(a: number, b: number): number | undefined {
  const factor = a / probeBatchSizes[0];
  return Number.isInteger(factor) && factor > 0 && b === factor * probeBatchSizes[1] ? factor : undefined;
}

/**
 * Joins two traces of one function at the two `probeBatchSizes`.
 *
 * @throws DimoError with code `trace` if more than lengths of tensors depends on the batch size.
 */
export function joinBatchSizes(first: TracedGraph, second: TracedGraph): DynamicGraph {
  if (first.nodes.length !== second.nodes.length) refuse('it has other nodes at another size');
  const source = first.inputs.flatMap((port, index) => {
    const axis = port.shape.findIndex((length, i) => factorOf(length, second.inputs[index]?.shape[i] ?? 0) === 1);
    return axis < 0 ? [] : [{ value: port.value, axis }];
  })[0];
  if (!source) return refuse('no input has a batch axis');
  const extra = createExtraNodes(source.value, source.axis);
  const open = new Map<Value, Value>();
  const nodes = first.nodes.map((node, index) => {
    const other = second.nodes[index]!;
    const isSame =
      operatorName(node) === operatorName(other) &&
      JSON.stringify(node.attributes) === JSON.stringify(other.attributes);
    if (!isSame || node.inputs.length !== other.inputs.length) refuse(`node ${operatorName(node)} differs`);
    const inputs = node.inputs.map((value, position) => {
      const counterpart = other.inputs[position];
      if (!value || !counterpart || value.source.kind !== 'constant' || counterpart.source.kind !== 'constant')
        return value;
      const [a, b] = [Array.from(value.source.data), Array.from(counterpart.source.data)];
      if (sameShape(value.shape, counterpart.shape) && a.every((element, i) => Object.is(element, b[i]))) return value;
      const factors = a.map((element, i) => (element === b[i] ? undefined : factorOf(element, b[i]!)));
      const isShapeLike = value.type === 'int64' && a.length === b.length;
      if (!isShapeLike || a.some((element, i) => element !== b[i] && factors[i] === undefined))
        return refuse(`a constant of ${operatorName(node)} depends on it`);
      const isReshape = node.op === 'Reshape' && position === 1;
      const replacement =
        isReshape && factors.filter((factor) => factor !== undefined).length === 1
          ? extra.constant(a.map((element, i) => (factors[i] === undefined ? element : -1)))
          : (open.get(value) ?? extra.shape(a, factors));
      if (!isReshape) open.set(value, replacement);
      return replacement;
    });
    return inputs.every((value, position) => value === node.inputs[position]) ? node : { ...node, inputs };
  });
  const ports = [...first.inputs, ...first.outputs];
  const others = [...second.inputs, ...second.outputs];
  return {
    graph: { ...first, nodes: [...extra.nodes, ...nodes] },
    batchFactor: (port, axis) => {
      const counterpart = others[ports.indexOf(port)];
      return counterpart && port.shape[axis] !== counterpart.shape[axis]
        ? factorOf(port.shape[axis]!, counterpart.shape[axis]!)
        : undefined;
    },
  };
}

/** Nodes in front of the graph that compute lengths from the batch size. */
function createExtraNodes(batchSource: Value, axis: number) {
  const nodes: GraphNode[] = [];
  // Negative: apart from the ids of the trace.
  let nextId = -1;
  const constant = (data: readonly number[]): Value => ({
    id: nextId--,
    type: 'int64',
    shape: [data.length],
    source: { kind: 'constant', data },
  });
  const node = (
    op: string,
    inputs: readonly Value[],
    length: number,
    attributes: GraphNode['attributes'] = {},
  ): Value => {
    const outputs: Value[] = [];
    const made: GraphNode = { id: nextId--, op, domain: '', inputs, attributes, outputs, numRequiredOutputs: 1 };
    outputs.push({ id: nextId--, type: 'int64', shape: [length], source: { kind: 'node', node: made, output: 0 } });
    nodes.push(made);
    return outputs[0]!;
  };
  let batch: Value | undefined;
  const batchSize = () => (batch ??= node('Shape', [batchSource], 1, { start: int(axis), end: int(axis + 1) }));
  const multiples = new Map<number, Value>();
  const multiple = (factor: number): Value => {
    const known =
      multiples.get(factor) ?? (factor === 1 ? batchSize() : node('Mul', [batchSize(), constant([factor])], 1));
    multiples.set(factor, known);
    return known;
  };
  return {
    nodes,
    constant,
    /** The lengths, with those that have a factor computed. */
    shape: (lengths: readonly number[], factors: readonly (number | undefined)[]): Value => {
      const parts = lengths.map((length, index) => {
        const factor = factors[index];
        return factor === undefined ? constant([length]) : multiple(factor);
      });
      return parts.length === 1 ? parts[0]! : node('Concat', parts, lengths.length, { axis: int(0) });
    },
  };
}
