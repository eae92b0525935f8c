/** Removes what no output needs. */
import type { GraphNode, TracedGraph, Value } from '../graph.js';

/**
 * The graph without nodes and inputs that contribute to no output. Who makes a value is read from `nodes`, not from
 * `Value.source`, since passes replace nodes.
 */
export function removeDeadNodes(graph: TracedGraph): TracedGraph {
  const producers = new Map<Value, GraphNode>();
  for (const node of graph.nodes) for (const output of node.outputs) producers.set(output, node);
  const live = new Set<Value>();
  const liveNodes = new Set<GraphNode>();
  const stack: (Value | undefined)[] = graph.outputs.map((port) => port.value);
  while (stack.length > 0) {
    const value = stack.pop();
    if (!value || live.has(value)) continue;
    live.add(value);
    const node = producers.get(value);
    if (!node || liveNodes.has(node)) continue;
    liveNodes.add(node);
    stack.push(...node.inputs);
  }
  return {
    inputs: graph.inputs.filter((port) => live.has(port.value)),
    outputs: graph.outputs,
    nodes: graph.nodes.filter((node) => liveNodes.has(node)),
  };
}
