/**
 * Computes a second time what is cheap to compute and large to keep: results of the forward pass that wait for the backward
 * pass. Probabilities of attention follow from queries and keys, an activation from what went into it, a slice of a weight
 * from the weight. The numbers are the same; the memory between the first use and the last is not needed.
 */
import { sizeOf } from '@dimo/core';
import type { GraphNode, TracedGraph, Value } from '../graph.js';
import { graphCost } from '../cost.js';
import { removeDeadNodes } from './dead-nodes.js';

/** Operators whose results are computed again. Products are not, but for those of attention; see `isCheap`. */
const cheapOperators = new Set([
  'Add',
  'Cast',
  'Gelu',
  'Mul',
  'Reshape',
  'Slice',
  'Softmax',
  'Squeeze',
  'Sub',
  'Transpose',
  'Unsqueeze',
]);
/** Longest inner dimension of a product that is computed again. */
const longestInner = 128;
/** Smaller results are kept. */
const smallestElements = 2 ** 18;
/** A result waits if this part of all nodes runs between two of its uses. */
const waitingPart = 1 / 16;
/** Nodes that are run again for one result. */
const longestChain = 8;
/** What is kept longer to compute a result again is at most this part of it. */
const keptPart = 1 / 4;

/**
 * Bytes of intermediate results from which on a graph is run with little memory rather than fast: some results are computed
 * twice instead of kept for the backward pass.
 */
export const largeResults = 2 ** 28;

/** Whether the graph computes blocks twice: it has the choices of the op `after`, whose condition is one constant. */
export function recomputesBlocks({ nodes }: TracedGraph): boolean {
  return nodes.some(({ op, inputs }) => op === 'Where' && isOneConstant(inputs[0]));
}

function isOneConstant(value: Value | undefined): boolean {
  return value?.source.kind === 'constant' && sizeOf(value.shape) === 1;
}

/** The graph as it is run: one whose intermediate results are large with `recomputeResults`. */
export function leanGraph(graph: TracedGraph, from: number = largeResults): TracedGraph {
  return graphCost(graph).peakBytes >= from ? recomputeResults(graph) : graph;
}

/**
 * The graph with such results computed again, just before they are needed. The nodes that do it are marked, so that they
 * can be told from those that are equal to them: an optimizer that merges equal nodes would undo it.
 */
export function recomputeResults(graph: TracedGraph): TracedGraph {
  const { nodes } = graph;
  const producers = new Map<Value, number>();
  const uses = new Map<Value, number[]>();
  nodes.forEach((node, index) => {
    for (const output of node.outputs) producers.set(output, index);
    for (const input of new Set(node.inputs)) if (input) uses.set(input, [...(uses.get(input) ?? []), index]);
  });
  for (const { value } of graph.outputs) uses.set(value, [...(uses.get(value) ?? []), nodes.length]);
  let nextId = Math.max(0, ...nodes.flatMap(({ outputs }) => outputs.map(({ id }) => id))) + 1;
  /** What a value is called from a node on, and the nodes that make it again there. */
  const again = new Map<Value, { readonly from: number; readonly value: Value }>();
  const made = new Map<number, GraphNode[]>();

  /** `value` for the node `at`: as it is, or made again by nodes that are added to `chain`; undefined if it cannot be had. */
  function valueAt(value: Value, at: number, chain: Chain): Value | undefined {
    const inChain = chain.nodes.get(value)?.outputs[0];
    if (inChain) return inChain;
    const other = again.get(value);
    if (other && other.from <= at) return other.value;
    const producer = producers.get(value);
    if (producer === undefined) return value; // an input or a constant
    const isRoot = chain.nodes.size === 0;
    if (!isRoot && (uses.get(value)?.at(-1) ?? -1) >= at) return value; // kept anyway
    const node = nodes[producer]!;
    if (isCheap(node) && chain.nodes.size < longestChain) {
      const output: Value = { ...value, id: nextId++ };
      const copy = { ...node, isRepeated: true, outputs: [output] };
      chain.nodes.set(value, copy); // counted; its inputs follow
      const inputs = node.inputs.map((input) => input && valueAt(input, at, chain));
      if (inputs.some((input, i) => node.inputs[i] && !input)) return undefined;
      chain.nodes.delete(value);
      chain.nodes.set(value, { ...copy, inputs }); // after what it reads
      return output;
    }
    chain.keeps.push(value);
    chain.spare -= sizeOf(value.shape);
    return isRoot || chain.spare < 0 ? undefined : value;
  }

  nodes.forEach((node, index) => {
    const [value] = node.outputs;
    if (!value || node.outputs.length > 1 || sizeOf(value.shape) < smallestElements) return;
    const at = endOfWait([index, ...(uses.get(value) ?? [])], waitingPart * nodes.length);
    if (at === undefined || at >= nodes.length) return;
    const chain: Chain = { nodes: new Map(), keeps: [], spare: keptPart * sizeOf(value.shape) };
    const output = valueAt(value, at, chain);
    if (!output) return;
    again.set(value, { from: at, value: output });
    made.set(at, [...(made.get(at) ?? []), ...chain.nodes.values()]);
    for (const kept of chain.keeps) uses.set(kept, [...uses.get(kept)!, at]);
    uses.set(
      value,
      uses.get(value)!.filter((use) => use < at),
    );
  });
  const renamed = (input: Value | undefined, index: number): Value | undefined => {
    const other = input && again.get(input);
    return other && other.from <= index ? other.value : input;
  };
  return removeDeadNodes({
    ...graph,
    nodes: nodes.flatMap((node, index) => [
      ...(made.get(index) ?? []),
      { ...node, inputs: node.inputs.map((input) => renamed(input, index)) },
    ]),
  });
}

/** The nodes that make a value again, in order, and what is kept for them. */
interface Chain {
  readonly nodes: Map<Value, GraphNode>;
  readonly keeps: Value[];
  /** Elements that may be kept besides. */
  spare: number;
}

/** The first use after the longest wait, if that is one. */
function endOfWait(points: readonly number[], longest: number): number | undefined {
  let end: number | undefined;
  for (let i = 1; i < points.length; i++) {
    const wait = points[i]! - points[i - 1]!;
    if (wait >= longest) [end, longest] = [points[i], wait];
  }
  return end;
}

function isCheap({ op, inputs, outputs }: GraphNode): boolean {
  if (outputs.length > 1) return false;
  if (op !== 'MatMul') return cheapOperators.has(op);
  const shape = inputs[0]!.shape;
  return shape.length > 2 && shape.at(-1)! <= longestInner;
}
