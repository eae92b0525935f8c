/** `.onnx` files of forward functions: weights inside or beside the file, any batch size. */
import { create, toBinary } from '@bufbuild/protobuf';
import {
  float16BitsOf,
  OptionError,
  ShapeError,
  sizeOf,
  type FunctionSignature,
  type HostTensor,
  type HostTree,
  type PureFunction,
} from '@dimo/core';
import {
  ModelProtoSchema,
  StringStringEntryProtoSchema,
  TensorProto_DataLocation,
  TensorProto_DataType,
  TensorProtoSchema,
  type TensorProto,
} from 'onnx-buf';
import type { LoweringOptions } from './builder.js';
import { dataTypeOf, littleEndianBytes, modelOf } from './emit.js';
import { sameShape, type GraphPort } from './graph.js';
import { joinBatchSizes, probeBatchSizes, type DynamicGraph } from './passes/dynamic-batch.js';
import { trace } from './trace.js';

/** Options of `exportForward`. */
export interface ExportOptions {
  /** A function without new state. */
  readonly fn: PureFunction;
  /** The function's signature for a batch size; the state may not depend on it. */
  readonly signature: (batchSize: number) => FunctionSignature;
  /** Values of all state tensors that the function reads. */
  readonly weights: HostTree;
  /** `dynamic`: any batch size at run time; a number: that size only. @default 'dynamic' */
  readonly batch?: 'dynamic' | number;
  /**
   * `standard` runs in every ONNX runtime (operator set 18, or 20 with GELU); `microsoft` uses fused operators of
   * onnxruntime. @default 'standard'
   */
  readonly operators?: LoweringOptions['operators'];
  /** Name of a file beside the model for the weights. @default weights inside the model, which ends at 2 GB */
  readonly weightsFile?: string;
  /**
   * How float32 weights are stored: F16 halves the file. They are widened when the model is loaded, so that memory and
   * speed are those of F32.
   *
   * @default 'F32'
   */
  readonly float?: 'F32' | 'F16';
  /** Name of the graph. @default 'dimo' */
  readonly name?: string;
  /** Free text entries of the model. */
  readonly metadata?: Readonly<Record<string, string>>;
}

/** An exported model. */
export interface ExportedModel {
  /** Content of the `.onnx` file. Inputs, outputs and weights have their own names, without prefix. */
  readonly model: Uint8Array;
  /** Content of the weights file, if one was asked for. */
  readonly weights?: Uint8Array;
}

/** Protocol buffers end here. */
const maxInlineBytes = 2 ** 31 - 1;
/** Large tensors start at multiples of a memory page, so that a runtime can map them. */
const pageSize = 4096;

/**
 * Exports a forward function.
 *
 * @throws OptionError if names clash or the weights are too large to be inside the model.
 * @throws NonFiniteError naming the weight that is too large for F16.
 * @throws ShapeError if a weight is missing or has another shape or dtype than the signature says.
 * @throws DimoError with code `trace` if the function cannot be traced, or not for every batch size.
 */
export function exportForward(options: ExportOptions): ExportedModel {
  const { graph, batchFactor } = tracedFor(options);
  if (graph.outputs.some((port) => port.role === 'newState'))
    throw new OptionError('export: the function returns new state; export a function with outputs only');
  checkNames([...graph.inputs, ...graph.outputs]);
  const weightPorts = graph.inputs.filter((port) => port.role === 'state');
  for (const port of weightPorts) checkWeight(port, options.weights[port.key]);
  const storage = storeWeights(weightPorts, options);
  const model = modelOf(graph, {
    name: options.name ?? 'dimo',
    initializers: storage.initializers,
    halves: storage.halves,
    portName: (port) => port.key,
    dimensionName: (port, axis) => {
      const factor = batchFactor(port, axis);
      return factor === undefined ? undefined : factor === 1 ? 'batch' : `${factor}*batch`;
    },
  });
  model.metadataProps = Object.entries(options.metadata ?? {}).map(([key, value]) =>
    create(StringStringEntryProtoSchema, { key, value }),
  );
  const bytes = toBinary(ModelProtoSchema, model);
  return storage.bytes ? { model: bytes, weights: storage.bytes } : { model: bytes };
}

