export { backendName, supportedKernels } from './backend.js';
export type { LoweringOptions } from './builder.js';
export { graphCost, type GraphCost } from './cost.js';
export { describeGraph, type GraphDescription } from './describe.js';
export { emitModel, type EmitOptions } from './emit.js';
export { exportGenerator, type ExportedGenerator, type GeneratorExportOptions } from './export-generator.js';
export { exportForward, type ExportedModel, type ExportOptions } from './export.js';
export type { GraphNode, GraphPort, PortRole, TracedGraph, Value } from './graph.js';
export { trace, type TraceOptions } from './trace.js';
