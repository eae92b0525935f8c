/** Removes what no output needs. */
import type { TracedGraph, Value } from '../graph.js';

/** The graph without nodes and inputs that contribute to no output. */
export function removeDeadNodes(graph: TracedGraph): TracedGraph {
  const live = new Set<Value>();
  const stack = graph.outputs.map((port) => port.value);
  while (stack.length > 0) {
    const value = stack.pop()!;
    if (live.has(value)) continue;
    live.add(value);
    if (value.source.kind === 'node') for (const input of value.source.node.inputs) if (input) stack.push(input);
  }
  return {
    inputs: graph.inputs.filter((port) => live.has(port.value)),
    outputs: graph.outputs,
    nodes: graph.nodes.filter((node) => node.outputs.some((output) => live.has(output))),
  };
}
