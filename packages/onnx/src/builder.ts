/**
 * Appends nodes to a graph. Equal constants and equal nodes (operator, inputs, attributes) are made once, so a forward
 * pass that the traced function computes twice appears once.
 */
import type { Attributes, Domain, ElementType, GraphNode, Value } from './graph.js';

/** How operators beyond the ONNX core set are written. */
export interface LoweringOptions {
  /**
   * `microsoft`: onnxruntime's own fused operators where they exist. `standard`: ONNX operators only, for files that
   * other runtimes read.
   *
   * @default 'microsoft'
   */
  readonly operators?: 'microsoft' | 'standard';
  /**
   * False for onnxruntime's WebGPU provider (1.30), whose SimplifiedLayerNormalization returns something else than the
   * inverse root-mean-square as its second result.
   *
   * @default true
   */
  readonly returnsInverseRms?: boolean;
  /**
   * False where onnxruntime's MultiHeadAttention is not to be used: on its WebGPU provider (1.30) with Mesa's lavapipe it
   * is off by 1e-2 for sequences of 50, though not of 17.
   *
   * @default true
   */
  readonly fusesAttention?: boolean;
}

/** Type and shape of a node output. */
export interface ValueSpec {
  readonly type: ElementType;
  readonly shape: readonly number[];
}

/** Optional parts of a node. */
export interface NodeOptions {
  readonly attributes?: Attributes;
  readonly domain?: Domain;
  /** @default all outputs */
  readonly numRequiredOutputs?: number;
}

/** Collects the nodes of one trace. */
export interface GraphBuilder {
  readonly lowering: Required<LoweringOptions>;
  /** A graph input. */
  input(name: string, spec: ValueSpec): Value;
  /** A literal tensor; large equal-valued ones should be splats instead (see `lazy.ts`). */
  constant(type: ElementType, shape: readonly number[], data: ArrayLike<number>): Value;
  /** A node with several outputs. */
  nodes(
    op: string,
    inputs: readonly (Value | undefined)[],
    outputs: readonly ValueSpec[],
    options?: NodeOptions,
  ): readonly Value[];
  /** A node with one output. */
  node(op: string, inputs: readonly (Value | undefined)[], output: ValueSpec, options?: NodeOptions): Value;
  /** All nodes so far, in execution order. */
  allNodes(): readonly GraphNode[];
}

/** An empty graph. */
export function createGraphBuilder(options: LoweringOptions = {}): GraphBuilder {
  const lowering: Required<LoweringOptions> = {
    operators: options.operators ?? 'microsoft',
    returnsInverseRms: options.returnsInverseRms ?? true,
    fusesAttention: options.fusesAttention ?? true,
  };
  const allNodes: GraphNode[] = [];
  const nodesByKey = new Map<string, GraphNode>();
  const constantsByKey = new Map<string, Value[]>();
  let nextValueId = 0;

  const builder: GraphBuilder = {
    lowering,
    input: (name, spec) => ({ ...spec, id: nextValueId++, source: { kind: 'input', name } }),
    constant(type, shape, data) {
      const key = `${type}|${shape.join()}|${hashOf(data)}`;
      const candidates = constantsByKey.get(key) ?? [];
      const known = candidates.find(({ source }) => source.kind === 'constant' && sameElements(source.data, data));
      if (known) return known;
      const value: Value = { id: nextValueId++, type, shape, source: { kind: 'constant', data } };
      constantsByKey.set(key, [...candidates, value]);
      return value;
    },
    nodes(op, inputs, outputs, nodeOptions = {}) {
      const { attributes = {}, domain = '', numRequiredOutputs = outputs.length } = nodeOptions;
      const ids = inputs.map((input) => input?.id ?? '').join();
      const key = `${domain}.${op}|${ids}|${outputs.length}|${JSON.stringify(attributes)}`;
      const known = nodesByKey.get(key);
      if (known) return known.outputs;
      const values: Value[] = [];
      const node: GraphNode = {
        id: allNodes.length,
        op,
        domain,
        inputs,
        attributes,
        outputs: values,
        numRequiredOutputs,
      };
      outputs.forEach((spec, output) =>
        values.push({ ...spec, id: nextValueId++, source: { kind: 'node', node, output } }),
      );
      allNodes.push(node);
      nodesByKey.set(key, node);
      return values;
    },
    node: (op, inputs, output, nodeOptions) => builder.nodes(op, inputs, [output], nodeOptions)[0]!,
    allNodes: () => allNodes,
  };
  return builder;
}

/** FNV-1a over the bits of the numbers as float32; only groups candidates, equality is checked element by element. */
function hashOf(data: ArrayLike<number>): number {
  const number = new Float32Array(1);
  const bits = new Uint32Array(number.buffer);
  let hash = 0x811c9dc5;
  for (let index = 0; index < data.length; index++) {
    number[0] = data[index]!;
    hash = Math.imul(hash ^ bits[0]!, 0x01000193) >>> 0;
  }
  return hash;
}

function sameElements(a: ArrayLike<number>, b: ArrayLike<number>): boolean {
  if (a.length !== b.length) return false;
  for (let index = 0; index < a.length; index++) if (!Object.is(a[index], b[index])) return false;
  return true;
}
