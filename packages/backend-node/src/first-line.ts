/** What onnxruntime says, for a message in one line: without the place in its sources and the condition that did not hold there. */
export function firstLine(cause: unknown): string {
  const line = (cause instanceof Error ? cause.message : String(cause)).split('\n')[0]!;
  return line.replace(/^\S*onnxruntime_src(?:\S* .* was false\. |.*? \[ONNXRuntimeError\] : )/, '');
}
