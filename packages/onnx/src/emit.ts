/** Graph to ONNX bytes. */
import { create, toBinary } from '@bufbuild/protobuf';
import {
  AttributeProto_AttributeType,
  AttributeProtoSchema,
  GraphProtoSchema,
  ModelProtoSchema,
  NodeProtoSchema,
  OperatorSetIdProtoSchema,
  TensorProto_DataType,
  TensorProtoSchema,
  TensorShapeProto_DimensionSchema,
  TensorShapeProtoSchema,
  TypeProto_TensorSchema,
  TypeProtoSchema,
  ValueInfoProtoSchema,
  type AttributeProto,
  type GraphProto,
  type ModelProto,
  type NodeProto,
  type TensorProto,
  type ValueInfoProto,
} from 'onnx-buf';
import type { Attribute, ElementType, GraphNode, GraphPort, TracedGraph, Value } from './graph.js';

/** Options of `emitModel`. */
export interface EmitOptions {
  /** Name of the graph in the file. @default 'dimo' */
  readonly name?: string;
  /** Initializers to use instead of graph inputs, by port name. */
  readonly initializers?: Readonly<Record<string, TensorProto>>;
  /** Name of a port in the file. @default its own name */
  readonly portName?: (port: GraphPort) => string;
  /**
   * Float32 inputs that the caller feeds as float16, by port name: the value is the float16 number times 2^-exponent.
   * onnxruntime widens each just before it is first read.
   */
  readonly halves?: Readonly<Record<string, number>>;
  /** Name of each symbolic dimension, by port name and axis. @default none */
  readonly dimensionName?: (port: GraphPort, axis: number) => string | undefined;
}

/** Operator set with every operator that the lowerings use; Gelu came with 20. */
const operatorSet = { plain: 18, withGelu: 20 };
/** File format version that introduced nothing newer than the operator sets above need. */
const irVersion = 9;

const dataTypes: Readonly<Record<ElementType, TensorProto_DataType>> = {
  float32: TensorProto_DataType.FLOAT,
  int32: TensorProto_DataType.INT32,
  int64: TensorProto_DataType.INT64,
  bool: TensorProto_DataType.BOOL,
};

/** ONNX data type number of an element type. */
export function dataTypeOf(type: ElementType): TensorProto_DataType {
  return dataTypes[type];
}

/**
 * Bytes of an ONNX model. The same graph always gives the same bytes.
 *
 * @returns a complete model, to be written to a `.onnx` file or given to an onnxruntime session.
 */
export function emitModel(graph: TracedGraph, options: EmitOptions = {}): Uint8Array {
  return toBinary(ModelProtoSchema, modelOf(graph, options));
}

/** The model message of a graph. */
export function modelOf(graph: TracedGraph, options: EmitOptions = {}): ModelProto {
  const domains = new Set(graph.nodes.map((node) => node.domain));
  const usesGelu = graph.nodes.some((node) => node.op === 'Gelu' && node.domain === '');
  const opsetImport = [{ domain: '', version: BigInt(usesGelu ? operatorSet.withGelu : operatorSet.plain) }];
  if (domains.has('com.microsoft')) opsetImport.push({ domain: 'com.microsoft', version: 1n });
  return create(ModelProtoSchema, {
    irVersion: BigInt(irVersion),
    producerName: 'dimo',
    opsetImport: opsetImport.map((entry) => create(OperatorSetIdProtoSchema, entry)),
    graph: graphOf(graph, options),
  });
}

function graphOf(graph: TracedGraph, options: EmitOptions): GraphProto {
  const { initializers = {}, halves = {}, portName = (port: GraphPort) => port.name } = options;
  const isHalf = (port: GraphPort) => Object.hasOwn(halves, port.name);
  const names = new Map<Value, string>();
  const taken = new Set([...graph.inputs, ...graph.outputs].map(portName));
  const widenedName = (port: GraphPort): string => {
    let name = `${portName(port)}:float32`;
    while (taken.has(name)) name = `${name}_`;
    return name;
  };
  const literals: TensorProto[] = [];
  const copies: NodeProto[] = [];

  for (const port of graph.inputs) names.set(port.value, isHalf(port) ? widenedName(port) : portName(port));
  for (const port of graph.outputs) {
    // The producer takes the output's name; what has a name already, or no producer, is copied.
    if (port.value.source.kind === 'node' && !names.has(port.value)) names.set(port.value, portName(port));
    else copies.push(create(NodeProtoSchema, { opType: 'Identity', output: [portName(port)] }));
  }
  const used = new Set<Value | undefined>([
    ...graph.nodes.flatMap((node) => node.inputs),
    ...graph.outputs.map((port) => port.value),
  ]);
  const nameOf = (value: Value | undefined): string => {
    if (!value) return '';
    const known = names.get(value);
    if (known !== undefined) return known;
    const isLiteral = value.source.kind === 'constant';
    let name = `${isLiteral ? 'c' : 'v'}${names.size}`;
    while (taken.has(name)) name = `_${name}`;
    names.set(value, name);
    if (value.source.kind === 'constant') literals.push(tensorOf(name, value.type, value.shape, value.source.data));
    return name;
  };
  // First in the file: onnxruntime orders nodes from the outputs back, the later ones of two inputs first, so that each
  // of these runs just before its consumer and its wide copy does not wait for it.
  const widened = graph.inputs.filter(isHalf).flatMap((port) => {
    const { nodes: casts, scale } = widening(portName(port), names.get(port.value)!, halves[port.name]!);
    if (scale) literals.push(scale);
    return casts;
  });
  // For the same reason before the others, although they read what those make: onnxruntime takes nodes in any order.
  const ordered = [
    ...graph.nodes.filter(({ isRepeated }) => isRepeated),
    ...graph.nodes.filter(({ isRepeated }) => !isRepeated),
  ];
  const nodes = [...widened, ...ordered.map((node, index) => nodeOf(node, index, used, nameOf))];
  const copied = graph.outputs.filter((port) => names.get(port.value) !== portName(port));
  copied.forEach((port, index) => (copies[index]!.input = [nameOf(port.value)]));

  const declared = graph.inputs.filter((port) => !Object.hasOwn(initializers, port.name));
  return create(GraphProtoSchema, {
    name: options.name ?? 'dimo',
    node: [...nodes, ...copies],
    initializer: [
      ...literals,
      ...graph.inputs.flatMap((port) => (Object.hasOwn(initializers, port.name) ? [initializers[port.name]!] : [])),
    ],
    input: declared.map((port) =>
      valueInfoOf(port, portName(port), options, isHalf(port) ? TensorProto_DataType.FLOAT16 : undefined),
    ),
    output: graph.outputs.map((port) => valueInfoOf(port, portName(port), options)),
  });
}

