/** Graphs in words: for snapshot tests, for people, and to tell two graphs apart. */
import type { GraphNode, TracedGraph, Value } from './graph.js';

/** Number of nodes by operator, and the size of what is stored in the graph. */
export interface GraphDescription {
  readonly numNodes: number;
  /** Nodes by operator, most frequent first. */
  readonly operators: Readonly<Record<string, number>>;
  readonly numInputs: number;
  readonly numOutputs: number;
  /** Elements of all literal tensors. */
  readonly numConstantElements: number;
}

/** Counts what a graph consists of. */
export function describeGraph(graph: TracedGraph): GraphDescription {
  const counts = new Map<string, number>();
  for (const node of graph.nodes) counts.set(operatorName(node), (counts.get(operatorName(node)) ?? 0) + 1);
  const sorted = [...counts].sort(([a, x], [b, y]) => y - x || a.localeCompare(b));
  return {
    numNodes: graph.nodes.length,
    operators: Object.fromEntries(sorted),
    numInputs: graph.inputs.length,
    numOutputs: graph.outputs.length,
    numConstantElements: constantsOf(graph).reduce(
      (sum, { source }) => sum + (source.kind === 'constant' ? source.data.length : 0),
      0,
    ),
  };
}

/** `Add`, `com.microsoft.Gelu`. */
export function operatorName(node: GraphNode): string {
  return node.domain ? `${node.domain}.${node.op}` : node.op;
}

/** Literal tensors that the nodes and outputs use, each once, in order of first use. */
export function constantsOf(graph: TracedGraph): Value[] {
  const used = [...graph.nodes.flatMap((node) => node.inputs), ...graph.outputs.map((port) => port.value)];
  return [...new Set(used)].filter((value): value is Value => value?.source.kind === 'constant');
}

/** Equal for equal graphs, constants included. */
export function graphFingerprint(graph: TracedGraph): string {
  const names = new Map<Value, string>();
  // Written once, however often they are used: the text of a large table at each of its uses would fill the memory.
  const constants: string[] = [];
  const nameOf = (value: Value | undefined): string => {
    if (!value) return '-';
    const known = names.get(value);
    if (known) return known;
    const name = `v${names.size}`;
    names.set(value, name);
    const { source } = value;
    if (source.kind === 'constant')
      constants.push(`${name}=${value.type}[${value.shape.join()}]{${Array.from(source.data).join()}}`);
    return name;
  };
  const ports = graph.inputs.map((port) => `${port.name}=${nameOf(port.value)}`);
  const nodes = graph.nodes.map((node) => {
    const inputs = node.inputs.map(nameOf).join();
    return `${operatorName(node)}(${inputs})${JSON.stringify(node.attributes)}->${node.outputs.map(nameOf).join()}`;
  });
  const outputs = graph.outputs.map((port) => `${port.name}=${nameOf(port.value)}`);
  return [...ports, ...nodes, ...outputs, ...constants].join('\n');
}