function tracedFor({ fn, signature, batch = 'dynamic', operators = 'standard' }: ExportOptions): DynamicGraph {
  if (batch !== 'dynamic') {
    if (!Number.isInteger(batch) || batch < 1)
      throw new OptionError(`export: batch must be 'dynamic' or a positive integer, got ${String(batch)}`);
    return { graph: trace(fn, signature(batch), { operators }), batchFactor: () => undefined };
  }
  const [first, second] = probeBatchSizes.map((size) => trace(fn, signature(size), { operators, checkPurity: false }));
  return joinBatchSizes(first!, second!);
}

function checkNames(ports: readonly GraphPort[]): void {
  const seen = new Set<string>();
  for (const { key } of ports) {
    if (seen.has(key))
      throw new OptionError(`export: the name "${key}" is used twice among weights, inputs and outputs; rename one`);
    seen.add(key);
  }
}

function checkWeight(port: GraphPort, weight: HostTensor | undefined): asserts weight is HostTensor {
  const expected = `${port.dtype} [${port.shape.join(', ')}]`;
  if (!weight) throw new ShapeError(`export: weight ${port.key} (${expected}) is missing`);
  if (weight.dtype !== port.dtype || !sameShape(weight.shape, port.shape))
    throw new ShapeError(
      `export: weight ${port.key} must be ${expected}, got ${weight.dtype} [${weight.shape.join(', ')}]`,
    );
}

interface StoredWeights {
  readonly initializers: Record<string, TensorProto>;
  /** Ports of weights in 16 bits. */
  readonly halves: Record<string, number>;
  readonly bytes?: Uint8Array;
}

/** Elements of a weight as the file holds them. */
interface StoredWeight {
  readonly port: GraphPort;
  readonly bytes: number;
  readonly dataType: TensorProto_DataType;
  readonly read: () => Uint8Array<ArrayBuffer>;
}

function storeWeights(
  ports: readonly GraphPort[],
  { weights, weightsFile, float = 'F32' }: Pick<ExportOptions, 'weights' | 'weightsFile' | 'float'>,
): StoredWeights {
  const stored = ports.map((port): StoredWeight => {
    const tensor = weights[port.key]!;
    const elements = sizeOf(tensor.shape);
    if (float === 'F16' && port.dtype === 'float32')
      return {
        port,
        bytes: 2 * elements,
        dataType: TensorProto_DataType.FLOAT16,
        read: () => bytesOf(float16BitsOf(tensor as HostTensor<'float32'>, `export: weight ${port.key}`)),
      };
    const size = port.dtype === 'bool' ? 1 : 4;
    return {
      port,
      bytes: size * elements,
      dataType: dataTypeOf(port.dtype),
      read: () => littleEndianBytes(port.dtype, tensor.data),
    };
  });
  const halves = Object.fromEntries(
    stored.filter(({ dataType }) => dataType === TensorProto_DataType.FLOAT16).map(({ port }) => [port.name, 0]),
  );
  const total = stored.reduce((sum, { bytes }) => sum + bytes, 0);
  const protoOf = ({ port, dataType }: StoredWeight): TensorProto =>
    create(TensorProtoSchema, { name: port.key, dataType, dims: port.shape.map(BigInt) });
  const initializers: Record<string, TensorProto> = {};
  if (weightsFile === undefined) {
    if (total > maxInlineBytes)
      throw new OptionError(`export: ${total} bytes of weights do not fit into one file of 2 GB; give weightsFile`);
    for (const weight of stored) initializers[weight.port.name] = { ...protoOf(weight), rawData: weight.read() };
    return { initializers, halves };
  }
  let end = 0;
  const places = stored.map((weight) => {
    const alignment = weight.bytes >= pageSize ? pageSize : 64;
    const start = Math.ceil(end / alignment) * alignment;
    end = start + weight.bytes;
    return { weight, start };
  });
  const bytes = new Uint8Array(end);
  for (const { weight, start } of places) {
    bytes.set(weight.read(), start);
    const entries = { location: weightsFile, offset: String(start), length: String(weight.bytes) };
    initializers[weight.port.name] = {
      ...protoOf(weight),
      dataLocation: TensorProto_DataLocation.EXTERNAL,
      externalData: Object.entries(entries).map(([key, value]) => create(StringStringEntryProtoSchema, { key, value })),
    };
  }
  return { initializers, halves, bytes };
}

const bytesOf = (bits: Uint16Array): Uint8Array<ArrayBuffer> => new Uint8Array(Uint16Array.from(bits).buffer);