/** Float16 to float32, and times 2^-exponent. */
function widening(input: string, output: string, exponent: number): { nodes: NodeProto[]; scale?: TensorProto } {
  const exact = exponent === 0 ? output : `${output}:unscaled`;
  const to = create(AttributeProtoSchema, {
    name: 'to',
    type: AttributeProto_AttributeType.INT,
    i: BigInt(TensorProto_DataType.FLOAT),
  });
  const cast = create(NodeProtoSchema, { opType: 'Cast', input: [input], output: [exact], attribute: [to] });
  if (exponent === 0) return { nodes: [cast] };
  const scale = tensorOf(`${output}:scale`, 'float32', [], [2 ** -exponent]);
  return {
    nodes: [cast, create(NodeProtoSchema, { opType: 'Mul', input: [exact, scale.name], output: [output] })],
    scale,
  };
}

function nodeOf(
  node: GraphNode,
  index: number,
  used: ReadonlySet<Value | undefined>,
  nameOf: (value: Value | undefined) => string,
): NodeProto {
  const outputs = node.outputs.map((output, position) =>
    position < node.numRequiredOutputs || used.has(output) ? nameOf(output) : '',
  );
  while (outputs[outputs.length - 1] === '') outputs.pop();
  return create(NodeProtoSchema, {
    name: `${node.op}_${index}`,
    opType: node.op,
    domain: node.domain,
    input: node.inputs.map(nameOf),
    output: outputs,
    attribute: Object.entries(node.attributes).map(([name, attribute]) => attributeOf(name, attribute)),
  });
}

function attributeOf(name: string, attribute: Attribute): AttributeProto {
  switch (attribute.kind) {
    case 'int':
      return create(AttributeProtoSchema, { name, type: AttributeProto_AttributeType.INT, i: BigInt(attribute.value) });
    case 'float':
      return create(AttributeProtoSchema, { name, type: AttributeProto_AttributeType.FLOAT, f: attribute.value });
    case 'ints':
      return create(AttributeProtoSchema, {
        name,
        type: AttributeProto_AttributeType.INTS,
        ints: attribute.value.map(BigInt),
      });
    case 'string':
      return create(AttributeProtoSchema, {
        name,
        type: AttributeProto_AttributeType.STRING,
        s: new TextEncoder().encode(attribute.value),
      });
  }
}

/** A tensor message with its elements inline. */
export function tensorOf(
  name: string,
  type: ElementType,
  shape: readonly number[],
  data: ArrayLike<number>,
): TensorProto {
  return create(TensorProtoSchema, {
    name,
    dataType: dataTypes[type],
    dims: shape.map(BigInt),
    rawData: littleEndianBytes(type, data),
  });
}

/** Elements as ONNX stores them; every platform that runs JavaScript engines of note is little-endian. */
export function littleEndianBytes(type: ElementType, data: ArrayLike<number>): Uint8Array<ArrayBuffer> {
  switch (type) {
    case 'float32':
      return new Uint8Array(Float32Array.from(data).buffer);
    case 'int32':
      return new Uint8Array(Int32Array.from(data).buffer);
    case 'bool':
      return Uint8Array.from(data);
    case 'int64':
      return new Uint8Array(BigInt64Array.from(Array.from(data, BigInt)).buffer);
  }
}

function valueInfoOf(
  port: GraphPort,
  name: string,
  options: EmitOptions,
  elemType = dataTypes[port.dtype],
): ValueInfoProto {
  const dim = port.shape.map((length, axis) => {
    const symbol = options.dimensionName?.(port, axis);
    const value =
      symbol === undefined
        ? { case: 'dimValue' as const, value: BigInt(length) }
        : { case: 'dimParam' as const, value: symbol };
    return create(TensorShapeProto_DimensionSchema, { value });
  });
  const tensor = create(TypeProto_TensorSchema, {
    elemType,
    shape: create(TensorShapeProtoSchema, { dim }),
  });
  return create(ValueInfoProtoSchema, {
    name,
    type: create(TypeProtoSchema, { value: { case: 'tensorType', value: tensor } }),
  });
}
